//! `RawEventCount` in all schedules of two or three threads: no wake-up is lost.

#![cfg(procession_loom)]
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod loom_support;

use std::marker::PhantomData;
use std::sync::Arc;

use loom::thread;
use loom_support::{LoomWaiter, Machine, Patience, check};
use procession_sync::primitive::{AtomicU32, Ordering, fence};
use procession_sync::{RawEventCount, Stop, Waiter};

/// What a model needs of an event count, for the real one and its broken twins alike.
trait EventCount: Send + Sync + 'static {
    fn new() -> Self;
    /// Waits until `ready`.
    fn wait_until(&self, waiter: &mut LoomWaiter, ready: impl Fn() -> bool) -> Result<(), Stop>;
    fn notify(&self, waiter: &LoomWaiter, count: u32);
}

impl EventCount for RawEventCount {
    fn new() -> Self {
        Self::new()
    }

    fn wait_until(&self, waiter: &mut LoomWaiter, ready: impl Fn() -> bool) -> Result<(), Stop> {
        while !ready() {
            let ticket = self.prepare();
            if ready() {
                break;
            }
            self.wait(ticket, waiter, None)?;
        }
        Ok(())
    }

    fn notify(&self, waiter: &LoomWaiter, count: u32) {
        if count == 1 {
            self.notify_one(waiter);
        } else {
            self.notify_all(waiter);
        }
    }
}

/// Items to take: the condition that the event count is for.
struct Items<E> {
    available: AtomicU32,
    ready: E,
}

impl<E: EventCount> Items<E> {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            available: AtomicU32::new(0),
            ready: E::new(),
        })
    }

    fn put(&self, waiter: &LoomWaiter) {
        self.available.fetch_add(1, Ordering::Release);
        self.ready.notify(waiter, 1);
    }

    fn get(&self, waiter: &mut LoomWaiter) -> Result<(), Stop> {
        self.ready.wait_until(waiter, || {
            let mut seen = self.available.load(Ordering::Acquire);
            while seen != 0 {
                match self.available.compare_exchange(
                    seen,
                    seen - 1,
                    Ordering::Acquire,
                    Ordering::Acquire,
                ) {
                    Ok(_) => return true,
                    Err(now) => seen = now,
                }
            }
            false
        })
    }
}

/// `gets` items are taken by as many threads, put one by one by this one.
fn hand_over<E: EventCount>(gets: u16, preemptions: Option<usize>) {
    check(preemptions, move || {
        let machine = Machine::new();
        let items = Items::<E>::new();
        let takers: Vec<_> = (0..gets)
            .map(|process| {
                let (machine, items) = (Arc::clone(&machine), Arc::clone(&items));
                thread::spawn(move || items.get(&mut machine.waiter(process + 1, 1)).unwrap())
            })
            .collect();
        let waiter = machine.waiter(0, 1);
        for _ in 0..gets {
            items.put(&waiter);
        }
        for taker in takers {
            taker.join().unwrap();
        }
    });
}

/// One item goes from a thread to this one and another back.
fn ping_pong<E: EventCount>(rounds: usize, preemptions: Option<usize>) {
    check(preemptions, move || {
        let machine = Machine::new();
        let (there, back) = (Items::<E>::new(), Items::<E>::new());
        let other = {
            let (machine, there, back) =
                (Arc::clone(&machine), Arc::clone(&there), Arc::clone(&back));
            thread::spawn(move || {
                let mut waiter = machine.waiter(1, 1);
                for _ in 0..rounds {
                    there.get(&mut waiter).unwrap();
                    back.put(&waiter);
                }
            })
        };
        let mut waiter = machine.waiter(0, 1);
        for _ in 0..rounds {
            there.put(&waiter);
            back.get(&mut waiter).unwrap();
        }
        other.join().unwrap();
    });
}

#[test]
fn an_item_is_handed_over() {
    hand_over::<RawEventCount>(1, None);
}

#[test]
fn two_items_are_handed_over() {
    hand_over::<RawEventCount>(2, Some(3));
}

#[test]
fn items_go_there_and_back() {
    ping_pong::<RawEventCount>(2, Some(3));
}

#[test]
fn two_notifiers_clear_the_mark_for_nobody() {
    two_notifiers::<RawEventCount>(Some(3));
}

/// Two threads put one item each; this one takes both.
fn two_notifiers<E: EventCount>(preemptions: Option<usize>) {
    check(preemptions, || {
        let machine = Machine::new();
        let items = Items::<E>::new();
        let putters: Vec<_> = (1..3)
            .map(|process| {
                let (machine, items) = (Arc::clone(&machine), Arc::clone(&items));
                thread::spawn(move || items.put(&machine.waiter(process, 1)))
            })
            .collect();
        let mut waiter = machine.waiter(0, 1);
        items.get(&mut waiter).unwrap();
        items.get(&mut waiter).unwrap();
        for putter in putters {
            putter.join().unwrap();
        }
    });
}

/// Of two who wait for one item one gives up, having perhaps been woken for it.
fn giving_up<E: EventCount>(patience: Patience, preemptions: Option<usize>) {
    check(preemptions, move || {
        let machine = Machine::new();
        let items = Items::<E>::new();
        let quitter = {
            let (machine, items) = (Arc::clone(&machine), Arc::clone(&items));
            thread::spawn(move || items.get(&mut machine.waiter(1, 1).with(patience)))
        };
        let taker = {
            let (machine, items) = (Arc::clone(&machine), Arc::clone(&items));
            thread::spawn(move || items.get(&mut machine.waiter(2, 1)).unwrap())
        };
        let waiter = machine.waiter(0, 1);
        items.put(&waiter);
        if quitter.join().unwrap().is_ok() {
            items.put(&waiter);
        }
        taker.join().unwrap();
    });
}

#[test]
fn a_deadline_strands_nobody() {
    giving_up::<RawEventCount>(Patience::Deadline, Some(2));
}

#[test]
fn an_interruption_strands_nobody() {
    // An interrupted waiter leaves only once woken: a second one is needed when the other is
    // served first.
    check(Some(2), || {
        let machine = Machine::new();
        let items = Items::<RawEventCount>::new();
        let takers: Vec<_> = [(1, Patience::Interrupted), (2, Patience::Endless)]
            .into_iter()
            .map(|(process, patience)| {
                let (machine, items) = (Arc::clone(&machine), Arc::clone(&items));
                thread::spawn(move || items.get(&mut machine.waiter(process, 1).with(patience)))
            })
            .collect();
        let waiter = machine.waiter(0, 1);
        items.put(&waiter);
        items.put(&waiter);
        for taker in takers {
            let _ = taker.join().unwrap();
        }
    });
}

#[test]
fn notify_all_wakes_all() {
    check(Some(3), || {
        let machine = Machine::new();
        let shared = Arc::new((RawEventCount::new(), AtomicU32::new(0)));
        let others: Vec<_> = (1..3)
            .map(|process| {
                let (machine, shared) = (Arc::clone(&machine), Arc::clone(&shared));
                thread::spawn(move || {
                    let open = || shared.1.load(Ordering::Acquire) != 0;
                    shared
                        .0
                        .wait_until(&mut machine.waiter(process, 1), open)
                        .unwrap();
                })
            })
            .collect();
        shared.1.store(1, Ordering::Release);
        shared.0.notify_all(&machine.waiter(0, 1));
        for other in others {
            other.join().unwrap();
        }
    });
}

/// What is wrong with a twin.
trait Fault: Send + Sync + 'static {
    const NO_FENCE: bool = false;
    const NO_SECOND_LOOK: bool = false;
    const CLEARS_SILENTLY: bool = false;
}

/// The event count once more, with one fault.
struct Twin<F> {
    word: AtomicU32,
    fault: PhantomData<F>,
}

impl<F: Fault> EventCount for Twin<F> {
    fn new() -> Self {
        Self {
            word: AtomicU32::new(0),
            fault: PhantomData,
        }
    }

    fn wait_until(&self, waiter: &mut LoomWaiter, ready: impl Fn() -> bool) -> Result<(), Stop> {
        while !ready() {
            let ticket = self.word.fetch_or(1, Ordering::Relaxed) | 1;
            fence(Ordering::SeqCst);
            if !F::NO_SECOND_LOOK && ready() {
                break;
            }
            waiter.wait(&self.word, ticket, None)?;
        }
        Ok(())
    }

    fn notify(&self, waiter: &LoomWaiter, count: u32) {
        if !F::NO_FENCE {
            fence(Ordering::SeqCst);
        }
        if self.word.load(Ordering::Relaxed) & 1 == 0 {
            return;
        }
        let word = self.word.fetch_add(2, Ordering::Relaxed).wrapping_add(2);
        if waiter.wake(&self.word, count) != 0 {
            return;
        }
        let cleared =
            self.word
                .compare_exchange(word, word & !1, Ordering::Relaxed, Ordering::Relaxed);
        if cleared.is_ok() && !F::CLEARS_SILENTLY {
            waiter.wake(&self.word, u32::MAX);
        }
    }
}

struct NoFence;
impl Fault for NoFence {
    const NO_FENCE: bool = true;
}

struct NoSecondLook;
impl Fault for NoSecondLook {
    const NO_SECOND_LOOK: bool = true;
}

struct ClearsSilently;
impl Fault for ClearsSilently {
    const CLEARS_SILENTLY: bool = true;
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_without_a_fence_is_caught() {
    hand_over::<Twin<NoFence>>(1, None);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_without_a_second_look_is_caught() {
    hand_over::<Twin<NoSecondLook>>(1, None);
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_that_clears_silently_is_caught() {
    two_notifiers::<Twin<ClearsSilently>>(Some(4));
}
