//! A queue between producers and a consumer, which ends by itself.
//!
//! The question "is it empty?" does not tell a consumer whether it is done: a
//! producer may just be slow. Closing the queue does: everything that was put
//! is still got, and then the iteration ends.
//!
//! `cargo run --example producer_consumer`

#![expect(clippy::print_stdout, reason = "an example says what happens")]

use std::time::Duration;

use procession::{JoinableQueue, Process, Queue};

fn produce(producer: u32, messages: Queue<String>) -> procession::Result<()> {
    for number in 1..=3 {
        messages.put(&format!("message {number} of producer {producer}"))?;
    }
    // The messages are in shared memory by now: this process may end before anybody has read them.
    Ok(())
}

fn consume(messages: Queue<String>, count: Queue<usize>) -> procession::Result<()> {
    let mut received = 0;
    for message in &messages {
        println!("got {}", message?);
        received += 1;
    }
    count.put(&received)
}

fn work(tasks: JoinableQueue<u64>, squares: Queue<u64>) -> procession::Result<()> {
    for task in tasks.iter() {
        squares.put(&task?.pow(2))?;
        tasks.task_done()?;
    }
    Ok(())
}

#[procession::main]
fn main() -> procession::Result<()> {
    let (messages, count) = (Queue::new()?, Queue::new()?);
    let consumer = Process::new(consume)
        .args((messages.clone(), count.clone()))
        .start()?;
    let producers = [1, 2].map(|number| {
        Process::new(produce)
            .args((number, messages.clone()))
            .start()
    });
    for producer in producers {
        producer?.join()?;
    }
    messages.close()?;
    println!("the consumer got {} messages", count.get()?);
    consumer.join()?;

    // Reading what there is, without ever blocking: `try_get` answers for itself, so nothing can happen between a question and a get.
    let letters = Queue::<String>::new()?;
    letters.put_many(["a".to_owned(), "b".to_owned(), "c".to_owned()])?;
    println!("{} letters wait", letters.len());
    while let Some(letter) = letters.try_get()? {
        println!("took {letter}");
    }
    println!("empty: {}", letters.is_empty());
    let nothing = letters.get_timeout(Duration::from_millis(10))?;
    println!("waited for another letter: {nothing:?}");

    // A bounded queue slows its producers down to the consumers' pace.
    let narrow = Queue::bounded(2)?;
    narrow.put_many([1, 2])?;
    match narrow.try_put(&3) {
        Err(error) => println!("a third put: {error}"),
        Ok(()) => println!("a third put was not refused"),
    }

    // `join` returns when every message was not only taken but done.
    let (tasks, squares) = (JoinableQueue::new()?, Queue::new()?);
    let worker = Process::new(work)
        .args((tasks.clone(), squares.clone()))
        .start()?;
    tasks.put_many(1..=4)?;
    tasks.join()?;
    println!("all tasks are done: {} squares", squares.len());
    tasks.close()?;
    worker.join()?;
    Ok(())
}
