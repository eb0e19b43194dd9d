//! Pipes: messages until the end, in one direction or both.
//!
//! `cargo run --example pipes`

#![expect(clippy::print_stdout, reason = "an example says what happens")]

use procession::{Connection, ErrorKind, Process, Receiver, Sender};

const SENDERS: u64 = 2;
const MESSAGES: u64 = 500;

fn count_down(numbers: Sender<u32>) -> procession::Result<()> {
    for number in (1..=3).rev() {
        numbers.send(&number)?;
    }
    // Its end closes here: that is the end of the messages.
    Ok(())
}

fn answer(questions: Connection<String>) -> procession::Result<()> {
    loop {
        match questions.recv() {
            Ok(question) => questions.send(&format!("{} letters", question.len()))?,
            Err(error) if error.kind() == ErrorKind::EndOfFile => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Long messages, so that two senders would mix them if they could.
fn send_many(sender: u64, messages: Sender<Vec<u64>>) -> procession::Result<()> {
    for number in 0..MESSAGES {
        messages.send(&vec![sender; 100 + number as usize])?;
    }
    Ok(())
}

fn receive_all<T: serde::de::DeserializeOwned + 'static>(
    receiver: &Receiver<T>,
) -> procession::Result<Vec<T>> {
    let mut messages = Vec::new();
    loop {
        match receiver.recv() {
            Ok(message) => messages.push(message),
            // Every sender has closed its end, and all was read.
            Err(error) if error.kind() == ErrorKind::EndOfFile => return Ok(messages),
            Err(error) => return Err(error),
        }
    }
}

#[procession::main]
fn main() -> procession::Result<()> {
    // One way. The parent's own copy of the sender has moved into the arguments and is gone, or the end would never come.
    let (sender, receiver) = procession::channel()?;
    let child = Process::new(count_down).args((sender,)).start()?;
    println!("until the end: {:?}", receive_all(&receiver)?);
    child.join()?;
    if let Err(error) = receiver.recv() {
        println!("after the end: {error}");
    }

    // Both ways.
    let (here, there) = procession::pipe::<String>()?;
    let child = Process::new(answer).args((there,)).start()?;
    here.send(&"procession".to_owned())?;
    println!("an answer: {}", here.recv()?);
    drop(here);
    child.join()?;

    // Two processes may send through one end: messages arrive whole.
    let (sender, receiver) = procession::channel()?;
    let mut children = Vec::new();
    for number in 0..SENDERS {
        let arguments = (number, sender.clone());
        children.push(Process::new(send_many).args(arguments).start()?);
    }
    drop(sender);
    let messages = receive_all(&receiver)?;
    let whole = messages
        .iter()
        .all(|message| message.iter().all(|number| *number == message[0]));
    println!(
        "{} messages of two senders, all whole: {whole}",
        messages.len()
    );
    for child in children {
        child.join()?;
    }
    Ok(())
}
