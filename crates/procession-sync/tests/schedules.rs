//! Many threads, random schedules: what loom cannot reach for size.

#![cfg(not(procession_loom))]
#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod support;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use procession_sync::{
    Acquired, RawBarrier, RawEventCount, RawLock, RawReentrantLock, RawSemaphore, Waiter,
};
use support::{Machine, watched};

/// How often each thread goes through its loop.
const ITERATIONS: u32 = if cfg!(miri) { 50 } else { 3_000 };
const THREADS: u16 = 6;
/// How many runs are measured.
const BATCHES: u32 = 300;

/// A small generator of random numbers: Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn run(work: impl Fn(u16, &mut Random) + Send + Sync + 'static) {
    watched(move || {
        let work = Arc::new(work);
        let threads: Vec<_> = (1..=THREADS)
            .map(|number| {
                let work = Arc::clone(&work);
                thread::spawn(move || work(number, &mut Random(u64::from(number) * 0x9e37_79b9)))
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

#[test]
fn locks_exclude_with_deadlines_and_deaths() {
    let machine = Machine::without_looking();
    let lock = Arc::new(RawLock::new());
    let (after, observer) = (Arc::clone(&lock), machine.waiter(THREADS + 1, 1));
    let inside = AtomicU32::new(0);
    let (deaths, told) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let totals = (Arc::clone(&deaths), Arc::clone(&told));
    run(move |number, random| {
        for round in 0..ITERATIONS {
            let mut waiter = machine.waiter(number, 1).spinning(random.below(20) as u32);
            if random.below(4) == 0 {
                waiter = waiter.within(Duration::from_micros(random.below(200)));
            }
            let Ok(acquired) = lock.acquire(&mut waiter) else {
                continue;
            };
            told.fetch_add(
                u32::from(acquired == Acquired::OwnerDied),
                Ordering::Relaxed,
            );
            assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0);
            if random.below(8) == 0 {
                thread::yield_now();
            }
            inside.fetch_sub(1, Ordering::Relaxed);
            if number == THREADS && round == ITERATIONS / 2 {
                deaths.fetch_add(1, Ordering::Relaxed);
                machine.die(number);
                return;
            }
            lock.release(&waiter).unwrap();
        }
    });
    let untold = after.try_acquire(&observer) == Some(Acquired::OwnerDied);
    let told = totals.1.load(Ordering::Relaxed) + u32::from(untold);
    assert_eq!(told, totals.0.load(Ordering::Relaxed));
}

#[test]
fn reentrant_locks_exclude_threads_of_one_process() {
    let machine = Machine::without_looking();
    let lock = RawReentrantLock::new();
    let inside = AtomicU32::new(0);
    run(move |number, random| {
        let mut waiter = machine.waiter(1, u32::from(number));
        for _ in 0..ITERATIONS {
            let depth = 1 + random.below(3);
            for _ in 0..depth {
                let _ = lock.acquire(&mut waiter).unwrap();
            }
            assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0);
            inside.fetch_sub(1, Ordering::Relaxed);
            for _ in 0..depth {
                lock.release(&waiter).unwrap();
            }
        }
    });
}

#[test]
fn semaphores_lose_no_permit() {
    const PERMITS: u32 = 3;
    let machine = Machine::without_looking();
    let semaphore = Arc::new(RawSemaphore::new(PERMITS, PERMITS));
    let after = Arc::clone(&semaphore);
    let inside = AtomicU32::new(0);
    run(move |number, random| {
        for _ in 0..ITERATIONS {
            let mut waiter = machine.waiter(number, 1).spinning(random.below(20) as u32);
            if random.below(4) == 0 {
                waiter = waiter.within(Duration::from_micros(random.below(200)));
            }
            if semaphore.acquire(&mut waiter).is_err() {
                continue;
            }
            assert!(inside.fetch_add(1, Ordering::Relaxed) < PERMITS);
            thread::yield_now();
            inside.fetch_sub(1, Ordering::Relaxed);
            semaphore.release(&waiter).unwrap();
        }
    });
    assert_eq!(after.value(), PERMITS);
}

#[test]
fn event_counts_hand_everything_over() {
    let machine = Machine::without_looking();
    let items = AtomicU64::new(0);
    let ready = RawEventCount::new();
    run(move |number, random| {
        let mut waiter = machine.waiter(number, 1);
        for _ in 0..ITERATIONS {
            if number % 2 == 0 {
                items.fetch_add(1, Ordering::Release);
                ready.notify_one(&waiter);
                if random.below(3) == 0 {
                    thread::yield_now();
                }
                continue;
            }
            let take = || {
                items
                    .fetch_update(Ordering::Acquire, Ordering::Relaxed, |items| {
                        items.checked_sub(1)
                    })
                    .is_ok()
            };
            while !take() {
                let ticket = ready.prepare();
                if take() {
                    break;
                }
                ready.wait(ticket, &mut waiter, None).unwrap();
            }
        }
    });
}

#[test]
fn barriers_keep_rounds_apart() {
    let machine = Machine::without_looking();
    let parties = u32::from(THREADS);
    let barrier = RawBarrier::new(parties);
    let table: Vec<_> = (0..THREADS).map(|_| AtomicU32::new(0)).collect();
    let (arrived, acted) = (AtomicU32::new(0), AtomicU32::new(0));
    run(move |number, _| {
        let mut waiter = machine.waiter(number, 1);
        for round in 0..ITERATIONS / 10 {
            arrived.fetch_add(1, Ordering::Relaxed);
            let action = || -> Result<(), Infallible> {
                assert_eq!(arrived.load(Ordering::Relaxed), parties * (round + 1));
                acted.fetch_add(1, Ordering::Relaxed);
                Ok(())
            };
            let index = barrier.wait(&mut waiter, &table, Some(action)).unwrap();
            assert!(index < parties);
            assert_eq!(acted.load(Ordering::Relaxed), round + 1);
            let plain = None::<fn() -> Result<(), Infallible>>;
            barrier.wait(&mut waiter, &table, plain).unwrap();
        }
    });
}

/// What an uncontended pair costs; printed, not asserted.
#[test]
fn an_uncontended_pair_is_measured() {
    struct Bare;
    impl Waiter for Bare {
        fn owner(&self) -> procession_sync::OwnerId {
            static OWNER: AtomicU32 = AtomicU32::new(7);
            procession_sync::OwnerId::from_bits(OWNER.load(Ordering::Relaxed)).unwrap()
        }
        fn thread(&self) -> u32 {
            1
        }
        fn is_alive(&self, _: procession_sync::OwnerId) -> bool {
            true
        }
        fn spin(&mut self) -> bool {
            false
        }
        fn wait(
            &mut self,
            _: &AtomicU32,
            _: u32,
            _: Option<procession_sync::OwnerId>,
        ) -> Result<(), procession_sync::Stop> {
            Err(procession_sync::Stop::TimedOut)
        }
        fn wake(&self, _: &AtomicU32, _: u32) -> u32 {
            0
        }
    }

    // The best of many short runs is the one that nothing else disturbed.
    let measure = |name: &str, pair: &mut dyn FnMut(u32)| {
        let run = |_| {
            let start = Instant::now();
            pair(ITERATIONS);
            start.elapsed()
        };
        let best = (0..BATCHES).map(run).min().unwrap_or_default();
        let each = best.as_secs_f64() * 1e9 / f64::from(ITERATIONS);
        println!("{name}: {each:.1} ns");
    };
    let (lock, reentrant, semaphore) = (
        RawLock::new(),
        RawReentrantLock::new(),
        RawSemaphore::new(1, 1),
    );
    measure("lock", &mut |rounds| {
        for _ in 0..rounds {
            let _ = lock.acquire(&mut Bare).unwrap();
            lock.release(&Bare).unwrap();
        }
    });
    measure("reentrant lock", &mut |rounds| {
        for _ in 0..rounds {
            let _ = reentrant.acquire(&mut Bare).unwrap();
            reentrant.release(&Bare).unwrap();
        }
    });
    measure("semaphore", &mut |rounds| {
        for _ in 0..rounds {
            semaphore.acquire(&mut Bare).unwrap();
            semaphore.release(&Bare).unwrap();
        }
    });
    let count = RawEventCount::new();
    measure("notify nobody", &mut |rounds| {
        for _ in 0..rounds {
            count.notify_one(&Bare);
        }
    });
}
