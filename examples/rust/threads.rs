//! A pool of threads, with the interface of a pool of processes.
//!
//! Its targets may capture state, since nothing travels: for work that waits
//! (files, the network) rather than computes, and for values that cannot be
//! serialised.
//!
//! `cargo run --example threads`

#![expect(clippy::print_stdout, reason = "an example says what happens")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use procession::{TaskError, ThreadPool};

fn refuse() {
    panic!("not today");
}

#[procession::main]
fn main() -> procession::Result<()> {
    let pool = ThreadPool::builder().threads(4).build()?;
    let lengths = Arc::new(Mutex::new(BTreeMap::new()));
    let seen = lengths.clone();
    let measure = move |word: &'static str| {
        if let Ok(mut seen) = seen.lock() {
            seen.insert(word, word.len());
        }
        word.len()
    };
    println!(
        "lengths: {:?}",
        pool.map(measure, ["one", "three", "seven"])?
    );
    println!(
        "the captured map: {:?}",
        lengths.lock().map(|map| map.clone()).unwrap_or_default()
    );

    let result = pool.apply_async(refuse, ())?;
    match result
        .get()
        .err()
        .as_ref()
        .and_then(procession::Error::task)
    {
        Some(TaskError::Panicked { message, .. }) => println!("a task panicked: {message}"),
        other => println!("no panic: {other:?}"),
    }

    pool.close();
    pool.join()?;
    println!("threads left: {}", pool.statistics().workers);
    Ok(())
}
