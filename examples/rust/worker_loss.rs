//! A worker dies in the middle of a task: only that task fails, the error says
//! how the worker ended, and a new worker takes its place.
//!
//! `cargo run --example worker_loss`

#![expect(clippy::print_stdout, reason = "an example says what happens")]

use std::time::Duration;

use procession::{Pool, TaskError, Value};

#[expect(clippy::exit, reason = "that is what the example is about")]
fn work(number: u32) -> u32 {
    match number {
        2 => std::process::exit(7),
        4 => std::process::abort(),
        _ => number * 10,
    }
}

/// Dies the first time, and works the second time.
fn flaky(attempts: Value<u32>) -> u32 {
    let attempt = attempts.update(|attempts| attempts + 1);
    if attempt == 1 {
        std::process::abort();
    }
    attempt
}

fn never_ends() {
    loop {
        std::thread::park();
    }
}

#[procession::main]
fn main() -> procession::Result<()> {
    let pool = Pool::builder().processes(2).build()?;
    for (number, result) in (1..).zip(pool.imap(work, 1..=5)) {
        match result {
            Ok(result) => println!("{number}: {result}"),
            Err(error) => match error.task() {
                Some(TaskError::WorkerLost { status, .. }) => {
                    println!("{number}: its worker was lost with {status}");
                }
                _ => println!("{number}: {error}"),
            },
        }
    }
    println!("workers lost: {}", pool.statistics().workers_lost);

    // Where a call bears being run twice, it can be.
    let attempts = Value::new(0)?;
    let call = pool.call(flaky, (attempts,)).retries(1);
    println!("the attempt that worked: {}", call.submit()?.get()?);

    // A call that takes too long costs its worker, nobody else's time.
    let call = pool.call(never_ends, ()).timeout(Duration::from_millis(50));
    match call
        .submit()?
        .get()
        .err()
        .as_ref()
        .and_then(procession::Error::task)
    {
        Some(TaskError::TimedOut { limit, .. }) => println!("timed out after {limit:?}"),
        other => println!("not timed out: {other:?}"),
    }
    println!("the pool still works: {:?}", pool.map(work, [5, 6])?);
    Ok(())
}
