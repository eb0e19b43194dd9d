//! Pipes, channels and `wait` through the Rust face.

#![expect(
    clippy::unwrap_used,
    clippy::panic_in_result_fn,
    reason = "a test that cannot go on fails and says so"
)]

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use procession::{
    Bytes, Connection, ErrorKind, JoinableQueue, Lock, Process, Queue, Receiver, Sender,
    SimpleQueue, StartMethod, channel, duplex, pipe, wait,
};

mod support;
use support::{join, watchdog};

const LONG: Duration = Duration::from_secs(100);
const SHORT: Duration = Duration::from_millis(5);

fn answer(end: Connection<String, u64>) -> procession::Result<()> {
    for number in end.iter() {
        end.send(&format!("<{}>", number?))?;
    }
    Ok(())
}

#[procession::test]
fn ends_travel_to_processes_as_arguments() {
    let _watchdog = watchdog();
    for method in [StartMethod::Spawn, StartMethod::Forkserver] {
        let (here, there) = duplex::<u64, String>().unwrap();
        let child = Process::new(answer)
            .args((there,))
            .start_method(method)
            .start()
            .unwrap();
        for number in 0..100 {
            here.send(&number).unwrap();
            assert_eq!(here.recv().unwrap(), format!("<{number}>"));
        }
        drop(here);
        join(&child);
    }
}

fn send_large(end: Sender<Vec<u64>>, bytes: Sender<(u8, Bytes)>) -> procession::Result<()> {
    end.send(&(0..1_000_000).collect())?;
    bytes.send(&(7, vec![9; 3_000_000].into()))
}

#[procession::test]
fn large_messages_pass() {
    let _watchdog = watchdog();
    let (sender, receiver) = channel().unwrap();
    let (bytes_sender, bytes) = channel().unwrap();
    let child = Process::new(send_large)
        .args((sender, bytes_sender))
        .start()
        .unwrap();
    assert!(receiver.recv().unwrap().into_iter().eq(0..1_000_000));
    assert_eq!(bytes.recv().unwrap(), (7, vec![9; 3_000_000].into()));
    assert_eq!(
        receiver.recv().unwrap_err().kind(),
        ErrorKind::EndOfFile,
        "the only sender has ended"
    );
    join(&child);
}

#[procession::test]
fn the_end_comes_after_what_was_sent() {
    let _watchdog = watchdog();
    let (sender, receiver) = channel::<u8>().unwrap();
    assert!(!receiver.poll(SHORT).unwrap());
    assert_eq!(receiver.recv_timeout(SHORT).unwrap(), None);
    sender.send(&1).unwrap();
    sender.send_bytes(b"raw").unwrap();
    drop(sender);

    assert!(receiver.poll(LONG).unwrap());
    assert_eq!(receiver.recv_timeout(LONG).unwrap(), Some(1));
    assert_eq!(receiver.recv_bytes().unwrap(), b"raw");
    assert!(receiver.poll(Duration::ZERO).unwrap(), "the end is ready");
    assert_eq!(receiver.recv().unwrap_err().kind(), ErrorKind::EndOfFile);
    assert_eq!(receiver.iter().count(), 0);

    let (sender, receiver) = channel::<u8>().unwrap();
    drop(receiver);
    assert_eq!(sender.send(&1).unwrap_err().kind(), ErrorKind::Broken);
}

#[procession::test]
fn handles_do_not_travel_over_connections() {
    let _watchdog = watchdog();
    let (sender, receiver) = channel::<Option<Queue<u8>>>().unwrap();
    let error = sender.send(&Some(Queue::new().unwrap())).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encode);
    assert!(error.to_string().contains("through a queue"), "{error}");

    let (locks, _) = pipe::<Lock>().unwrap();
    let error = locks.send(&Lock::new().unwrap()).unwrap_err();
    assert!(error.to_string().contains("as an argument"), "{error}");
    let (ends, _) = pipe::<Sender<u8>>().unwrap();
    let (end, _receiver) = channel().unwrap();
    assert_eq!(ends.send(&end).unwrap_err().kind(), ErrorKind::Encode);

    sender.send(&None).unwrap();
    assert!(
        receiver.recv().unwrap().is_none(),
        "nothing was sent before"
    );
}

/// Sends over a connection while it is itself being encoded.
struct Nested(Sender<Lock>, Lock);

impl serde::Serialize for Nested {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let error = self.0.send(&self.1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Encode);
        serializer.serialize_u8(1)
    }
}

#[procession::test]
fn not_even_while_a_message_is_encoded() {
    let _watchdog = watchdog();
    let (sender, _receiver) = channel().unwrap();
    let queue = Queue::new().unwrap();
    queue.put(&Nested(sender, Lock::new().unwrap())).unwrap();
}

fn share(numbers: Sender<(u32, Vec<u32>)>, who: u32) -> procession::Result<()> {
    for number in 0..300 {
        // Longer than what the system moves at once.
        numbers.send(&(who, vec![number; 5000]))?;
    }
    Ok(())
}

#[procession::test]
fn processes_on_one_end_do_not_mix_their_messages() {
    let _watchdog = watchdog();
    let (sender, receiver) = channel().unwrap();
    let children = [0, 1, 2].map(|who| {
        Process::new(share)
            .args((sender.clone(), who))
            .start()
            .unwrap()
    });
    drop(sender);
    let mut next = [0; 3];
    for message in receiver.iter() {
        let (who, numbers) = message.unwrap();
        assert_eq!(numbers, vec![next[who as usize]; 5000]);
        next[who as usize] += 1;
    }
    assert_eq!(next, [300; 3]);
    children.iter().for_each(join);
}

fn send_without_end(bytes: Sender<Vec<u8>>) -> procession::Result<()> {
    bytes.send(&vec![1; 10_000_000])
}

#[procession::test]
fn a_death_inside_a_message_is_named() {
    let _watchdog = watchdog();
    let (sender, receiver) = channel().unwrap();
    let child = Process::new(send_without_end)
        .args((sender.clone(),))
        .start()
        .unwrap();
    assert!(receiver.poll(LONG).unwrap());
    child.kill().unwrap();
    child.join().unwrap();
    let error = receiver.recv().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Broken);
    assert!(
        error.to_string().contains(&child.pid().to_string()),
        "{error}"
    );
    assert_eq!(sender.send(&vec![1]).unwrap_err().kind(), ErrorKind::Broken);
}

fn put_later(go: Receiver<()>, queue: Queue<u8>) -> procession::Result<()> {
    go.recv()?;
    queue.put(&5)
}

#[procession::test]
fn wait_tells_what_is_ready() {
    let _watchdog = watchdog();
    let queue = Queue::new().unwrap();
    let (tasks, simple) = (
        JoinableQueue::<u8>::new().unwrap(),
        SimpleQueue::<u8>::new().unwrap(),
    );
    let (go, gone) = channel().unwrap();
    let (left, mut right) = UnixStream::pair().unwrap();
    let (sender, receiver) = channel::<u8>().unwrap();
    let child = Process::new(put_later)
        .args((gone, queue.clone()))
        .start()
        .unwrap();
    let descriptor = left.as_fd();
    let items = [
        (&queue).into(),
        (&tasks).into(),
        (&simple).into(),
        (&receiver).into(),
        (&descriptor).into(),
        (&child).into(),
    ];
    assert!(wait(&items, Some(Duration::ZERO)).unwrap().is_empty());
    assert!(wait(&items, Some(SHORT)).unwrap().is_empty());

    go.send(&()).unwrap();
    assert_eq!(wait(&items[..5], Some(LONG)).unwrap(), [0]);
    join(&child);
    assert_eq!(wait(&items, None).unwrap(), [0, 5]);
    assert_eq!(queue.get().unwrap(), 5);
    assert_eq!(wait(&items, None).unwrap(), [5]);
    assert!(wait(&items[..5], Some(SHORT)).unwrap().is_empty());

    tasks.put(&1).unwrap();
    simple.close().unwrap();
    sender.send(&1).unwrap();
    std::io::Write::write_all(&mut right, b"x").unwrap();
    let mut seen = Vec::new();
    while seen.len() < 4 {
        seen = wait(&items[..5], None).unwrap();
    }
    assert_eq!(seen, [1, 2, 3, 4]);
}
