//! `RawReentrantLock` in all schedules of two threads of one process.

#![cfg(procession_loom)]
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]
#![expect(
    clippy::arc_with_non_send_sync,
    reason = "loom's cells go to loom's threads only"
)]

mod loom_support;

use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::thread;
use loom_support::{LoomWaiter, Machine, check};
use procession_sync::primitive::{AtomicU64, Ordering};
use procession_sync::{Acquired, RawLock, RawReentrantLock, Waiter};

/// What a model needs of a lock, for the real one and its broken twin alike.
trait Reentrant: Send + Sync + 'static {
    fn new() -> Self;
    fn acquire(&self, waiter: &mut LoomWaiter);
    /// Releases what was acquired once.
    fn release(&self, waiter: &LoomWaiter);
    fn is_mine(&self, waiter: &LoomWaiter) -> bool;
}

impl Reentrant for RawReentrantLock {
    fn new() -> Self {
        Self::new()
    }

    fn acquire(&self, waiter: &mut LoomWaiter) {
        assert_eq!(Self::acquire(self, waiter), Ok(Acquired::Clean));
    }

    fn release(&self, waiter: &LoomWaiter) {
        Self::release(self, waiter).unwrap();
    }

    fn is_mine(&self, waiter: &LoomWaiter) -> bool {
        Self::is_mine(self, waiter)
    }
}

fn exclusion<L: Reentrant>() {
    check(None, || {
        let machine = Machine::new();
        let shared = Arc::new((L::new(), UnsafeCell::new(())));
        let run = |waiter: &mut LoomWaiter, shared: &(L, UnsafeCell<()>)| {
            assert!(!shared.0.is_mine(waiter));
            shared.0.acquire(waiter);
            assert!(shared.0.is_mine(waiter));
            shared.1.with_mut(|_| ());
            shared.0.release(waiter);
        };
        let other = {
            let (machine, shared) = (Arc::clone(&machine), Arc::clone(&shared));
            thread::spawn(move || run(&mut machine.waiter(0, 1), &shared))
        };
        run(&mut machine.waiter(0, 2), &shared);
        other.join().unwrap();
    });
}

#[test]
fn two_threads_of_a_process_exclude_each_other() {
    exclusion::<RawReentrantLock>();
}

#[test]
fn acquired_twice_is_released_twice() {
    check(Some(3), || {
        let machine = Machine::new();
        let shared = Arc::new((RawReentrantLock::new(), UnsafeCell::new(())));
        let other = {
            let (machine, shared) = (Arc::clone(&machine), Arc::clone(&shared));
            thread::spawn(move || {
                let mut waiter = machine.waiter(0, 1);
                let _ = shared.0.acquire(&mut waiter).unwrap();
                let _ = shared.0.acquire(&mut waiter).unwrap();
                shared.1.with_mut(|_| ());
                shared.0.release(&waiter).unwrap();
                shared.1.with_mut(|_| ());
                shared.0.release(&waiter).unwrap();
            })
        };
        let mut waiter = machine.waiter(0, 2);
        let _ = shared.0.acquire(&mut waiter).unwrap();
        let count = shared.0.release_all(&waiter).unwrap();
        assert_eq!(count, 1);
        let _ = shared.0.reacquire(2, &mut waiter);
        shared.1.with_mut(|_| ());
        assert_eq!(shared.0.release_all(&waiter), Ok(2));
        other.join().unwrap();
    });
}

#[test]
fn a_death_is_told_and_its_count_forgotten() {
    check(None, || {
        let machine = Machine::new();
        let lock = Arc::new(RawReentrantLock::new());
        let other = {
            let (machine, lock) = (Arc::clone(&machine), Arc::clone(&lock));
            thread::spawn(move || {
                let mut waiter = machine.waiter(1, 1);
                let _ = lock.acquire(&mut waiter).unwrap();
                let _ = lock.acquire(&mut waiter).unwrap();
                machine.die(1);
            })
        };
        let mut waiter = machine.waiter(2, 1);
        let first = lock.acquire(&mut waiter).unwrap();
        lock.release(&waiter).unwrap();
        let second = lock.acquire(&mut waiter);
        if first == Acquired::OwnerDied {
            assert_eq!(second, Ok(Acquired::Clean));
        }
        assert_eq!(lock.count(), 1);
        lock.release(&waiter).unwrap();
        other.join().unwrap();
    });
}

/// A lock that takes its holder's name away after it has let go.
struct ForgetsTooLate {
    lock: RawLock,
    holder: AtomicU64,
}

impl Reentrant for ForgetsTooLate {
    fn new() -> Self {
        Self {
            lock: RawLock::new(),
            holder: AtomicU64::new(0),
        }
    }

    fn acquire(&self, waiter: &mut LoomWaiter) {
        assert_eq!(self.lock.acquire(waiter), Ok(Acquired::Clean));
        self.holder
            .store(u64::from(waiter.thread()), Ordering::Relaxed);
    }

    fn release(&self, waiter: &LoomWaiter) {
        self.lock.release(waiter).unwrap();
        self.holder.store(0, Ordering::Relaxed);
    }

    fn is_mine(&self, waiter: &LoomWaiter) -> bool {
        self.holder.load(Ordering::Relaxed) == u64::from(waiter.thread())
    }
}

#[test]
#[should_panic(expected = "is_mine")]
fn twin_that_forgets_too_late_is_caught() {
    exclusion::<ForgetsTooLate>();
}
