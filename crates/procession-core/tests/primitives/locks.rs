//! `Lock`, `RLock`, `Semaphore`.

use crate::board::{board, briefly, kill, let_them_wait, settled, travel};
use crate::common::{child, join, reach};
use crate::{Test, cell};
use procession_core::primitives::{AnyLock, Lock, NotAcquired, NotOwner, RLock, Semaphore};
use procession_core::shm::Wait;
use procession_core::{Acquired, ErrorKind};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const WAITERS: u32 = 8;
const PROCESSES: u32 = 4;
const ROUNDS: u32 = 5000;

pub(crate) const TESTS: &[Test] = &[
    ("killed_holder_of_a_lock_is_reported_once", || {
        holder_is_killed(&Lock::new().unwrap().into());
    }),
    ("killed_holder_of_an_rlock_is_reported_once", || {
        holder_is_killed(&RLock::new().unwrap().into());
    }),
    ("killed_waiters_of_a_lock_strand_nobody", || {
        waiters_are_killed(&Lock::new().unwrap().into());
    }),
    ("killed_waiters_of_an_rlock_strand_nobody", || {
        waiters_are_killed(&RLock::new().unwrap().into());
    }),
    ("lock_is_released_by_another", lock_is_released_by_another),
    (
        "rlock_is_released_by_its_holder_alone",
        rlock_is_its_holders,
    ),
    ("locks_time_out_and_are_interrupted", locks_give_up),
    ("locks_exclude_one_another", || {
        exclude(&Lock::new().unwrap().into());
        exclude(&RLock::new().unwrap().into());
    }),
    (
        "killed_waiters_of_a_semaphore_strand_nobody",
        killed_waiters_of_a_semaphore,
    ),
    ("semaphore_lets_so_many_in", semaphore_lets_so_many_in),
    ("bounded_semaphore_refuses", bounded_semaphore_refuses),
    ("locks_and_semaphores_travel", they_travel),
];

fn holder_is_killed(lock: &AnyLock) {
    let board = board();
    let holder = child(|| {
        assert_eq!(lock.acquire(&mut Wait::forever()).unwrap(), Acquired::Clean);
        if matches!(lock, AnyLock::RLock(_)) {
            assert_eq!(lock.acquire(&mut Wait::forever()).unwrap(), Acquired::Clean);
        }
        board.ready.fetch_add(1, Ordering::Release);
        sleep();
    });
    reach(&board.ready, 1);

    let waiters: Vec<_> = (0..WAITERS)
        .map(|_| {
            child(|| {
                board.ready.fetch_add(1, Ordering::Release);
                let counter = match lock.acquire(&mut Wait::forever()).unwrap() {
                    Acquired::Clean => &board.clean,
                    Acquired::OwnerDied => &board.died,
                };
                counter.fetch_add(1, Ordering::Relaxed);
                lock.release().unwrap();
            })
        })
        .collect();
    reach(&board.ready, 1 + WAITERS);
    let_them_wait();
    assert!(lock.try_acquire().unwrap().is_none());

    kill(&holder);
    waiters.iter().for_each(join);
    assert_eq!(board.died.load(Ordering::Relaxed), 1);
    assert_eq!(board.clean.load(Ordering::Relaxed), WAITERS - 1);
    assert_eq!(lock.try_acquire().unwrap(), Some(Acquired::Clean));
    lock.release().unwrap();
}

/// Sleeps until the process is killed.
fn sleep() -> ! {
    loop {
        std::thread::park();
    }
}

fn waiters_are_killed(lock: &AnyLock) {
    let board = board();
    assert_eq!(lock.acquire(&mut Wait::forever()).unwrap(), Acquired::Clean);
    let waiter = || {
        child(|| {
            board.ready.fetch_add(1, Ordering::Release);
            assert_eq!(lock.acquire(&mut Wait::forever()).unwrap(), Acquired::Clean);
            lock.release().unwrap();
        })
    };
    let (victims, survivors): (Vec<_>, Vec<_>) =
        (0..WAITERS / 2).map(|_| (waiter(), waiter())).unzip();
    reach(&board.ready, WAITERS);
    let_them_wait();

    // One dies after the release too, perhaps with the wake.
    victims[1..].iter().for_each(kill);
    lock.release().unwrap();
    kill(&victims[0]);
    survivors.iter().for_each(join);
}

fn lock_is_released_by_another() {
    let lock = Lock::new().unwrap();
    let board = board();
    assert_eq!(lock.release(), Err(NotAcquired));
    let holder = child(|| {
        assert_eq!(lock.acquire(&mut Wait::forever()).unwrap(), Acquired::Clean);
        board.ready.store(1, Ordering::Release);
        sleep();
    });
    reach(&board.ready, 1);

    let other = child(|| lock.release().unwrap());
    join(&other);
    kill(&holder);
    assert_eq!(lock.acquire(&mut Wait::forever()).unwrap(), Acquired::Clean);

    // After the holder's death as well, and then nobody is told.
    lock.release().unwrap();
    let holder = child(|| assert_eq!(lock.try_acquire().unwrap(), Some(Acquired::Clean)));
    join(&holder);
    assert!(lock.is_locked());
    lock.release().unwrap();
    assert_eq!(lock.try_acquire().unwrap(), Some(Acquired::Clean));
}

fn rlock_is_its_holders() {
    let lock = RLock::new().unwrap();
    assert_eq!(lock.release(), Err(NotOwner));
    for depth in 1..=3 {
        assert_eq!(lock.acquire(&mut Wait::never()).unwrap(), Acquired::Clean);
        assert_eq!(lock.count(), depth);
    }

    let other = child(|| {
        assert!(!lock.is_mine());
        assert_eq!(lock.release(), Err(NotOwner));
        assert!(lock.try_acquire().unwrap().is_none());
    });
    join(&other);
    std::thread::scope(|scope| {
        scope.spawn(|| assert_eq!(lock.release(), Err(NotOwner)));
    });
    for depth in (0..3).rev() {
        assert!(lock.is_mine());
        lock.release().unwrap();
        assert_eq!(lock.count(), depth);
    }
}

/// Tries in vain to acquire something.
type Attempt<'a> = Box<dyn Fn(&mut Wait<'_>) -> ErrorKind + 'a>;

fn locks_give_up() {
    let (lock, rlock) = (
        AnyLock::from(Lock::new().unwrap()),
        AnyLock::from(RLock::new().unwrap()),
    );
    let semaphore = Semaphore::new(0).unwrap();
    let held = [&lock, &rlock];
    held.iter()
        .for_each(|lock| assert_eq!(lock.try_acquire().unwrap(), Some(Acquired::Clean)));

    let other = child(|| {
        let attempts: [Attempt<'_>; 3] = [
            Box::new(|wait| lock.acquire(wait).unwrap_err().kind()),
            Box::new(|wait| rlock.acquire(wait).unwrap_err().kind()),
            Box::new(|wait| semaphore.acquire(wait).unwrap_err().kind()),
        ];
        for attempt in attempts {
            let start = Instant::now();
            assert_eq!(attempt(&mut briefly()), ErrorKind::TimedOut);
            assert!(start.elapsed() >= Duration::from_millis(30));
            assert_eq!(attempt(&mut Wait::never()), ErrorKind::TimedOut);
            let mut stop = || false;
            assert_eq!(
                attempt(&mut Wait::forever().with_interrupt(&mut stop)),
                ErrorKind::Interrupted
            );
        }
    });
    join(&other);
    held.iter().for_each(|lock| lock.release().unwrap());
}

fn exclude(lock: &AnyLock) {
    let number = cell::number();
    let children: Vec<_> = (0..PROCESSES)
        .map(|_| {
            child(|| {
                for round in 0..ROUNDS {
                    assert_eq!(lock.acquire(&mut Wait::forever()).unwrap(), Acquired::Clean);
                    let seen = cell::get(&number);
                    if round % 64 == 0 {
                        std::thread::yield_now();
                    }
                    cell::set(&number, seen + 1);
                    lock.release().unwrap();
                }
            })
        })
        .collect();
    children.iter().for_each(join);
    assert_eq!(cell::get(&number), u64::from(PROCESSES * ROUNDS));
}

fn killed_waiters_of_a_semaphore() {
    let semaphore = Semaphore::new(0).unwrap();
    let board = board();
    let waiter = || {
        child(|| {
            board.ready.fetch_add(1, Ordering::Release);
            semaphore.acquire(&mut Wait::forever()).unwrap();
        })
    };
    let (victims, survivors): (Vec<_>, Vec<_>) =
        (0..WAITERS / 2).map(|_| (waiter(), waiter())).unzip();
    reach(&board.ready, WAITERS);
    let_them_wait();

    victims.iter().for_each(kill);
    for _ in &survivors {
        semaphore.release().unwrap();
    }
    survivors.iter().for_each(join);
    assert_eq!(semaphore.value(), 0);
}

fn semaphore_lets_so_many_in() {
    const PERMITS: u32 = 2;
    let semaphore = Semaphore::bounded(PERMITS).unwrap();
    let board = board();
    let children: Vec<_> = (0..PROCESSES)
        .map(|_| {
            child(|| {
                for _ in 0..ROUNDS {
                    semaphore.acquire(&mut Wait::forever()).unwrap();
                    assert!(board.passed.fetch_add(1, Ordering::Relaxed) < PERMITS);
                    board.passed.fetch_sub(1, Ordering::Relaxed);
                    semaphore.release().unwrap();
                }
            })
        })
        .collect();
    children.iter().for_each(join);
    assert_eq!((semaphore.value(), semaphore.maximum()), (PERMITS, PERMITS));
}

fn bounded_semaphore_refuses() {
    let semaphore = Semaphore::bounded(1).unwrap();
    assert!(semaphore.release().is_err());
    assert!(semaphore.try_acquire());
    assert!(!semaphore.try_acquire());
    join(&child(|| semaphore.release().unwrap()));
    join(&child(|| assert!(semaphore.release().is_err())));
    assert_eq!(semaphore.value(), 1);

    let free = Semaphore::new(1).unwrap();
    free.release().unwrap();
    assert_eq!(free.value(), 2);
    assert_eq!(
        Semaphore::new(u32::MAX).unwrap_err().kind(),
        ErrorKind::Invalid
    );
}

fn they_travel() {
    let before = settled();
    let lock = Lock::new().unwrap();
    let rlock = RLock::new().unwrap();
    let semaphore = Semaphore::new(3).unwrap();
    assert!(lock.try_acquire().unwrap().is_some());
    let ids = (lock.id(), rlock.id());

    let (lock, rlock, semaphore) = travel(
        move || {
            (
                lock.note().unwrap(),
                rlock.note().unwrap(),
                semaphore.note().unwrap(),
            )
        },
        |(lock, rlock, semaphore)| {
            assert_eq!(
                Lock::from_handle(rlock).unwrap_err().kind(),
                ErrorKind::WrongKind
            );
            (
                AnyLock::from_handle(lock).unwrap(),
                AnyLock::from_handle(rlock).unwrap(),
                Semaphore::from_handle(semaphore).unwrap(),
            )
        },
    );
    assert!(matches!(
        (&lock, &rlock),
        (AnyLock::Lock(_), AnyLock::RLock(_))
    ));
    assert_eq!((lock.id(), rlock.id()), ids);
    assert!(lock.is_mine() && !rlock.is_mine());
    assert_eq!(semaphore.value(), 3);
    assert_eq!(lock.note().unwrap_err().kind(), ErrorKind::OutsideMessage);
    drop((lock, rlock, semaphore));
    assert_eq!(settled(), before);
}
