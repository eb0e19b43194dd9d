//! The calls of a pool: `apply`, `apply_async`, callbacks, `map`, `starmap`,
//! `close` before `join`; and what a pool is worth against a serial loop.
//!
//! `cargo run --release --example pool_basics`

#![expect(clippy::print_stdout, reason = "an example says what happens")]

use std::sync::mpsc;
use std::time::{Duration, Instant};

use procession::{Pool, usable_cpu_count};

fn square(number: u64) -> u64 {
    number * number
}

fn volume(width: u64, height: u64, depth: u64) -> u64 {
    width * height * depth
}

/// Enough arithmetic to be worth another process.
fn count_primes(below: u64) -> usize {
    let is_prime = |n: &u64| {
        (2..)
            .take_while(|d| d * d <= *n)
            .all(|d| !n.is_multiple_of(d))
    };
    (2..below).filter(is_prime).count()
}

#[procession::main]
fn main() -> procession::Result<()> {
    // One CPU is left free for the rest of the machine.
    let workers = usable_cpu_count().saturating_sub(1).max(1);
    let pool = Pool::builder().processes(workers).build()?;
    println!("workers that leave one CPU free: {}", pool.processes());
    drop(pool);

    let pool = Pool::new()?;
    // `apply` waits for its result; in a loop, only one worker is ever busy.
    println!("apply: {}", pool.apply(square, (7,))?);

    // `apply_async` does not wait: all workers are busy before the first result is asked for.
    let mut results = Vec::new();
    for number in 1..=4 {
        results.push(pool.apply_async(square, (number,))?);
    }
    let squares = results.into_iter().map(procession::AsyncResult::get);
    println!("apply_async: {:?}", squares.collect::<Result<Vec<_>, _>>()?);

    // A callback runs in this process, when the result is there.
    let (sender, receiver) = mpsc::channel();
    let report = move |result: &u64| {
        // The receiver waits below.
        let _ = sender.send(format!("the callback saw {result}"));
    };
    pool.call(square, (12,)).callback(report).submit()?.wait()?;
    println!("{}", receiver.recv().unwrap_or_default());

    println!("map: {:?}", pool.map(square, 1..=6)?);
    println!(
        "starmap: {:?}",
        pool.starmap(volume, [(1, 2, 3), (4, 5, 6)])?
    );

    // Results as they come; the numbers have no end, the results that are asked for have.
    let first = pool.imap(square, 1..).take(3);
    println!("imap: {:?}", first.collect::<procession::Result<Vec<_>>>()?);

    // `join` waits for the workers to end, which they do once the pool is closed.
    if let Err(error) = pool.join() {
        println!("join without close: {error}");
    }
    pool.close();
    pool.join()?;
    if let Err(error) = pool.apply(square, (1,)) {
        println!("apply after close: {error}");
    }

    // Work that is worth it. (A call that takes a microsecond is faster in a loop than in any pool.)
    let jobs = vec![120_000; 16];
    let started = Instant::now();
    let serial: Vec<usize> = jobs.iter().map(|below| count_primes(*below)).collect();
    let serial_time = started.elapsed();
    let pool = Pool::new()?;
    let started = Instant::now();
    let parallel = pool.map(count_primes, jobs)?;
    let parallel_time = started.elapsed();
    println!("equal results: {}", serial == parallel);
    println!(
        "a serial loop: {}, {} workers: {}, {:.2} times as fast",
        milliseconds(serial_time),
        pool.processes(),
        milliseconds(parallel_time),
        serial_time.as_secs_f64() / parallel_time.as_secs_f64()
    );
    Ok(())
}

fn milliseconds(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}
