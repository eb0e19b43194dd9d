//! `RawBarrier` in all schedules of two or three threads.

#![cfg(procession_loom)]
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]
#![expect(
    clippy::arc_with_non_send_sync,
    reason = "loom's cells go to loom's threads only"
)]

mod loom_support;

use std::convert::Infallible;
use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::thread;
use loom_support::{LoomWaiter, Machine, Patience, check};
use procession_sync::primitive::{AtomicU32, Ordering};
use procession_sync::{BarrierError, RawBarrier, Stop, Waiter};

type Outcome = Result<u32, BarrierError<Infallible>>;

/// What a model needs of a barrier for two, for the real one and its broken twin alike.
trait Barrier: Send + Sync + 'static {
    fn new(parties: u32) -> Self;
    fn wait(&self, waiter: &mut LoomWaiter) -> Outcome;
}

struct Real {
    barrier: RawBarrier,
    table: Vec<AtomicU32>,
}

impl Real {
    fn wait_with(&self, waiter: &mut LoomWaiter, action: impl FnOnce()) -> Outcome {
        let action = || {
            action();
            Ok(())
        };
        self.barrier.wait(waiter, &self.table, Some(action))
    }
}

impl Barrier for Real {
    fn new(parties: u32) -> Self {
        Self {
            barrier: RawBarrier::new(parties),
            table: (0..parties).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    fn wait(&self, waiter: &mut LoomWaiter) -> Outcome {
        self.barrier
            .wait(waiter, &self.table, None::<fn() -> Result<(), Infallible>>)
    }
}

/// Two threads pass `rounds` times. Each writes its cell before and reads the other's after.
fn rounds<B: Barrier>(rounds: usize, preemptions: Option<usize>) {
    check(preemptions, move || {
        let machine = Machine::new();
        let cells: Vec<_> = (0..rounds).map(|_| [(); 2].map(UnsafeCell::new)).collect();
        let shared = Arc::new((B::new(2), cells));
        let run = move |waiter: &mut LoomWaiter, shared: &(B, Vec<[UnsafeCell<()>; 2]>)| {
            let me = usize::from(waiter.owner().slot());
            let pass = |cells: &[UnsafeCell<()>; 2]| {
                cells[me].with_mut(|_| ());
                let index = shared.0.wait(waiter).unwrap();
                cells[1 - me].with(|_| ());
                index
            };
            shared.1.iter().map(pass).collect::<Vec<_>>()
        };
        let other = {
            let (machine, shared) = (Arc::clone(&machine), Arc::clone(&shared));
            thread::spawn(move || run(&mut machine.waiter(1, 1), &shared))
        };
        let mine = run(&mut machine.waiter(0, 1), &shared);
        for (mine, theirs) in mine.into_iter().zip(other.join().unwrap()) {
            assert_eq!(mine + theirs, 1);
        }
    });
}

#[test]
fn two_parties_pass() {
    rounds::<Real>(1, Some(4));
}

#[test]
fn two_parties_pass_twice() {
    rounds::<Real>(2, Some(3));
}

#[test]
fn the_action_runs_once_before_anyone_passes() {
    check(Some(3), || {
        let machine = Machine::new();
        let shared = Arc::new((Real::new(2), UnsafeCell::new(0)));
        let run = |waiter: &mut LoomWaiter, shared: &(Real, UnsafeCell<u32>)| {
            let action = || shared.1.with_mut(|_| ());
            shared.0.wait_with(waiter, action).unwrap();
            shared.1.with(|_| ());
        };
        let other = {
            let (machine, shared) = (Arc::clone(&machine), Arc::clone(&shared));
            thread::spawn(move || run(&mut machine.waiter(1, 1), &shared))
        };
        run(&mut machine.waiter(0, 1), &shared);
        other.join().unwrap();
    });
}

#[test]
fn a_timeout_fails_both_or_none() {
    check(Some(3), || {
        let machine = Machine::new();
        let barrier = Arc::new(Real::new(2));
        let other = {
            let (machine, barrier) = (Arc::clone(&machine), Arc::clone(&barrier));
            thread::spawn(move || barrier.wait(&mut machine.waiter(1, 1).with(Patience::Deadline)))
        };
        let mine = barrier.wait(&mut machine.waiter(0, 1));
        let theirs = other.join().unwrap();
        if mine.is_ok() {
            assert!(theirs.is_ok());
        } else {
            assert_eq!(mine, Err(BarrierError::Broken));
            assert_eq!(theirs, Err(BarrierError::Stopped(Stop::TimedOut)));
            assert!(barrier.barrier.is_broken());
        }
    });
}

#[test]
fn an_abort_fails_who_waits_and_a_reset_mends_it() {
    check(Some(3), || {
        let machine = Machine::new();
        let barrier = Arc::new(Real::new(2));
        let other = {
            let (machine, barrier) = (Arc::clone(&machine), Arc::clone(&barrier));
            thread::spawn(move || barrier.wait(&mut machine.waiter(1, 1)))
        };
        let mut waiter = machine.waiter(0, 1);
        barrier.barrier.abort(&mut waiter, &barrier.table);
        assert_eq!(other.join().unwrap(), Err(BarrierError::Broken));
        barrier.barrier.reset(&mut waiter, &barrier.table);
        assert!(!barrier.barrier.is_broken());
        assert_eq!(barrier.barrier.n_waiting(&barrier.table), 0);
    });
}

#[test]
fn an_abort_does_not_reach_who_is_released() {
    check(Some(3), || {
        let machine = Machine::new();
        let barrier = Arc::new(Real::new(2));
        let other = {
            let (machine, barrier) = (Arc::clone(&machine), Arc::clone(&barrier));
            thread::spawn(move || barrier.wait(&mut machine.waiter(1, 1)))
        };
        let mut waiter = machine.waiter(0, 1);
        barrier.wait(&mut waiter).unwrap();
        barrier.barrier.abort(&mut waiter, &barrier.table);
        assert!(other.join().unwrap().is_ok());
    });
}

/// A participant of three dies while it waits: the others, asleep or on their way, learn it.
#[test]
fn a_death_breaks_it() {
    check(Some(3), || {
        let machine = Machine::new();
        let barrier = Arc::new(Real::new(3));
        let victim = machine.waiter(1, 1).owner();
        barrier.table[0].store(victim.to_bits(), Ordering::Relaxed);
        let other = {
            let (machine, barrier) = (Arc::clone(&machine), Arc::clone(&barrier));
            thread::spawn(move || barrier.wait(&mut machine.waiter(2, 1)))
        };
        machine.die(1);
        let mine = barrier.wait(&mut machine.waiter(0, 1));
        assert_eq!(mine, Err(BarrierError::Broken));
        assert_eq!(other.join().unwrap(), Err(BarrierError::Broken));
        assert!(barrier.barrier.is_broken());
    });
}

/// A barrier whose participants look at the round only after they have arrived.
struct LooksTooLate {
    parties: u32,
    arrived: AtomicU32,
    round: AtomicU32,
}

impl Barrier for LooksTooLate {
    fn new(parties: u32) -> Self {
        Self {
            parties,
            arrived: AtomicU32::new(0),
            round: AtomicU32::new(0),
        }
    }

    fn wait(&self, waiter: &mut LoomWaiter) -> Outcome {
        let index = self.arrived.fetch_add(1, Ordering::AcqRel) % self.parties;
        if index + 1 == self.parties {
            self.round.fetch_add(1, Ordering::Release);
            waiter.wake(&self.round, u32::MAX);
            return Ok(index);
        }
        let round = self.round.load(Ordering::Acquire);
        while self.round.load(Ordering::Acquire) == round {
            waiter
                .wait(&self.round, round, None)
                .map_err(BarrierError::Stopped)?;
        }
        Ok(index)
    }
}

/// A barrier that stays open until its last participant has left, and lets others in meanwhile.
struct LetsIn {
    parties: u32,
    inside: AtomicU32,
    open: AtomicU32,
}

impl Barrier for LetsIn {
    fn new(parties: u32) -> Self {
        Self {
            parties,
            inside: AtomicU32::new(0),
            open: AtomicU32::new(0),
        }
    }

    fn wait(&self, waiter: &mut LoomWaiter) -> Outcome {
        let index = self.inside.fetch_add(1, Ordering::AcqRel);
        if index + 1 == self.parties {
            self.open.swap(1, Ordering::Release);
            waiter.wake(&self.open, u32::MAX);
        }
        while self.open.load(Ordering::Acquire) == 0 {
            waiter
                .wait(&self.open, 0, None)
                .map_err(BarrierError::Stopped)?;
        }
        if self.inside.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.open.swap(0, Ordering::Release);
        }
        Ok(index)
    }
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_that_looks_too_late_is_caught() {
    rounds::<LooksTooLate>(1, Some(3));
}

#[test]
#[should_panic]
fn twin_that_lets_others_in_is_caught() {
    rounds::<LetsIn>(2, Some(3));
}
