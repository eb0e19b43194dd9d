//! Processes that are killed at random while they use everything: the others get on.

use crate::Test;
use crate::board::{Board, board, kill, settled};
use crate::cell::{get, number, set};
use crate::common::{child, eventually, join, reach};
use procession_core::primitives::{Barrier, Cell, Condition, Event, RLock, Semaphore};
use procession_core::shm::{Object, Wait};
use procession_core::{Acquired, Error};
use procession_sys::process::ChildProcess;
use std::sync::atomic::Ordering;
use std::time::Duration;

const PROCESSES: usize = 4;
const KILLS: u32 = 150;
const ROUNDS_AFTERWARDS: u32 = 200;

pub(crate) const TESTS: &[Test] = &[
    ("killed_at_random_with_locks", || {
        survive(Things::take_turns)
    }),
    ("killed_at_random_at_a_barrier", || survive(Things::meet)),
];

/// What the processes use. `Board::go` ends them, `Board::passed` counts what they achieved.
struct Things {
    board: Object<Board>,
    number: Cell,
    lock: RLock,
    condition: Condition,
    semaphore: Semaphore,
    event: Event,
    barrier: Barrier,
}

impl Things {
    fn new() -> Self {
        let lock = RLock::new().unwrap();
        Self {
            board: board(),
            number: number(),
            condition: Condition::with_lock(lock.clone().into()).unwrap(),
            lock,
            semaphore: Semaphore::new(0).unwrap(),
            event: Event::new().unwrap(),
            barrier: Barrier::new(PROCESSES as u32, 0).unwrap(),
        }
    }

    fn is_over(&self) -> bool {
        self.board.go.load(Ordering::Relaxed) != 0
    }

    fn note(&self, acquired: Acquired) {
        if acquired == Acquired::OwnerDied {
            self.board.died.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Passes the turn around: each waits on the condition until another has had it.
    fn take_turns(&self) {
        let mut last = u64::MAX;
        while !self.is_over() {
            self.note(self.lock.acquire(&mut Wait::forever()).unwrap());
            // Whoever had the last turn may be dead, so after a while anyone may go on.
            if get(&self.number) == last {
                let mut wait = Wait::for_duration(Some(Duration::from_millis(2)));
                self.note(self.condition.wait(&mut wait).unwrap().lock);
            }
            last = get(&self.number) + 1;
            set(&self.number, last);
            self.condition.notify(1).unwrap();
            self.lock.release().unwrap();

            self.semaphore.release().unwrap();
            self.event.set();
            self.semaphore.acquire(&mut Wait::forever()).unwrap();
            self.event.wait(&mut Wait::forever()).unwrap();
            self.board.passed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn meet(&self) {
        while !self.is_over() {
            match self
                .barrier
                .wait(&mut Wait::forever(), None::<fn() -> Result<(), Error>>)
            {
                Ok(0) => {
                    self.board.passed.fetch_add(1, Ordering::Relaxed);
                }
                Ok(_) => {}
                Err(_) if self.is_over() => {}
                Err(_) => self.barrier.reset().unwrap(),
            }
        }
    }
}

fn survive(work: fn(&Things)) {
    let before = settled();
    let things = Things::new();
    // One that is killed before it has begun keeps its place for a minute.
    let start = || {
        let begun = things.board.ready.load(Ordering::Relaxed);
        let child = child(|| {
            things.board.ready.fetch_add(1, Ordering::Release);
            work(&things);
        });
        reach(&things.board.ready, begun + 1);
        child
    };
    let mut workers: Vec<ChildProcess> = (0..PROCESSES).map(|_| start()).collect();

    for round in 0..KILLS {
        // As good as random against what the workers do: some microseconds to some milliseconds.
        std::thread::sleep(Duration::from_micros(u64::from(round * 7919 % 4001)));
        let victim = round as usize % PROCESSES;
        kill(&workers[victim]);
        workers[victim] = start();
    }

    let passed = || things.board.passed.load(Ordering::Relaxed);
    let so_far = passed();
    eventually(|| passed() >= so_far + ROUNDS_AFTERWARDS);
    things.board.go.store(1, Ordering::Relaxed);
    eventually(|| {
        things.barrier.abort().unwrap();
        workers
            .iter()
            .all(|worker| worker.try_wait().unwrap().is_some())
    });
    workers.iter().for_each(join);

    assert!(things.board.died.load(Ordering::Relaxed) <= KILLS);
    assert!(things.lock.try_acquire().unwrap().is_some());
    drop(things);
    assert_eq!(settled(), before);
}
