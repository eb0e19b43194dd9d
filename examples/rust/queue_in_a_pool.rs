//! A plain queue (or lock, or value) as an argument of a pool's tasks, and
//! inside a message: every handle is a value like any other.
//!
//! `cargo run --example queue_in_a_pool`

#![expect(clippy::print_stdout, reason = "an example says what happens")]

use procession::{Lock, Pool, Process, Queue, Value};

fn log_square(
    number: u64,
    log: Queue<String>,
    lock: Lock,
    total: Value<u64>,
) -> procession::Result<()> {
    let square = number * number;
    {
        let _guard = lock.acquire()?;
        total.set(total.get() + square);
    }
    log.put(&format!("the square of {number} is {square}"))
}

/// Answers requests, each of which says where the answer is to go.
fn serve(requests: Queue<(u64, Queue<u64>)>) -> procession::Result<()> {
    for request in &requests {
        let (number, answer_to) = request?;
        answer_to.put(&(number + 1))?;
    }
    Ok(())
}

#[procession::main]
fn main() -> procession::Result<()> {
    let pool = Pool::builder().processes(2).build()?;
    let (log, lock, total) = (Queue::new()?, Lock::new()?, Value::new(0)?);
    let calls = (1..=4).map(|number| (number, log.clone(), lock.clone(), total.clone()));
    for logged in pool.starmap(
        |n, log, lock, total| log_square(n, log, lock, total).is_ok(),
        calls,
    )? {
        if !logged {
            println!("a task could not log");
        }
    }
    let mut lines = Vec::new();
    while let Some(line) = log.try_get()? {
        lines.push(line);
    }
    lines.sort();
    println!("{}", lines.join("\n"));
    println!("the total is {}", total.get());

    // A queue inside a message: made after the server was started, it still reaches it.
    let requests = Queue::new()?;
    let server = Process::new(serve).args((requests.clone(),)).start()?;
    let answers = Queue::new()?;
    requests.put(&(41, answers.clone()))?;
    println!("the answer is {}", answers.get()?);
    requests.close()?;
    server.join()?;
    Ok(())
}
