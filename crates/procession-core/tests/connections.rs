//! Ends of a stream that several real processes share: whoever dies in the middle of a message breaks the direction and
//! is named; whoever dies between two messages harms nobody.

#![expect(unsafe_code, reason = "the common part of the tests forks")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on fails and says so"
)]

mod common;

use common::{child, join, reach, watchdog};
use procession_core::ErrorKind;
use procession_core::ipc::{Connection, shared_pipe};
use procession_core::shm::{Kind, Layout, Object, Wait};
use procession_sys::process::ChildProcess;
use procession_sys::signal::Signal;
use procession_sys::stream::{self, StreamKind};
use std::io::IoSlice;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

#[derive(Debug)]
#[repr(C)]
struct Board {
    ready: AtomicU32,
}

// SAFETY: atomics only, valid when zero.
unsafe impl Layout for Board {
    const KIND: Kind = Kind(1000);
}

fn forever() -> Wait<'static> {
    Wait::forever()
}

/// Longer than any stream has room for.
fn long() -> Vec<u8> {
    vec![7; 8 << 20]
}

fn kill(child: &ChildProcess) {
    child.kill(Signal::KILL).unwrap();
    child.wait(None).unwrap();
}

fn blames(error: &procession_core::Error, culprit: &ChildProcess) {
    assert_eq!(error.kind(), ErrorKind::Broken, "{error}");
    assert!(
        error
            .to_string()
            .contains(&format!("process {}", culprit.pid())),
        "{error}"
    );
}

/// One test: the families of several threads' tests would be one.
#[test]
fn a_death_inside_a_message_breaks_the_direction_and_one_between_messages_does_not() {
    watchdog(Duration::from_secs(120));
    let board = Object::<Board>::create(0, |_, _| {}).unwrap();

    for duplex in [true, false] {
        dead_sender(&board, duplex);
        dead_receiver(&board, duplex);
        idle_deaths(&board, duplex);
    }
    many_senders();
}

fn dead_sender(board: &Object<Board>, duplex: bool) {
    let (receiver, sender) = shared_pipe(duplex).unwrap();
    sender.send_bytes(&[b"whole"], &mut forever()).unwrap();
    board.ready.store(0, Ordering::Release);

    let dying = child(|| {
        board.ready.store(1, Ordering::Release);
        sender.send_bytes(&[&long()], &mut forever()).unwrap();
    });
    reach(&board.ready, 1);
    assert_eq!(receiver.recv_bytes(None, &mut forever()).unwrap(), b"whole");
    let torn = receiver.recv_bytes(
        None,
        &mut Wait::for_duration(Some(Duration::from_millis(1))),
    );
    if let Err(error) = torn {
        assert!(error.is_timeout(), "{error}");
    }
    while !procession_core::ipc::wait(&[(&receiver).into()], &mut forever())
        .is_ok_and(|ready| ready == [0])
    {}
    kill(&dying);

    blames(
        &receiver.recv_bytes(None, &mut forever()).unwrap_err(),
        &dying,
    );
    blames(
        &sender.send_bytes(&[b"x"], &mut forever()).unwrap_err(),
        &dying,
    );
}

fn dead_receiver(board: &Object<Board>, duplex: bool) {
    let (receiver, sender) = shared_pipe(duplex).unwrap();
    board.ready.store(0, Ordering::Release);

    let dying = child(|| {
        board.ready.store(1, Ordering::Release);
        receiver.recv_bytes(None, &mut forever()).unwrap();
    });
    reach(&board.ready, 1);
    let raw = sender.as_fd();
    let kind = StreamKind::of(raw).unwrap();
    // A torn message, written behind the sender's back.
    assert_eq!(
        stream::write_now(kind, raw, &[IoSlice::new(b"\0\0\0\x09abc")]),
        Ok(7)
    );
    while procession_core::ipc::wait(&[(&receiver).into()], &mut Wait::never()).unwrap() == [0] {
        procession_sys::thread::yield_now();
    }
    kill(&dying);

    let receive = || receiver.recv_bytes(None, &mut forever()).unwrap_err();
    let send = || sender.send_bytes(&[&long()], &mut forever()).unwrap_err();
    // Either end may be the first to notice.
    if duplex {
        blames(&send(), &dying);
        blames(&receive(), &dying);
    } else {
        blames(&receive(), &dying);
        blames(&send(), &dying);
    }
}

fn idle_deaths(board: &Object<Board>, duplex: bool) {
    let (receiver, sender) = shared_pipe(duplex).unwrap();

    for _ in 0..20 {
        board.ready.store(0, Ordering::Release);
        let idle = child(|| {
            sender.send_bytes(&[b"before"], &mut forever()).unwrap();
            assert_eq!(
                receiver.recv_bytes(None, &mut forever()).unwrap(),
                b"before"
            );
            board.ready.store(1, Ordering::Release);
            receiver.recv_bytes(None, &mut forever()).unwrap();
        });
        reach(&board.ready, 1);
        let pid = idle.pid();
        while procession_sys::process::status_line(pid).is_some_and(|line| line.state != 'S') {
            procession_sys::thread::yield_now();
        }
        kill(&idle);
        sender.send_bytes(&[b"after"], &mut forever()).unwrap();
        assert_eq!(receiver.recv_bytes(None, &mut forever()).unwrap(), b"after");
    }
}

fn many_senders() {
    const SENDERS: u8 = 4;
    const EACH: usize = 100;
    let (receiver, sender) = shared_pipe(true).unwrap();

    let send = |sender: &Connection, number: u8| {
        for _ in 0..EACH {
            sender
                .send_bytes(&[&vec![number; 30_000]], &mut forever())
                .unwrap();
        }
    };
    let children: Vec<_> = (0..SENDERS)
        .map(|number| child(|| send(&sender, number)))
        .collect();
    for _ in 0..usize::from(SENDERS) * EACH {
        let message = receiver.recv_bytes(None, &mut forever()).unwrap();
        assert_eq!(message.len(), 30_000);
        assert!(message.iter().all(|byte| *byte == message[0]));
    }
    children.iter().for_each(join);
}
