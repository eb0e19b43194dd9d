//! `RawCondition` in all schedules of two or three threads.

#![cfg(procession_loom)]
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod loom_support;

use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::thread;
use loom_support::{LoomWaiter, Machine, Patience, check, killed};
use procession_sync::primitive::{AtomicU32, Ordering};
use procession_sync::{Acquired, Monitor, NoOverflow, RawCondition, RawLock, Stop, Waiter};

/// The user's lock as one waiter gives it up and takes it back.
struct Held<'a> {
    lock: &'a RawLock,
    waiter: LoomWaiter,
}

impl Monitor for Held<'_> {
    fn unlock(&mut self) {
        self.lock.release(&self.waiter).unwrap();
    }

    fn relock(&mut self) -> Acquired {
        self.lock.acquire_regardless(&mut self.waiter)
    }
}

/// What a model needs of a condition, for the real one and its broken twins alike.
trait Condition: Send + Sync + 'static {
    fn new() -> Self;
    fn wait(&self, waiter: &mut LoomWaiter, monitor: &mut Held<'_>) -> Result<(), Stop>;
    fn notify(&self, count: u32, waiter: &LoomWaiter) -> u32;
}

impl Condition for RawCondition {
    fn new() -> Self {
        Self::new()
    }

    fn wait(&self, waiter: &mut LoomWaiter, monitor: &mut Held<'_>) -> Result<(), Stop> {
        let waited = Self::wait(self, waiter, monitor, &NoOverflow).unwrap();
        expect_clean(waited.lock);
        waited.outcome
    }

    fn notify(&self, count: u32, waiter: &LoomWaiter) -> u32 {
        Self::notify(self, count, waiter, &NoOverflow)
    }
}

fn expect_clean(lock: Acquired) {
    assert_eq!(lock, Acquired::Clean);
}

/// A condition with its user's lock and a flag that the lock guards.
struct Shared<C> {
    lock: RawLock,
    condition: C,
    flag: UnsafeCell<bool>,
}

impl<C: Condition> Shared<C> {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            lock: RawLock::new(),
            condition: C::new(),
            flag: UnsafeCell::new(false),
        })
    }

    /// Waits with the lock held before and after.
    fn wait(&self, machine: &Arc<Machine>, process: u16, patience: Patience) -> Result<(), Stop> {
        self.wait_after(machine, process, patience, || ())
    }

    /// Waits after `before`, which the lock guards too.
    fn wait_after(
        &self,
        machine: &Arc<Machine>,
        process: u16,
        patience: Patience,
        before: impl FnOnce(),
    ) -> Result<(), Stop> {
        let mut monitor = Held {
            lock: &self.lock,
            waiter: machine.waiter(process, 1),
        };
        let mut waiter = machine.waiter(process, 1).with(patience);
        let _ = monitor.relock();
        before();
        let outcome = self.condition.wait(&mut waiter, &mut monitor);
        self.flag.with_mut(|_| ());
        monitor.unlock();
        outcome
    }

    fn notify(&self, machine: &Arc<Machine>, count: u32) -> u32 {
        let mut waiter = machine.waiter(0, 1);
        let _ = self.lock.acquire_regardless(&mut waiter);
        self.flag.with_mut(|_| ());
        let notified = self.condition.notify(count, &waiter);
        self.lock.release(&waiter).unwrap();
        notified
    }
}

fn spawn_waiter<C: Condition>(
    machine: &Arc<Machine>,
    shared: &Arc<Shared<C>>,
    process: u16,
    patience: Patience,
) -> thread::JoinHandle<Result<(), Stop>> {
    let (machine, shared) = (Arc::clone(machine), Arc::clone(shared));
    thread::spawn(move || shared.wait(&machine, process, patience))
}

/// A waiter that came before the notification is released by it.
fn a_notification_arrives<C: Condition>() {
    check(Some(3), || {
        let (machine, shared) = (Machine::new(), Shared::<C>::new());
        let other = spawn_waiter(&machine, &shared, 1, Patience::Endless);
        while shared.notify(&machine, 1) == 0 {
            thread::yield_now();
        }
        assert_eq!(other.join().unwrap(), Ok(()));
    });
}

/// A wait times out if, and only if, nobody notified it.
fn a_late_notification_counts<C: Condition>() {
    check(Some(3), || {
        let (machine, shared) = (Machine::new(), Shared::<C>::new());
        let other = spawn_waiter(&machine, &shared, 1, Patience::Deadline);
        let notified = shared.notify(&machine, 1);
        let outcome = other.join().unwrap();
        assert_eq!(outcome.is_ok(), notified == 1, "told the truth");
        assert_eq!(shared.notify(&machine, 1), 0);
    });
}

#[test]
fn a_waiter_is_notified() {
    a_notification_arrives::<RawCondition>();
}

#[test]
fn what_was_notified_is_not_reported_as_late() {
    a_late_notification_counts::<RawCondition>();
}

#[test]
fn two_waiters_are_notified_together() {
    check(Some(2), || {
        let (machine, shared) = (Machine::new(), Shared::<RawCondition>::new());
        let others =
            [1, 2].map(|process| spawn_waiter(&machine, &shared, process, Patience::Endless));
        let mut notified = 0;
        while notified < 2 {
            notified += shared.notify(&machine, u32::MAX);
            thread::yield_now();
        }
        for other in others {
            assert_eq!(other.join().unwrap(), Ok(()));
        }
    });
}

/// Two wait and one is notified; if the older one is killed with it, the other one gets it.
#[test]
fn a_killed_waiter_swallows_no_notification() {
    check(Some(2), || {
        let (machine, shared) = (Machine::new(), Shared::<RawCondition>::new());
        let victim = {
            let (machine, shared) = (Arc::clone(&machine), Arc::clone(&shared));
            killed(move || {
                shared.wait(&machine, 1, Patience::Killed).unwrap();
                // Notified before it slept at all: it lives, and owes the other one.
                shared.notify(&machine, 1);
            })
        };
        let (waits, done) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let other = {
            let (machine, shared) = (Arc::clone(&machine), Arc::clone(&shared));
            let (waits, done) = (Arc::clone(&waits), Arc::clone(&done));
            thread::spawn(move || {
                let announce = || waits.store(1, Ordering::Relaxed);
                shared
                    .wait_after(&machine, 2, Patience::Endless, announce)
                    .unwrap();
                done.store(1, Ordering::Release);
            })
        };
        let mut waiter = machine.waiter(0, 1);
        let mut notified = false;
        while !notified {
            let _ = shared.lock.acquire_regardless(&mut waiter);
            if waits.load(Ordering::Relaxed) == 1 {
                assert_eq!(shared.condition.notify(1, &waiter, &NoOverflow), 1);
                notified = true;
            }
            shared.lock.release(&waiter).unwrap();
            thread::yield_now();
        }
        victim.join().unwrap();
        machine.tick_until(&done);
        other.join().unwrap();
    });
}

/// A condition whose waiters look at its word after they gave the lock up.
struct LooksTooLate(AtomicU32, AtomicU32);

impl Condition for LooksTooLate {
    fn new() -> Self {
        Self(AtomicU32::new(0), AtomicU32::new(0))
    }

    fn wait(&self, waiter: &mut LoomWaiter, monitor: &mut Held<'_>) -> Result<(), Stop> {
        self.1.fetch_add(1, Ordering::Relaxed);
        monitor.unlock();
        let seen = self.0.load(Ordering::Acquire);
        let outcome = waiter.wait(&self.0, seen, None);
        let _ = monitor.relock();
        outcome
    }

    fn notify(&self, count: u32, waiter: &LoomWaiter) -> u32 {
        let waiting = self.1.swap(0, Ordering::Relaxed);
        self.0.fetch_add(1, Ordering::Release);
        waiter.wake(&self.0, count);
        waiting.min(count)
    }
}

/// A condition whose waiters believe their clock rather than the table.
struct BelievesTheClock(AtomicU32);

impl Condition for BelievesTheClock {
    fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    fn wait(&self, waiter: &mut LoomWaiter, monitor: &mut Held<'_>) -> Result<(), Stop> {
        self.0.swap(1, Ordering::Relaxed);
        monitor.unlock();
        let outcome = waiter.wait(&self.0, 1, None);
        let _ = monitor.relock();
        self.0.swap(0, Ordering::Relaxed);
        outcome
    }

    fn notify(&self, count: u32, waiter: &LoomWaiter) -> u32 {
        if self
            .0
            .compare_exchange(1, 2, Ordering::Relaxed, Ordering::Relaxed)
            .is_err()
        {
            return 0;
        }
        waiter.wake(&self.0, count);
        1
    }
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_that_looks_too_late_is_caught() {
    a_notification_arrives::<LooksTooLate>();
}

#[test]
#[should_panic(expected = "told the truth")]
fn twin_that_believes_the_clock_is_caught() {
    a_late_notification_counts::<BelievesTheClock>();
}
