//! Processes inside the workers of a pool, and a pool inside a worker.
//!
//! `cargo run --example nested`

use procession::{Pool, Process, Value, current_process, parent_process};

fn square_into(number: u64, square: Value<u64>) {
    square.set(number * number);
}

/// A task that starts a process of its own.
fn square_elsewhere(number: u64) -> procession::Result<u64> {
    let square = Value::new(0)?;
    let child = Process::new(square_into)
        .args((number, square.clone()))
        .start()?;
    child.join()?;
    Ok(square.get())
}

/// A task that has a pool of its own.
fn sum_of_squares(upto: u64) -> procession::Result<u64> {
    let pool = Pool::builder().processes(2).name("Inner").build()?;
    let squares = pool.map(|n: u64| n * n, 1..=upto)?;
    Ok(squares.into_iter().sum())
}

fn lineage(_: ()) -> (String, Option<String>) {
    let parent = parent_process().map(|parent| parent.name);
    (current_process().name, parent)
}

/// The error of a task has to travel, so it becomes a text.
fn in_words<T>(result: procession::Result<T>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

#[procession::main]
fn main() -> procession::Result<()> {
    let pool = Pool::builder().processes(2).name("Outer").build()?;
    let squares = pool.map(|n: u64| in_words(square_elsewhere(n)), 1..=4)?;
    println!("by processes of workers: {squares:?}");

    let sum = pool.apply(|n: u64| in_words(sum_of_squares(n)), (10,))?;
    println!("by a pool of a worker: {sum:?}");

    let (name, parent) = pool.apply(lineage, ((),))?;
    let known = name.starts_with("Outer-");
    println!("a worker knows its name: {known}, and its parent: {parent:?}");
    Ok(())
}
