//! `RawLock` in all schedules of two or three threads.

#![cfg(procession_loom)]
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod loom_support;

use std::sync::Arc;

use loom::cell::UnsafeCell;
use loom::thread;
use loom_support::{LoomWaiter, Machine, Patience, check};
use procession_sync::primitive::{AtomicU32, Ordering};
use procession_sync::{Acquired, OwnerId, RawLock, Stop, Waiter};

/// What a model needs of a lock, for the lock and its broken twins alike.
trait Lock: Send + Sync + Sized + 'static {
    fn new() -> Self;
    fn acquire(&self, waiter: &mut LoomWaiter) -> Result<Acquired, Stop>;
    fn release(&self, waiter: &LoomWaiter);
}

impl Lock for RawLock {
    fn new() -> Self {
        Self::new()
    }

    fn acquire(&self, waiter: &mut LoomWaiter) -> Result<Acquired, Stop> {
        Self::acquire(self, waiter)
    }

    fn release(&self, waiter: &LoomWaiter) {
        Self::release(self, waiter).unwrap();
    }
}

/// Each of `threads` threads acquires, changes something that only the lock guards, and releases.
fn exclusion<L: Lock>(threads: u16, preemptions: Option<usize>) {
    check(preemptions, move || {
        let machine = Machine::new();
        let shared = Arc::new((L::new(), UnsafeCell::new(())));
        let run = move |waiter: &mut LoomWaiter, shared: &(L, UnsafeCell<()>)| {
            assert_eq!(shared.0.acquire(waiter), Ok(Acquired::Clean));
            shared.1.with_mut(|_| ());
            shared.0.release(waiter);
        };
        let others: Vec<_> = (1..threads)
            .map(|process| {
                let (machine, shared) = (Arc::clone(&machine), Arc::clone(&shared));
                thread::spawn(move || run(&mut machine.waiter(process, 1), &shared))
            })
            .collect();
        run(&mut machine.waiter(threads, 1), &shared);
        for other in others {
            other.join().unwrap();
        }
    });
}

/// A process dies with the lock while two wait for it: one of them learns it.
fn death<L: Lock>(preemptions: Option<usize>) {
    check(preemptions, || {
        let machine = Machine::new();
        let shared = Arc::new((L::new(), UnsafeCell::new(())));
        assert_eq!(
            shared.0.acquire(&mut machine.waiter(0, 1)),
            Ok(Acquired::Clean)
        );
        shared.1.with_mut(|_| ());

        let others: Vec<_> = (1..3)
            .map(|process| {
                let (machine, shared) = (Arc::clone(&machine), Arc::clone(&shared));
                thread::spawn(move || {
                    let mut waiter = machine.waiter(process, 1);
                    let acquired = shared.0.acquire(&mut waiter).unwrap();
                    shared.1.with_mut(|_| ());
                    shared.0.release(&waiter);
                    acquired
                })
            })
            .collect();
        machine.die(0);
        let mut outcomes: Vec<_> = others
            .into_iter()
            .map(|other| other.join().unwrap())
            .collect();
        outcomes.sort_by_key(|acquired| *acquired == Acquired::Clean);
        assert_eq!(outcomes, [Acquired::OwnerDied, Acquired::Clean]);
    });
}

/// One of two who wait gives up; the other must get the lock all the same.
fn giving_up<L: Lock>(patience: Patience, preemptions: Option<usize>) {
    check(preemptions, move || {
        let machine = Machine::new();
        let lock = Arc::new(L::new());
        let holder = &mut machine.waiter(0, 1);
        assert_eq!(lock.acquire(holder), Ok(Acquired::Clean));
        let others: Vec<_> = [(1, patience), (2, Patience::Endless)]
            .into_iter()
            .map(|(process, patience)| {
                let (machine, lock) = (Arc::clone(&machine), Arc::clone(&lock));
                thread::spawn(move || {
                    let mut waiter = machine.waiter(process, 1).with(patience);
                    let acquired = lock.acquire(&mut waiter);
                    if acquired.is_ok() {
                        lock.release(&waiter);
                    }
                    assert!(acquired.is_ok() || patience != Patience::Endless);
                })
            })
            .collect();
        lock.release(holder);
        for other in others {
            other.join().unwrap();
        }
    });
}

#[test]
fn two_threads_exclude_each_other() {
    exclusion::<RawLock>(2, None);
}

#[test]
fn three_threads_exclude_each_other() {
    exclusion::<RawLock>(3, Some(3));
}

#[test]
fn a_death_is_told_once() {
    death::<RawLock>(Some(3));
}

#[test]
fn a_deadline_strands_nobody() {
    giving_up::<RawLock>(Patience::Deadline, Some(3));
}

#[test]
fn an_interruption_strands_nobody() {
    giving_up::<RawLock>(Patience::Interrupted, Some(3));
}

#[test]
fn try_acquire_takes_a_free_or_dead_lock_only() {
    check(None, || {
        let machine = Machine::new();
        let lock = Arc::new(RawLock::new());
        let other = {
            let (machine, lock) = (Arc::clone(&machine), Arc::clone(&lock));
            thread::spawn(move || {
                let taken = lock.try_acquire(&machine.waiter(1, 1));
                if taken.is_some() {
                    machine.die(1);
                }
                taken
            })
        };
        let mine = lock.try_acquire(&machine.waiter(2, 1));
        let theirs = other.join().unwrap();
        let both = (mine, theirs);
        assert!(matches!(
            both,
            (Some(Acquired::Clean), None)
                | (None | Some(Acquired::OwnerDied), Some(Acquired::Clean))
        ));
    });
}

/// What is wrong with a twin.
trait Fault: Send + Sync + 'static {
    const RELEASE: Ordering = Ordering::Release;
    const FORGETS_SLEEPERS: bool = false;
    const TAKES_OVER_BY_STORE: bool = false;
    const KEEPS_THE_WAKE: bool = false;
}

/// The lock once more, with one fault.
struct Twin<F> {
    word: AtomicU32,
    fault: std::marker::PhantomData<F>,
}

const WAITERS: u32 = 1 << 31;

impl<F: Fault> Twin<F> {
    fn swap(&self, from: u32, to: u32) -> bool {
        self.word
            .compare_exchange(from, to, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }
}

impl<F: Fault> Lock for Twin<F> {
    fn new() -> Self {
        Self {
            word: AtomicU32::new(0),
            fault: std::marker::PhantomData,
        }
    }

    fn acquire(&self, waiter: &mut LoomWaiter) -> Result<Acquired, Stop> {
        let mut mine = waiter.owner().to_bits();
        loop {
            let word = self.word.load(Ordering::Relaxed);
            let owner = OwnerId::from_bits(word & OwnerId::MASK);
            match owner {
                None => {
                    if self.swap(word, mine | word & WAITERS) {
                        return Ok(Acquired::Clean);
                    }
                }
                Some(owner) if !waiter.is_alive(owner) => {
                    let to = mine | word & WAITERS;
                    if F::TAKES_OVER_BY_STORE {
                        self.word.store(to, Ordering::Relaxed);
                        return Ok(Acquired::OwnerDied);
                    }
                    if self.swap(word, to) {
                        return Ok(Acquired::OwnerDied);
                    }
                }
                Some(_) => {
                    if word & WAITERS == 0 && !self.swap(word, word | WAITERS) {
                        continue;
                    }
                    let slept = waiter.wait(&self.word, word | WAITERS, owner);
                    if !F::FORGETS_SLEEPERS {
                        mine |= WAITERS;
                    }
                    if let Err(stop) = slept {
                        if !F::KEEPS_THE_WAKE {
                            waiter.wake(&self.word, 1);
                        }
                        return Err(stop);
                    }
                }
            }
        }
    }

    fn release(&self, waiter: &LoomWaiter) {
        if self.word.swap(0, F::RELEASE) & WAITERS != 0 {
            waiter.wake(&self.word, 1);
        }
    }
}

struct ReleasesRelaxed;
impl Fault for ReleasesRelaxed {
    const RELEASE: Ordering = Ordering::Relaxed;
}

struct ForgetsSleepers;
impl Fault for ForgetsSleepers {
    const FORGETS_SLEEPERS: bool = true;
}

struct TakesOverByStore;
impl Fault for TakesOverByStore {
    const TAKES_OVER_BY_STORE: bool = true;
}

struct KeepsTheWake;
impl Fault for KeepsTheWake {
    const KEEPS_THE_WAKE: bool = true;
}

#[test]
#[should_panic(expected = "Causality violation")]
fn twin_that_releases_relaxed_is_caught() {
    exclusion::<Twin<ReleasesRelaxed>>(2, None);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_that_forgets_sleepers_is_caught() {
    exclusion::<Twin<ForgetsSleepers>>(3, Some(3));
}

#[test]
#[should_panic]
fn twin_that_takes_over_by_store_is_caught() {
    death::<Twin<TakesOverByStore>>(Some(3));
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_that_keeps_the_wake_is_caught() {
    giving_up::<Twin<KeepsTheWake>>(Patience::Interrupted, Some(3));
}
