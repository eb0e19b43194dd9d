//! Queues between processes that live, end and are replaced.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test program of its own"
)]

mod common;

#[path = "queue_support/board.rs"]
mod board;

use board::{Board, get_numbered, put_numbered};
use common::{child, eventually, join, reach, watchdog};
use libtest_mimic::{Arguments, Failed, Trial};
use procession_core::ErrorKind;
use procession_core::ipc::queue::{Queue, Readiness};
use procession_core::shm::handles::{self, Collected, Collecting};
use procession_core::shm::{Wait, heap};
use procession_sys::poll::{Interest, PollEntry, PollOutcome, poll};
use procession_sys::process::ExitStatus;
use procession_sys::signal::Signal;
use procession_sys::thread;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::Duration;

const WATCHDOG: Duration = Duration::from_secs(240);

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Children are forked from this thread.
    arguments.test_threads = Some(1);
    watchdog(WATCHDOG);

    let tests: [(&str, fn()); 8] = [
        (
            "a producer may end before its messages are read",
            producer_ends,
        ),
        (
            "200 threads in 8 processes lose and double nothing",
            many_threads,
        ),
        (
            "a queue travels through a queue to another process",
            queue_of_queues,
        ),
        (
            "a message that nobody receives gives back its handles",
            never_received,
        ),
        (
            "a stopped consumer stops nobody's timeout",
            stopped_consumer,
        ),
        ("a closed queue ends its consumers", close_ends_consumers),
        ("a descriptor hears of other processes", descriptor),
        ("a message of a gigabyte", gigabyte),
    ];
    let trials = tests.map(|(name, test)| Trial::test(name, move || in_a_new_family(test)));
    libtest_mimic::run(&arguments, trials.into()).exit_code()
}

/// Runs a test in a child that has its own family, since a process has only one in its life.
fn in_a_new_family(test: fn()) -> Result<(), Failed> {
    let founder = child(|| {
        watchdog(WATCHDOG);
        test();
    });

    match founder.wait(None)? {
        Some(ExitStatus::Exited(0)) => Ok(()),
        status => Err(format!("the test's process ended with {status:?}").into()),
    }
}

fn producer_ends() {
    let queue = Queue::new(None).unwrap();
    let board = Board::create();

    join(&child(|| {
        (0..1000).for_each(|number| put_numbered(&queue, &board, number))
    }));
    assert_eq!(queue.len(), 1000);
    while get_numbered(&queue, &board, &mut Wait::never()) {}
    board.check(1000, 0, 0);
}

fn many_threads() {
    const PROCESSES: u32 = 8;
    const THREADS: u32 = 25;
    const EACH: u32 = 100;
    let before = live();
    let queue = Queue::new(Some(50)).unwrap();
    let board = Board::create();

    let children: Vec<_> = (0..PROCESSES)
        .map(|process| {
            let (queue, board) = (&queue, &board);
            child(move || {
                std::thread::scope(|scope| {
                    for thread in 0..THREADS {
                        // As many messages are got as are put.
                        let first = (process * THREADS + thread) / 2 * EACH;
                        scope.spawn(move || {
                            for number in first..first + EACH {
                                if (process * THREADS + thread).is_multiple_of(2) {
                                    put_numbered(queue, board, number);
                                } else {
                                    assert!(get_numbered(queue, board, &mut Wait::forever()));
                                }
                            }
                        });
                    }
                });
            })
        })
        .collect();
    children.iter().for_each(join);
    assert!(queue.is_empty());
    board.check(PROCESSES * THREADS / 2 * EACH, 0, 0);
    drop((queue, board));
    assert_eq!(live(), before);
}

fn put_queue(outer: &Queue, inner: &Queue) {
    let collecting = Collecting::begin();
    let index = handles::note(inner.object()).unwrap();
    let collected = collecting.finish();
    outer
        .put(&[&index.to_le_bytes()], &collected, &mut Wait::never())
        .unwrap();
}

fn get_queue(outer: &Queue) -> Queue {
    let message = outer.get(&mut Wait::forever()).unwrap();
    let _reading = message.begin_reading().unwrap();

    Queue::from_object(
        handles::resolve(u32::from_le_bytes(message.payload().try_into().unwrap())).unwrap(),
    )
}

fn queue_of_queues() {
    let before = live();
    let outer = Queue::new(None).unwrap();
    let answers = Queue::new(None).unwrap();

    let sender = child(|| {
        for number in 0..100u32 {
            let inner = Queue::new(None).unwrap();
            inner
                .put(
                    &[&number.to_le_bytes()],
                    &Collected::none(),
                    &mut Wait::never(),
                )
                .unwrap();
            put_queue(&outer, &inner);
        }
    });
    join(&sender);
    let receiver = child(|| {
        for _ in 0..60 {
            let inner = get_queue(&outer);
            let number = inner.get(&mut Wait::never()).unwrap();
            answers
                .put(&[number.payload()], &Collected::none(), &mut Wait::never())
                .unwrap();
        }
        // Dies with one in its hands.
        let _last = get_queue(&outer);
        std::process::abort();
    });
    receiver.wait(None).unwrap();

    for number in 0..60u32 {
        assert_eq!(
            answers.get(&mut Wait::never()).unwrap().payload(),
            number.to_le_bytes()
        );
    }
    assert_eq!(
        get_queue(&outer).get(&mut Wait::never()).unwrap().payload(),
        61u32.to_le_bytes()
    );
    drop((outer, answers));
    assert_eq!(live(), before);
}

fn never_received() {
    let before = live();
    let outer = Queue::new(None).unwrap();
    let inner = Queue::new(None).unwrap();
    inner
        .put(&[&[7; 5000]], &Collected::none(), &mut Wait::never())
        .unwrap();

    join(&child(|| put_queue(&outer, &inner)));
    drop(inner);
    assert!(live() > before);
    drop(outer);
    assert_eq!(live(), before);
}

fn stopped_consumer() {
    let queue = Queue::new(None).unwrap();
    let board = Board::create();
    let consumer = child(|| {
        board.signal.store(1, Ordering::Release);
        while get_numbered(&queue, &board, &mut Wait::forever()) {}
    });
    reach(&board.signal, 1);

    for number in 0..50 {
        put_numbered(&queue, &board, number);
        consumer.kill(Signal::STOP).unwrap();
        // It may have stopped anywhere, with the lock in its hands too.
        let error = get_until_empty(&queue, &board);
        assert!(
            [ErrorKind::Empty, ErrorKind::TimedOut].contains(&error),
            "{error:?}"
        );
        consumer.kill(Signal::CONTINUE).unwrap();
    }
    queue.close(&mut Wait::forever()).unwrap();
    join(&consumer);
}

fn get_until_empty(queue: &Queue, board: &Board) -> ErrorKind {
    loop {
        match queue.get(&mut Wait::for_duration(Some(Duration::from_millis(2)))) {
            Ok(_) => board.taken.fetch_add(1, Ordering::Relaxed),
            Err(error) => return error.kind(),
        };
    }
}

fn close_ends_consumers() {
    let queue = Queue::new(None).unwrap();
    let consumers: Vec<_> = (0..5)
        .map(|_| {
            child(|| {
                assert_eq!(
                    queue.get(&mut Wait::forever()).unwrap_err().kind(),
                    ErrorKind::Closed
                )
            })
        })
        .collect();

    std::thread::sleep(Duration::from_millis(50));
    queue.close(&mut Wait::forever()).unwrap();
    consumers.iter().for_each(join);
}

fn descriptor() {
    let threads = thread::count();
    let queue = Queue::new(None).unwrap();
    let board = Board::create();
    let readiness = queue.readiness().unwrap();
    assert!(!is_readable(&readiness, Duration::ZERO));

    for number in 0..200 {
        let producer = child(|| put_numbered(&queue, &board, number));
        assert!(is_readable(&readiness, WATCHDOG));
        join(&producer);
        let consumer = child(|| {
            assert!(!readiness.is_of_this_process());
            let mine = queue.readiness().unwrap();
            assert!(is_readable(&mine, WATCHDOG));
            assert!(get_numbered(&queue, &board, &mut Wait::never()));
            assert!(!is_readable(&mine, Duration::ZERO));
        });
        join(&consumer);
        // The other process took it: whoever polls looks for himself.
        assert!(!readiness.is_ready());
        assert!(!is_readable(&readiness, Duration::ZERO));
    }
    drop(readiness);
    eventually(|| thread::count() == threads);
}

fn is_readable(readiness: &Readiness, timeout: Duration) -> bool {
    let mut entries = [PollEntry::new(readiness.as_fd(), Interest::READ)];
    while poll(&mut entries, Some(timeout)).unwrap() == PollOutcome::Interrupted {}
    !entries[0].ready.is_empty()
}

/// Set `PROCESSION_GIGABYTE` for the size that the name promises; a 16th of it otherwise.
fn gigabyte() {
    let len = if std::env::var_os("PROCESSION_GIGABYTE").is_some() {
        1 << 30
    } else {
        1 << 26
    };
    let before = live();
    let queue = Queue::new(None).unwrap();
    let sender = child(|| {
        let bytes: Vec<u8> = (0..len)
            .map(|index: usize| (index >> 8) as u8 ^ index as u8)
            .collect();
        queue
            .put(
                &[&bytes[..len / 2], &bytes[len / 2..]],
                &Collected::none(),
                &mut Wait::forever(),
            )
            .unwrap();
    });

    let message = queue.get(&mut Wait::forever()).unwrap();
    assert_eq!(message.payload().len(), len);
    assert!(
        message
            .payload()
            .iter()
            .enumerate()
            .all(|(index, byte)| *byte == (index >> 8) as u8 ^ index as u8)
    );
    join(&sender);
    drop((queue, message));
    assert_eq!(live(), before);
}

fn live() -> u64 {
    // This process keeps the first page of its ledger.
    drop(Board::create());
    heap::recover();
    heap::stats().unwrap().blocks
}
