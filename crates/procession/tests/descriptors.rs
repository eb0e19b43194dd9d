//! Connections inside messages, tasks and results; see `keeper.rs` for the process that holds them on their way.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on fails and says so"
)]

use std::time::Duration;

use procession::{ErrorKind, Pool, Process, Queue, Receiver, Sender, StartMethod, channel};

mod support;
use support::{join, watchdog};

const SHORT: Duration = Duration::from_millis(10);

fn serve(requests: Queue<(u32, Sender<String>)>) -> procession::Result<()> {
    for request in requests.iter() {
        let (number, answer) = request?;
        answer.send(&format!("answer {number}"))?;
    }
    Ok(())
}

#[procession::test]
fn a_connection_travels_inside_a_message() {
    let _watchdog = watchdog();
    for method in [StartMethod::Spawn, StartMethod::Forkserver] {
        let requests = Queue::new().unwrap();
        let child = Process::new(serve)
            .args((requests.clone(),))
            .start_method(method)
            .start()
            .unwrap();
        for number in 0..20 {
            let (sender, receiver) = channel().unwrap();
            requests.put(&(number, sender)).unwrap();
            assert_eq!(receiver.recv().unwrap(), format!("answer {number}"));
            assert_eq!(
                receiver.recv().unwrap_err().kind(),
                ErrorKind::EndOfFile,
                "nobody has kept the other end"
            );
        }
        requests.close().unwrap();
        join(&child);
    }
}

#[procession::test]
fn many_connections_travel_inside_one_message() {
    let _watchdog = watchdog();
    let queue = Queue::<Vec<Sender<usize>>>::new().unwrap();
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..150).map(|_| channel().unwrap()).unzip();
    queue.put(&senders).unwrap();
    drop(senders);
    for (number, sender) in queue.get().unwrap().iter().enumerate() {
        sender.send(&number).unwrap();
    }
    for (number, receiver) in receivers.iter().enumerate() {
        assert_eq!(receiver.recv().unwrap(), number);
        assert_eq!(receiver.recv().unwrap_err().kind(), ErrorKind::EndOfFile);
    }
}

#[procession::test]
fn the_connection_of_a_message_that_is_never_received_is_closed() {
    let _watchdog = watchdog();
    // The queue is dropped: whoever frees the message tells the keeper.
    let (sender, receiver) = channel::<u8>().unwrap();
    let queue = Queue::new().unwrap();
    queue.put(&sender).unwrap();
    drop(sender);
    assert_eq!(receiver.recv_timeout(SHORT).unwrap(), None);
    drop(queue);
    assert_eq!(receiver.recv().unwrap_err().kind(), ErrorKind::EndOfFile);

    // There is no room for the message: it never came to be.
    let (sender, receiver) = channel::<u8>().unwrap();
    let queue = Queue::bounded(1).unwrap();
    queue.put(&None).unwrap();
    let error = queue.try_put(&Some(sender)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full);
    assert_eq!(receiver.recv().unwrap_err().kind(), ErrorKind::EndOfFile);
}

fn put_into_own_queue(sender: Sender<u8>, done: Sender<()>) -> procession::Result<()> {
    let queue = Queue::new()?;
    queue.put(&sender)?;
    drop(sender);
    done.send(&())?;
    loop {
        std::thread::park();
    }
}

#[procession::test]
fn the_connection_of_a_message_that_dies_with_its_process_is_closed() {
    let _watchdog = watchdog();
    let (sender, receiver) = channel::<u8>().unwrap();
    let (done, is_done) = channel().unwrap();
    let child = Process::new(put_into_own_queue)
        .args((sender, done))
        .start()
        .unwrap();
    is_done.recv().unwrap();
    assert_eq!(receiver.recv_timeout(SHORT).unwrap(), None);
    child.kill().unwrap();
    // Nobody joins the child: the keeper finds out by itself.
    assert_eq!(receiver.recv().unwrap_err().kind(), ErrorKind::EndOfFile);
    child.join().unwrap();
}

fn relay(sender: Sender<u32>, number: u32) -> (Receiver<u32>, u32) {
    sender.send(&number).unwrap();
    let (sender, receiver) = channel().unwrap();
    sender.send(&(number + 1)).unwrap();
    (receiver, number)
}

#[procession::test]
fn connections_travel_with_tasks_and_results() {
    let _watchdog = watchdog();
    let pool = Pool::builder().processes(2).build().unwrap();
    let (sender, receiver) = channel().unwrap();
    let (answer, number) = pool.apply(relay, (sender, 1)).unwrap();
    assert_eq!((receiver.recv().unwrap(), number), (1, 1));
    assert_eq!(answer.recv().unwrap(), 2);
    assert_eq!(answer.recv().unwrap_err().kind(), ErrorKind::EndOfFile);

    let (sender, receiver) = channel().unwrap();
    let items: Vec<_> = (0..8).map(|number| (sender.clone(), number)).collect();
    drop(sender);
    let answers = pool.starmap(relay, items).unwrap();
    let mut numbers: Vec<u32> = receiver.iter().map(Result::unwrap).collect();
    numbers.sort_unstable();
    assert!(numbers.into_iter().eq(0..8));
    for (answer, number) in answers {
        assert_eq!(answer.recv().unwrap(), number + 1);
    }
}
