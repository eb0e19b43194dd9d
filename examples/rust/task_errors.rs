//! One task of many fails: the pool lives on, the error says what happened
//! where, and the other results are not lost.
//!
//! `cargo run --example task_errors`

#![expect(clippy::print_stdout, reason = "an example says what happens")]

use procession::{Pool, TaskError};

fn reciprocal(number: i32) -> f64 {
    assert!(number != 0, "zero has no reciprocal");
    1.0 / f64::from(number)
}

/// An error that is a result like any other.
fn checked_reciprocal(number: i32) -> Result<f64, String> {
    match number {
        0 => Err("zero has no reciprocal".to_owned()),
        _ => Ok(1.0 / f64::from(number)),
    }
}

#[procession::main]
fn main() -> procession::Result<()> {
    let pool = Pool::builder().processes(2).build()?;
    let workers = pool.pids();

    // `map` has all results, or the first error.
    if let Err(error) = pool.map(reciprocal, [1, 2, 0, 4]) {
        println!("map: {error}");
    }

    // `try_map` has a result for each item.
    for (number, result) in [1, 2, 0, 4]
        .iter()
        .zip(pool.try_map(reciprocal, [1, 2, 0, 4])?)
    {
        match result {
            Ok(result) => println!("1/{number} is {result}"),
            // With RUST_BACKTRACE=1, `backtrace` is the worker's stack.
            Err(TaskError::Panicked {
                message, location, ..
            }) => {
                let file = location.rsplit('/').next().unwrap_or_default();
                println!("1/{number} panicked in {file}: {message}");
            }
            Err(other) => println!("1/{number}: {other}"),
        }
    }

    // Errors that are expected need no panic: they are results.
    println!("checked: {:?}", pool.map(checked_reciprocal, [2, 0])?);

    // `imap` gives an error in the failed item's place and goes on.
    let good = pool.imap(reciprocal, -1..=1).filter_map(Result::ok);
    println!("the good ones: {:?}", good.collect::<Vec<_>>());

    println!("the workers are the same: {}", pool.pids() == workers);
    Ok(())
}
