//! `RawEvent` in all schedules of two or three threads.

#![cfg(procession_loom)]
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod loom_support;

use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::thread;
use loom_support::{LoomWaiter, Machine, Patience, check};
use procession_sync::primitive::{AtomicU32, Ordering};
use procession_sync::{RawEvent, Stop, Waiter};

/// What a model needs of an event, for the real one and its broken twins alike.
trait Event: Send + Sync + 'static {
    fn new() -> Self;
    fn set(&self, waiter: &LoomWaiter);
    fn clear(&self);
    fn wait(&self, waiter: &mut LoomWaiter) -> Result<(), Stop>;
}

impl Event for RawEvent {
    fn new() -> Self {
        Self::new()
    }

    fn set(&self, waiter: &LoomWaiter) {
        Self::set(self, waiter);
    }

    fn clear(&self) {
        Self::clear(self);
    }

    fn wait(&self, waiter: &mut LoomWaiter) -> Result<(), Stop> {
        Self::wait(self, waiter)
    }
}

/// All who wait pass once it is set, and see what was done before.
fn set_releases_all<E: Event>(waiters: u16, preemptions: Option<usize>) {
    check(preemptions, move || {
        let machine = Machine::new();
        let shared = Arc::new((E::new(), UnsafeCell::new(())));
        let others: Vec<_> = (1..=waiters)
            .map(|process| {
                let (machine, shared) = (Arc::clone(&machine), Arc::clone(&shared));
                thread::spawn(move || {
                    shared.0.wait(&mut machine.waiter(process, 1)).unwrap();
                    shared.1.with(|_| ());
                })
            })
            .collect();
        shared.1.with_mut(|_| ());
        shared.0.set(&machine.waiter(0, 1));
        for other in others {
            other.join().unwrap();
        }
    });
}

/// Whoever waits when it is set passes, though it is cleared at once.
fn clear_strands_nobody<E: Event>(preemptions: Option<usize>) {
    check(preemptions, || {
        let machine = Machine::new();
        let event = Arc::new(E::new());
        let asleep = Arc::new(AtomicU32::new(0));
        let other = {
            let (machine, event, asleep) = (
                Arc::clone(&machine),
                Arc::clone(&event),
                Arc::clone(&asleep),
            );
            thread::spawn(move || {
                event
                    .wait(&mut machine.waiter(1, 1).announcing(asleep))
                    .unwrap();
            })
        };
        let waiter = machine.waiter(0, 1);
        let waits = asleep.load(Ordering::Acquire) == 1;
        event.set(&waiter);
        event.clear();
        if !waits {
            event.set(&waiter);
        }
        other.join().unwrap();
    });
}

#[test]
fn set_releases_one() {
    set_releases_all::<RawEvent>(1, None);
}

#[test]
fn set_releases_two() {
    set_releases_all::<RawEvent>(2, Some(3));
}

#[test]
fn a_clear_after_the_set_strands_nobody() {
    clear_strands_nobody::<RawEvent>(None);
}

#[test]
fn two_setters_and_a_waiter() {
    check(Some(3), || {
        let machine = Machine::new();
        let event = Arc::new(RawEvent::new());
        let setters: Vec<_> = (1..3)
            .map(|process| {
                let (machine, event) = (Arc::clone(&machine), Arc::clone(&event));
                thread::spawn(move || event.set(&machine.waiter(process, 1)))
            })
            .collect();
        event.wait(&mut machine.waiter(0, 1)).unwrap();
        assert!(event.is_set());
        for setter in setters {
            setter.join().unwrap();
        }
    });
}

#[test]
fn a_set_before_the_deadline_is_reported() {
    check(None, || {
        let machine = Machine::new();
        let event = Arc::new(RawEvent::new());
        let other = {
            let (machine, event) = (Arc::clone(&machine), Arc::clone(&event));
            thread::spawn(move || event.set(&machine.waiter(1, 1)))
        };
        let mut waiter = machine.waiter(0, 1).with(Patience::Deadline);
        if event.wait(&mut waiter).is_ok() {
            assert!(event.is_set());
        }
        other.join().unwrap();
    });
}

/// An event without a sequence: whoever wakes looks at the flag only.
struct WithoutSequence(AtomicU32);

impl Event for WithoutSequence {
    fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    fn set(&self, waiter: &LoomWaiter) {
        self.0.swap(1, Ordering::Release);
        waiter.wake(&self.0, u32::MAX);
    }

    fn clear(&self) {
        self.0.swap(0, Ordering::AcqRel);
    }

    fn wait(&self, waiter: &mut LoomWaiter) -> Result<(), Stop> {
        while self.0.load(Ordering::Acquire) == 0 {
            waiter.wait(&self.0, 0, None)?;
        }
        Ok(())
    }
}

/// An event whose setter looks for waiters before it sets.
struct LooksTooEarly(AtomicU32);

impl Event for LooksTooEarly {
    fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    fn set(&self, waiter: &LoomWaiter) {
        let waiters = self.0.load(Ordering::Relaxed) & 2 != 0;
        self.0.swap(1, Ordering::Release);
        if waiters {
            waiter.wake(&self.0, u32::MAX);
        }
    }

    fn clear(&self) {
        self.0.fetch_and(!1, Ordering::AcqRel);
    }

    fn wait(&self, waiter: &mut LoomWaiter) -> Result<(), Stop> {
        while self.0.fetch_or(2, Ordering::Acquire) & 1 == 0 {
            waiter.wait(&self.0, 2, None)?;
        }
        Ok(())
    }
}

/// An event whose setter publishes nothing.
struct SetsRelaxed(AtomicU32);

impl Event for SetsRelaxed {
    fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    fn set(&self, waiter: &LoomWaiter) {
        self.0.swap(1, Ordering::Relaxed);
        waiter.wake(&self.0, u32::MAX);
    }

    fn clear(&self) {}

    fn wait(&self, waiter: &mut LoomWaiter) -> Result<(), Stop> {
        while self.0.load(Ordering::Acquire) == 0 {
            waiter.wait(&self.0, 0, None)?;
        }
        Ok(())
    }
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_without_a_sequence_is_caught() {
    clear_strands_nobody::<WithoutSequence>(None);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_that_looks_too_early_is_caught() {
    set_releases_all::<LooksTooEarly>(1, None);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn twin_that_sets_relaxed_is_caught() {
    set_releases_all::<SetsRelaxed>(1, None);
}
