//! Each type's contract, with threads for processes.

#![cfg(not(procession_loom))]
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use procession_sync::{
    Acquired, BarrierError, INLINE_ENTRIES, Monitor, NoOverflow, NotAcquired, NotOwner, OwnerId,
    RawBarrier, RawCondition, RawEvent, RawEventCount, RawLock, RawReentrantLock, RawSemaphore,
    Stop, TableFull, TooManyReleases, Waiter,
};
use proptest::prelude::*;
use support::{Machine, ThreadWaiter, watched};

const SHORT: Duration = Duration::from_millis(20);

proptest! {
    #[test]
    fn an_owner_survives_its_bits(
        slot in 0..OwnerId::SLOTS,
        generation in 0..OwnerId::GENERATIONS,
    ) {
        match OwnerId::new(slot, generation) {
            None => prop_assert_eq!((slot, generation), (0, 0)),
            Some(owner) => {
                prop_assert_eq!(owner.slot(), slot);
                prop_assert_eq!(owner.generation(), generation);
                prop_assert_eq!(owner.to_bits() & !OwnerId::MASK, 0);
                prop_assert_eq!(OwnerId::from_bits(owner.to_bits()), Some(owner));
            }
        }
    }

    #[test]
    fn a_semaphore_counts(maximum in 1..5_u32, steps in prop::collection::vec(any::<bool>(), 0..50)) {
        let machine = Machine::without_looking();
        let waiter = machine.waiter(1, 1);
        let semaphore = RawSemaphore::new(maximum, maximum);
        let mut model = maximum;
        for release in steps {
            if release {
                let expected = if model == maximum { Err(TooManyReleases) } else { Ok(()) };
                prop_assert_eq!(semaphore.release(&waiter), expected);
                model = maximum.min(model + 1);
            } else {
                prop_assert_eq!(semaphore.try_acquire(), model != 0);
                model = model.saturating_sub(1);
            }
            prop_assert_eq!(semaphore.value(), model);
        }
    }
}

#[test]
fn an_owner_out_of_range_is_none() {
    assert_eq!(OwnerId::new(OwnerId::SLOTS, 1), None);
    assert_eq!(OwnerId::new(1, OwnerId::GENERATIONS), None);
    assert_eq!(OwnerId::from_bits(0), None);
    assert_eq!(OwnerId::from_bits(1 << 31 | 1), None);
}

#[test]
fn a_lock_is_released_by_anyone_but_once() {
    let machine = Machine::without_looking();
    let lock = RawLock::new();
    let (mut a, b) = (machine.waiter(1, 1), machine.waiter(2, 1));
    assert_eq!(lock.acquire(&mut a), Ok(Acquired::Clean));
    assert_eq!(lock.owner(), Some(a.owner()));
    assert_eq!(lock.try_acquire(&b), None);
    assert_eq!(lock.release(&b), Ok(()));
    assert_eq!(lock.release(&b), Err(NotAcquired));
    assert!(!lock.is_locked());
}

#[test]
fn a_lock_times_out_and_is_taken_from_the_dead() {
    let machine = Machine::without_looking();
    let lock = RawLock::new();
    let _ = lock.acquire(&mut machine.waiter(1, 1)).unwrap();
    let mut b = machine.waiter(2, 1).within(SHORT);
    assert_eq!(lock.acquire(&mut b), Err(Stop::TimedOut));
    machine.die(1);
    assert_eq!(lock.try_acquire(&b), Some(Acquired::OwnerDied));
    lock.release(&b).unwrap();
    assert_eq!(lock.try_acquire(&b), Some(Acquired::Clean));
}

#[test]
fn a_release_after_the_death_leaves_nothing_to_tell() {
    let machine = Machine::without_looking();
    let lock = RawLock::new();
    let _ = lock.acquire(&mut machine.waiter(1, 1)).unwrap();
    machine.die(1);
    let mut b = machine.waiter(2, 1);
    lock.release(&b).unwrap();
    assert_eq!(lock.acquire(&mut b), Ok(Acquired::Clean));
}

#[test]
fn a_death_wakes_all_who_wait_and_is_told_once() {
    watched(|| {
        let machine = Machine::without_looking();
        let lock = Arc::new(RawLock::new());
        let _ = lock.acquire(&mut machine.waiter(1, 1)).unwrap();
        let others: Vec<_> = (2..6)
            .map(|process| {
                let (machine, lock) = (Arc::clone(&machine), Arc::clone(&lock));
                thread::spawn(move || {
                    let mut waiter = machine.waiter(process, 1);
                    let acquired = lock.acquire(&mut waiter).unwrap();
                    lock.release(&waiter).unwrap();
                    acquired
                })
            })
            .collect();
        machine.await_sleepers(4);
        machine.die(1);
        let told = others
            .into_iter()
            .map(|other| other.join().unwrap())
            .filter(|acquired| *acquired == Acquired::OwnerDied)
            .count();
        assert_eq!(told, 1);
    });
}

#[test]
fn a_reentrant_lock_is_one_threads() {
    let machine = Machine::without_looking();
    let lock = RawReentrantLock::new();
    let (mut a, other_thread, b) = (
        machine.waiter(1, 1),
        machine.waiter(1, 2),
        machine.waiter(2, 1),
    );
    assert_eq!(lock.release(&a), Err(NotOwner));
    assert_eq!(lock.acquire(&mut a), Ok(Acquired::Clean));
    assert_eq!(lock.try_acquire(&a), Some(Acquired::Clean));
    assert_eq!((lock.count(), lock.owner()), (2, Some(a.owner())));
    for stranger in [&other_thread, &b] {
        assert_eq!(lock.try_acquire(stranger), None);
        assert_eq!(lock.release(stranger), Err(NotOwner));
    }
    assert_eq!(lock.release_all(&a), Ok(2));
    assert!(!lock.is_locked() && !lock.is_mine(&a));
    let _ = lock.reacquire(2, &mut a);
    lock.release(&a).unwrap();
    assert!(lock.is_mine(&a));
    machine.die(1);
    assert_eq!(lock.try_acquire(&b), Some(Acquired::OwnerDied));
    assert_eq!(lock.count(), 1);
    lock.release(&b).unwrap();
}

#[test]
fn a_semaphore_times_out_and_wakes() {
    watched(|| {
        let machine = Machine::without_looking();
        let semaphore = Arc::new(RawSemaphore::default());
        let mut waiter = machine.waiter(1, 1).within(SHORT);
        assert_eq!(semaphore.acquire(&mut waiter), Err(Stop::TimedOut));
        let other = {
            let (machine, semaphore) = (Arc::clone(&machine), Arc::clone(&semaphore));
            thread::spawn(move || semaphore.acquire(&mut machine.waiter(2, 1)))
        };
        machine.await_sleepers(1);
        semaphore.release(&waiter).unwrap();
        assert_eq!(other.join().unwrap(), Ok(()));
        assert_eq!(semaphore.value(), 0);
    });
}

#[test]
fn an_event_releases_who_waited_though_it_is_cleared() {
    watched(|| {
        let machine = Machine::without_looking();
        let event = Arc::new(RawEvent::new());
        let mut waiter = machine.waiter(1, 1).within(SHORT);
        assert_eq!(event.wait(&mut waiter), Err(Stop::TimedOut));
        let other = {
            let (machine, event) = (Arc::clone(&machine), Arc::clone(&event));
            thread::spawn(move || event.wait(&mut machine.waiter(2, 1)))
        };
        machine.await_sleepers(1);
        event.set(&waiter);
        event.clear();
        assert_eq!(other.join().unwrap(), Ok(()));
        assert!(!event.is_set());
        event.set(&waiter);
        assert_eq!(event.wait(&mut waiter), Ok(()));
    });
}

#[test]
fn an_event_count_wakes_one_or_all() {
    watched(|| {
        let machine = Machine::without_looking();
        let count = Arc::new(RawEventCount::new());
        let others: Vec<_> = (2..5)
            .map(|process| {
                let (machine, count) = (Arc::clone(&machine), Arc::clone(&count));
                thread::spawn(move || {
                    let ticket = count.prepare();
                    count.wait(ticket, &mut machine.waiter(process, 1), None)
                })
            })
            .collect();
        machine.await_sleepers(3);
        let waiter = machine.waiter(1, 1);
        count.notify_one(&waiter);
        assert_eq!(machine.asleep(), 2);
        count.notify_all(&waiter);
        for other in others {
            assert_eq!(other.join().unwrap(), Ok(()));
        }
    });
}

struct Held {
    lock: Arc<RawLock>,
    waiter: ThreadWaiter,
}

impl Monitor for Held {
    fn unlock(&mut self) {
        self.lock.release(&self.waiter).unwrap();
    }

    fn relock(&mut self) -> Acquired {
        self.lock.acquire_regardless(&mut self.waiter)
    }
}

#[test]
fn a_condition_notifies_the_oldest_living_first() {
    watched(|| {
        let machine = Machine::without_looking();
        let (lock, condition) = (Arc::new(RawLock::new()), Arc::new(RawCondition::new()));
        let order = Arc::new(AtomicU32::new(0));
        let mut others = Vec::new();
        for process in 1..4_u16 {
            let (machine, lock) = (Arc::clone(&machine), Arc::clone(&lock));
            let (condition, order) = (Arc::clone(&condition), Arc::clone(&order));
            let watched_machine = Arc::clone(&machine);
            others.push(thread::spawn(move || {
                let mut waiter = machine.waiter(process, 1);
                let _ = lock.acquire_regardless(&mut waiter);
                let mut held = Held {
                    lock: Arc::clone(&lock),
                    waiter: machine.waiter(process, 1),
                };
                let waited = condition.wait(&mut waiter, &mut held, &NoOverflow).unwrap();
                let place = order.fetch_add(1, Ordering::Relaxed);
                lock.release(&waiter).unwrap();
                (waited.outcome, place)
            }));
            watched_machine.await_sleepers(usize::from(process));
        }
        machine.die(1);
        let mut waiter = machine.waiter(9, 1);
        for passed in 1..3 {
            let _ = lock.acquire_regardless(&mut waiter);
            assert_eq!(condition.notify(1, &waiter, &NoOverflow), 1);
            lock.release(&waiter).unwrap();
            while order.load(Ordering::Relaxed) < passed {
                thread::yield_now();
            }
        }
        assert_eq!(condition.waiting(&NoOverflow), 0);
        let outcomes: Vec<_> = others
            .into_iter()
            .skip(1)
            .map(|o| o.join().unwrap())
            .collect();
        assert_eq!(outcomes[0].0, Ok(()));
        assert_eq!(outcomes[1].0, Ok(()));
        assert!(outcomes[0].1 < outcomes[1].1);
    });
}

#[test]
fn a_full_condition_says_so_with_the_lock_held() {
    watched(|| {
        let machine = Machine::without_looking();
        let (lock, condition) = (Arc::new(RawLock::new()), Arc::new(RawCondition::new()));
        let wait = {
            let (machine, lock, condition) = (
                Arc::clone(&machine),
                Arc::clone(&lock),
                Arc::clone(&condition),
            );
            move |process| {
                let mut waiter = machine.waiter(process, 1);
                let _ = lock.acquire_regardless(&mut waiter);
                let mut held = Held {
                    lock: Arc::clone(&lock),
                    waiter: machine.waiter(process, 1),
                };
                let waited = condition.wait(&mut waiter, &mut held, &NoOverflow);
                assert_eq!(lock.owner(), Some(waiter.owner()));
                lock.release(&waiter).unwrap();
                waited.map(|waited| waited.outcome)
            }
        };
        let others: Vec<_> = (1..=INLINE_ENTRIES as u16)
            .map(|process| {
                let wait = wait.clone();
                thread::spawn(move || wait(process))
            })
            .collect();
        machine.await_sleepers(INLINE_ENTRIES);
        assert_eq!(wait(20), Err(TableFull));
        let mut waiter = machine.waiter(21, 1);
        let _ = lock.acquire_regardless(&mut waiter);
        assert_eq!(condition.notify(u32::MAX, &waiter, &NoOverflow), 8);
        lock.release(&waiter).unwrap();
        for other in others {
            assert_eq!(other.join().unwrap(), Ok(Ok(())));
        }
    });
}

type NoAction = fn() -> Result<(), Infallible>;

#[test]
fn a_barrier_breaks_when_its_action_fails_or_unwinds() {
    let machine = Machine::without_looking();
    let barrier = RawBarrier::new(1);
    let table = [AtomicU32::new(0)];
    let mut waiter = machine.waiter(1, 1);
    assert_eq!(barrier.wait(&mut waiter, &table, None::<NoAction>), Ok(0));
    let failed = barrier.wait(&mut waiter, &table, Some(|| Err("no")));
    assert_eq!(failed, Err(BarrierError::Action("no")));
    assert!(barrier.is_broken());
    barrier.reset(&mut waiter, &table);

    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let action = || -> Result<(), Infallible> { std::panic::resume_unwind(Box::new(())) };
        barrier.wait(&mut waiter, &table, Some(action))
    }));
    assert!(unwound.is_err() && barrier.is_broken());
    barrier.reset(&mut waiter, &table);
    assert_eq!(barrier.wait(&mut waiter, &table, None::<NoAction>), Ok(0));
}

#[test]
fn a_barrier_breaks_when_one_who_waits_dies() {
    watched(|| {
        let machine = Machine::new();
        let shared = Arc::new((RawBarrier::new(3), [const { AtomicU32::new(0) }; 3]));
        let others = [1, 2].map(|process| {
            let (machine, shared) = (Arc::clone(&machine), Arc::clone(&shared));
            thread::spawn(move || {
                let mut waiter = machine.waiter(process, 1);
                shared.0.wait(&mut waiter, &shared.1, None::<NoAction>)
            })
        });
        machine.await_sleepers(2);
        assert_eq!(shared.0.n_waiting(&shared.1), 2);
        machine.die(1);
        let [_, survivor] = others;
        assert_eq!(survivor.join().unwrap(), Err(BarrierError::Broken));
        assert!(shared.0.is_broken());
    });
}

#[test]
fn a_barrier_of_the_dead_is_reset() {
    watched(|| {
        let machine = Machine::without_looking();
        let barrier = RawBarrier::new(1);
        let table = [AtomicU32::new(0)];
        let victim = OwnerId::new(1, 1).unwrap();
        // What a participant leaves that is killed between its entry and the release.
        table[0].store(victim.to_bits(), Ordering::Relaxed);
        machine.die(1);
        let mut waiter = machine.waiter(2, 1);
        assert_eq!(
            barrier.wait(&mut waiter, &table, None::<NoAction>),
            Err(BarrierError::Broken)
        );
        barrier.reset(&mut waiter, &table);
        assert_eq!(barrier.wait(&mut waiter, &table, None::<NoAction>), Ok(0));
    });
}
