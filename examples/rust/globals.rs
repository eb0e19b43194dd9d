//! A global variable that a child process changes is unchanged in its parent.
//!
//! Every process has its own memory: a child gets its arguments, and what it
//! does to its globals stays there. This program shows it, and then five ways
//! to share a list with a child: an `Array`, a `Value`, a `Queue`, a pipe, and
//! the result of a pool's task.
//!
//! `cargo run --example globals`

#![expect(clippy::print_stdout, reason = "an example says what happens")]

use std::sync::Mutex;

use procession::{Array, Pool, Process, Queue, Sender, Value};

/// Each process has a list of its own.
static NUMBERS: Mutex<Vec<i32>> = Mutex::new(Vec::new());

fn extend_the_global() {
    if let Ok(mut numbers) = NUMBERS.lock() {
        numbers.extend([1, 2, 3]);
        println!("the child's global list: {numbers:?}");
    }
}

/// An array has its place in shared memory: its handle can be passed to any
/// process of the program.
fn fill_an_array(numbers: Array<i32>) {
    for index in 0..numbers.len() {
        numbers.set(index, (index as i32 + 1).pow(2));
    }
}

/// `update` holds the value's lock, so that no change of another process is
/// overwritten.
fn add_to_a_value(sum: Value<i32>, numbers: Vec<i32>) {
    for number in numbers {
        sum.update(|sum| sum + number);
    }
}

fn put_into_a_queue(numbers: Queue<i32>) -> procession::Result<()> {
    numbers.put_many([1, 2, 3])?;
    numbers.close()
}

fn send_through_a_pipe(numbers: Sender<Vec<i32>>) -> procession::Result<()> {
    numbers.send(&vec![1, 2, 3])
}

fn make_a_list(length: i32) -> Vec<i32> {
    (1..=length).collect()
}

#[procession::main]
fn main() -> procession::Result<()> {
    Process::new(extend_the_global).start()?.join()?;
    let numbers = NUMBERS.lock().map(|numbers| numbers.clone());
    println!(
        "the parent's global list: {:?}",
        numbers.unwrap_or_default()
    );

    let array = Array::zeroed(4)?;
    let child = Process::new(fill_an_array).args((array.clone(),)).start()?;
    child.join()?;
    println!("through an array: {:?}", array.to_vec());

    let sum = Value::new(0)?;
    let children = [vec![1, 2], vec![3, 4]].map(|numbers| {
        Process::new(add_to_a_value)
            .args((sum.clone(), numbers))
            .start()
    });
    for child in children {
        child?.join()?;
    }
    println!("through a value: {}", sum.get());

    let queue = Queue::new()?;
    let child = Process::new(put_into_a_queue)
        .args((queue.clone(),))
        .start()?;
    let numbers = queue.iter().collect::<procession::Result<Vec<_>>>()?;
    child.join()?;
    println!("through a queue: {numbers:?}");

    let (sender, receiver) = procession::channel()?;
    let child = Process::new(send_through_a_pipe).args((sender,)).start()?;
    println!("through a pipe: {:?}", receiver.recv()?);
    child.join()?;

    let pool = Pool::builder().processes(1).build()?;
    println!("as a result: {:?}", pool.apply(make_a_list, (3,))?);
    Ok(())
}
