//! Queues whose producers and consumers are killed at every step.
//!
//! Messages are numbered. Whatever the moment of a death: no message is delivered twice, at most the one that a killed
//! producer had not published and the one that was delivered to a killed consumer is lost, nobody waits for ever, and all
//! that the dead and the queue had is given back.

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
use procession_core::ipc::queue::{CRASH_POINTS, JoinableQueue};
use procession_core::shm::{Object, Wait, heap};
use procession_core::{ErrorKind, crash};
use procession_sys::process::{ChildProcess, ExitStatus};
use procession_sys::signal::Signal;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const WATCHDOG: Duration = Duration::from_secs(540);
const EACH: u32 = 150;
/// How many messages the storm lasts at most; the board has as many places.
const NUMBERS: u32 = 1 << 18;
/// Longer than any test runs.
const BLOCKED: Duration = Duration::from_secs(1000);

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Children are forked from this thread.
    arguments.test_threads = Some(1);
    watchdog(WATCHDOG);

    let mut trials = Vec::new();
    for &point in CRASH_POINTS {
        for maxsize in [None, Some(3)] {
            let name = format!(
                "{point} {}",
                if maxsize.is_some() {
                    "bounded"
                } else {
                    "unbounded"
                }
            );
            trials.push(Trial::test(name, move || {
                in_a_new_family(move || dies_at(point, maxsize))
            }));
        }
    }
    trials.push(Trial::test("killed at random", || in_a_new_family(storm)));
    trials.push(Trial::test("every worker dies with a task", || {
        in_a_new_family(lost_tasks)
    }));
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Runs a test in a child that has its own family, since a process has only one in its life.
fn in_a_new_family(test: impl FnOnce()) -> Result<(), Failed> {
    let founder = child(|| {
        watchdog(WATCHDOG);
        test();
    });

    match founder.wait(None)? {
        Some(ExitStatus::Exited(0)) => Ok(()),
        status => Err(format!("the test's process ended with {status:?}").into()),
    }
}

/// Two producers and two consumers each are killed at a point beside others that are not.
fn dies_at(point: &'static str, maxsize: Option<usize>) {
    let before = live();
    let mut killed = 0;
    for (round, nth) in [1, 1, 2, 40].into_iter().enumerate() {
        let queue = JoinableQueue::new(maxsize).unwrap();
        let board = Board::create();

        let producers: Vec<_> = (0..4)
            .map(|index| {
                child(|| {
                    if index < 2 {
                        crash::arm(point, nth);
                    }
                    for number in index * EACH..(index + 1) * EACH {
                        put_numbered(&queue, &board, number);
                    }
                })
            })
            .collect();
        let consumer = |victim: bool| {
            child(|| {
                if victim {
                    crash::arm(point, nth);
                }
                while get_numbered(&queue, &board, &mut Wait::forever()) {
                    queue.task_done(&mut Wait::forever()).unwrap();
                }
            })
        };
        if round > 0 {
            let leaver = child(|| {
                for _ in 0..3 {
                    assert!(get_numbered(&queue, &board, &mut Wait::forever()));
                }
            });
            join(&leaver);
        }
        let victims = [consumer(true), consumer(true)];
        while_it_moves(&board.taken);
        let others = [consumer(false), consumer(false)];

        let killed_producers = producers
            .iter()
            .map(was_killed)
            .filter(|killed| *killed)
            .count();
        queue.close(&mut Wait::forever()).unwrap();
        let killed_consumers = victims
            .iter()
            .map(was_killed)
            .filter(|killed| *killed)
            .count();
        others.iter().for_each(join);
        assert!(queue.is_empty());
        let joiner = child(|| {
            crash::arm(point, nth);
            while queue.join(&mut Wait::forever()).is_err() {}
        });
        killed += killed_producers + killed_consumers + usize::from(was_killed(&joiner));
        let mut lost_tasks = 0;
        while let Err(error) = queue.join(&mut Wait::forever()) {
            assert_eq!(error.kind(), ErrorKind::WorkerLost);
            lost_tasks += 1;
        }
        assert!(lost_tasks <= killed_consumers + 1);
        board.check(4 * EACH, killed_producers, killed_consumers);
    }
    assert!(killed > 0, "nobody came to the point");
    assert_nothing_is_left(before);
}

/// Producers and consumers of one queue are killed at any moment and replaced.
fn storm() {
    const DEATHS: u32 = 300;
    const PRODUCERS: usize = 3;
    let before = live();
    let queue = JoinableQueue::new(Some(20)).unwrap();
    let board = Board::create();

    let mut started = 0;
    let mut start = |index: usize| {
        let child = child(|| {
            board.signal.fetch_add(1, Ordering::AcqRel);
            if index < PRODUCERS {
                loop {
                    let number = board.next.fetch_add(1, Ordering::Relaxed);
                    if number >= NUMBERS {
                        return;
                    }
                    put_numbered(&queue, &board, number);
                }
            }
            while get_numbered(&queue, &board, &mut Wait::forever()) {
                queue.task_done(&mut Wait::forever()).unwrap();
            }
        });
        // A slot whose process dies before it takes it is kept for a minute.
        started += 1;
        reach(&board.signal, started);
        child
    };
    let mut children: Vec<ChildProcess> = (0..6).map(&mut start).collect();
    let (mut killed_producers, mut killed_consumers) = (0, 0);
    for death in 0..DEATHS {
        std::thread::sleep(Duration::from_micros(500 + u64::from(death * 7919 % 3000)));
        let index = (death * 31 % 6) as usize;
        children[index].kill(Signal::KILL).unwrap();
        if was_killed(&children[index]) {
            *(if index < PRODUCERS {
                &mut killed_producers
            } else {
                &mut killed_consumers
            }) += 1;
        }
        children[index] = start(index);
    }
    board.next.fetch_add(NUMBERS, Ordering::Relaxed);
    for producer in children.drain(..PRODUCERS) {
        join(&producer);
    }
    queue.close(&mut Wait::forever()).unwrap();
    children.iter().for_each(join);
    board.check(NUMBERS, killed_producers, killed_consumers);
    drop((queue, board, children));
    assert_nothing_is_left(before);
}

/// `join` says how many tasks died with their workers, and goes on when told.
fn lost_tasks() {
    let queue = JoinableQueue::new(None).unwrap();
    let board: Object<Board> = Board::create();
    for number in 0..10 {
        put_numbered(&queue, &board, number);
    }

    let worker = child(|| {
        for _ in 0..5 {
            get_numbered(&queue, &board, &mut Wait::forever());
        }
        queue.task_done(&mut Wait::forever()).unwrap();
        queue.task_done(&mut Wait::forever()).unwrap();
        board.signal.store(1, Ordering::Release);
        std::thread::sleep(BLOCKED);
    });
    eventually(|| board.signal.load(Ordering::Acquire) == 1);
    assert_eq!(queue.unfinished().unwrap(), 8);
    let waiting = child(|| {
        let error = queue.join(&mut Wait::forever()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WorkerLost);
        assert!(error.to_string().contains(" 3 tasks"), "{error}");
        board.signal.store(2, Ordering::Release);
        queue.join(&mut Wait::forever()).unwrap();
    });
    std::thread::sleep(Duration::from_millis(50));
    worker.kill(Signal::KILL).unwrap();
    assert!(was_killed(&worker));

    eventually(|| board.signal.load(Ordering::Acquire) == 2);
    for _ in 0..5 {
        assert!(get_numbered(&queue, &board, &mut Wait::never()));
        queue.task_done(&mut Wait::never()).unwrap();
    }
    join(&waiting);
}

/// Lets the first consumers have their share: enough for a victim to come to its point, or until all of them are dead.
fn while_it_moves(taken: &AtomicU32) {
    let mut before = u32::MAX;
    loop {
        std::thread::sleep(Duration::from_millis(10));
        let now = taken.load(Ordering::Acquire);
        if now == before || now > EACH {
            return;
        }
        before = now;
    }
}

fn was_killed(child: &ChildProcess) -> bool {
    match child.wait(None).unwrap() {
        Some(ExitStatus::Exited(0)) => false,
        Some(ExitStatus::Signaled(9)) => true,
        status => panic!("a child ended with {status:?}"),
    }
}

fn live() -> u64 {
    // This process keeps the first page of its ledger.
    drop(Board::create());
    heap::recover();
    heap::stats().unwrap().blocks
}

fn assert_nothing_is_left(before: u64) {
    assert_eq!(live(), before, "blocks are left");
}
