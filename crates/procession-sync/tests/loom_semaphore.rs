//! `RawSemaphore` in all schedules of two or three threads.

#![cfg(procession_loom)]
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod loom_support;

use std::marker::PhantomData;
use std::sync::Arc;

use loom::thread;
use loom_support::{LoomWaiter, Machine, Patience, check};
use procession_sync::primitive::{AtomicU32, Ordering};
use procession_sync::{RawSemaphore, Stop, Waiter};

/// What a model needs of a semaphore, for the real one and its broken twins alike.
trait Semaphore: Send + Sync + 'static {
    fn new() -> Self;
    fn acquire(&self, waiter: &mut LoomWaiter) -> Result<(), Stop>;
    fn release(&self, waiter: &LoomWaiter);
}

impl Semaphore for RawSemaphore {
    fn new() -> Self {
        Self::new(0, Self::UNBOUNDED)
    }

    fn acquire(&self, waiter: &mut LoomWaiter) -> Result<(), Stop> {
        Self::acquire(self, waiter)
    }

    fn release(&self, waiter: &LoomWaiter) {
        Self::release(self, waiter).unwrap();
    }
}

/// Two threads take a permit each, and this one releases two.
fn two_permits<S: Semaphore>(preemptions: Option<usize>) {
    check(preemptions, || {
        let machine = Machine::new();
        let semaphore = Arc::new(S::new());
        let takers: Vec<_> = (1..3)
            .map(|process| {
                let (machine, semaphore) = (Arc::clone(&machine), Arc::clone(&semaphore));
                thread::spawn(move || semaphore.acquire(&mut machine.waiter(process, 1)).unwrap())
            })
            .collect();
        let waiter = machine.waiter(0, 1);
        semaphore.release(&waiter);
        semaphore.release(&waiter);
        for taker in takers {
            taker.join().unwrap();
        }
    });
}

/// A permit that one thread releases goes through the hands of another and this one.
fn passing_on<S: Semaphore>(preemptions: Option<usize>) {
    check(preemptions, || {
        let machine = Machine::new();
        let semaphore = Arc::new(S::new());
        let others: Vec<_> = (1..3)
            .map(|process| {
                let (machine, semaphore) = (Arc::clone(&machine), Arc::clone(&semaphore));
                thread::spawn(move || {
                    let mut waiter = machine.waiter(process, 1);
                    if process == 1 {
                        semaphore.acquire(&mut waiter).unwrap();
                    }
                    semaphore.release(&waiter);
                })
            })
            .collect();
        let mut waiter = machine.waiter(0, 1);
        semaphore.acquire(&mut waiter).unwrap();
        semaphore.release(&waiter);
        for other in others {
            other.join().unwrap();
        }
    });
}

/// One permit for two: one of them gives up, the other must get it.
fn giving_up<S: Semaphore>(patience: Patience, preemptions: Option<usize>) {
    check(preemptions, move || {
        let machine = Machine::new();
        let semaphore = Arc::new(S::new());
        let quitter = {
            let (machine, semaphore) = (Arc::clone(&machine), Arc::clone(&semaphore));
            thread::spawn(move || {
                let mut waiter = machine.waiter(1, 1).with(patience);
                if semaphore.acquire(&mut waiter).is_ok() {
                    semaphore.release(&waiter);
                }
            })
        };
        let taker = {
            let (machine, semaphore) = (Arc::clone(&machine), Arc::clone(&semaphore));
            thread::spawn(move || {
                let mut waiter = machine.waiter(2, 1);
                semaphore.acquire(&mut waiter).unwrap();
                semaphore.release(&waiter);
            })
        };
        semaphore.release(&machine.waiter(0, 1));
        quitter.join().unwrap();
        taker.join().unwrap();
    });
}

#[test]
fn permits_reach_those_who_wait() {
    two_permits::<RawSemaphore>(Some(3));
}

#[test]
fn a_permit_goes_from_hand_to_hand() {
    passing_on::<RawSemaphore>(Some(3));
}

#[test]
fn a_deadline_strands_nobody() {
    giving_up::<RawSemaphore>(Patience::Deadline, Some(3));
}

#[test]
fn an_interruption_strands_nobody() {
    giving_up::<RawSemaphore>(Patience::Interrupted, Some(3));
}

#[test]
fn the_maximum_holds_under_races() {
    check(None, || {
        let machine = Machine::new();
        let semaphore = Arc::new(RawSemaphore::new(0, 1));
        let other = {
            let (machine, semaphore) = (Arc::clone(&machine), Arc::clone(&semaphore));
            thread::spawn(move || semaphore.release(&machine.waiter(1, 1)).is_ok())
        };
        let mine = semaphore.release(&machine.waiter(0, 1)).is_ok();
        assert!(mine ^ other.join().unwrap());
        assert_eq!(semaphore.value(), 1);
    });
}

const WAITERS: u32 = 1 << 31;

/// What is wrong with a twin.
trait Fault: Send + Sync + 'static {
    const FORGETS_SLEEPERS: bool = false;
    const CLEARS_BLINDLY: bool = false;
    const KEEPS_THE_WAKE: bool = false;
}

/// The semaphore once more, with one fault.
struct Twin<F> {
    word: AtomicU32,
    fault: PhantomData<F>,
}

impl<F: Fault> Twin<F> {
    fn swap(&self, from: u32, to: u32) -> bool {
        self.word
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }
}

impl<F: Fault> Semaphore for Twin<F> {
    fn new() -> Self {
        Self {
            word: AtomicU32::new(0),
            fault: PhantomData,
        }
    }

    fn acquire(&self, waiter: &mut LoomWaiter) -> Result<(), Stop> {
        let mut slept = 0;
        loop {
            let word = self.word.load(Ordering::Relaxed);
            if word & !WAITERS != 0 {
                let kept = if F::FORGETS_SLEEPERS {
                    0
                } else {
                    word & WAITERS | slept
                };
                if self.swap(word, ((word & !WAITERS) - 1) | kept) {
                    return Ok(());
                }
                continue;
            }
            if word == 0 && !self.swap(0, WAITERS) {
                continue;
            }
            let result = waiter.wait(&self.word, WAITERS, None);
            slept = WAITERS;
            if let Err(stop) = result {
                if !F::KEEPS_THE_WAKE {
                    waiter.wake(&self.word, 1);
                }
                return Err(stop);
            }
        }
    }

    fn release(&self, waiter: &LoomWaiter) {
        let word = self.word.fetch_add(1, Ordering::Release) + 1;
        if word & WAITERS != 0 && waiter.wake(&self.word, 1) == 0 {
            if F::CLEARS_BLINDLY {
                self.word.fetch_and(!WAITERS, Ordering::Relaxed);
            } else {
                self.swap(word, word & !WAITERS);
            }
        }
    }
}

struct ForgetsSleepers;
impl Fault for ForgetsSleepers {
    const FORGETS_SLEEPERS: bool = true;
}

struct ClearsBlindly;
impl Fault for ClearsBlindly {
    const CLEARS_BLINDLY: bool = true;
}

struct KeepsTheWake;
impl Fault for KeepsTheWake {
    const KEEPS_THE_WAKE: bool = true;
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_that_forgets_sleepers_is_caught() {
    two_permits::<Twin<ForgetsSleepers>>(Some(3));
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_that_clears_blindly_is_caught() {
    passing_on::<Twin<ClearsBlindly>>(Some(3));
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_that_keeps_the_wake_is_caught() {
    giving_up::<Twin<KeepsTheWake>>(Patience::Interrupted, Some(3));
}
