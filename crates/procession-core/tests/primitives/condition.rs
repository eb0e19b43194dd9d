//! `Condition`.

use crate::Test;
use crate::board::{Board, board, briefly, kill, settled, travel};
use crate::cell::{get, number, set};
use crate::common::{child, eventually, join};
use procession_core::primitives::{Acquired, AnyLock, Condition, Lock, RLock, Waited};
use procession_core::shm::{Object, Wait};
use procession_core::{ErrorKind, Stop};
use procession_sys::process::ChildProcess;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const ROUNDS: u64 = 1000;
const CHILDREN: usize = 4;
const THREADS: usize = 12;

pub(crate) const TESTS: &[Test] = &[
    ("killed_waiter_swallows_no_notification", killed_waiter),
    (
        "killed_waiter_hands_its_notification_on",
        killed_after_its_notification,
    ),
    ("killed_holder_is_reported_to_a_waiter", killed_holder),
    ("processes_take_turns", processes_take_turns),
    ("condition_times_out_with_the_lock_held", times_out),
    ("condition_without_its_lock_is_refused", without_its_lock),
    ("an_rlock_comes_back_as_deep_as_it_was", comes_back_as_deep),
    ("more_waiters_than_fit_into_the_object", many_waiters),
    ("conditions_travel_with_their_lock", they_travel),
    #[cfg(feature = "crash-points")]
    ("killed_while_the_table_grows", killed_while_the_table_grows),
];

fn acquire(condition: &Condition) -> Acquired {
    condition.lock().acquire(&mut Wait::forever()).unwrap()
}

fn hold(condition: &Condition) {
    assert_eq!(acquire(condition), Acquired::Clean);
}

fn release(condition: &Condition) {
    condition.lock().release().unwrap();
}

fn waiter(condition: &Condition, board: &Object<Board>) -> ChildProcess {
    let before = condition.waiting();
    let child = child(|| {
        hold(condition);
        let waited = condition.wait(&mut Wait::forever()).unwrap();
        assert_eq!(
            waited,
            Waited {
                outcome: Ok(()),
                lock: Acquired::Clean
            }
        );
        board.passed.fetch_add(1, Ordering::Relaxed);
        release(condition);
    });
    eventually(|| condition.waiting() == before + 1);
    child
}

fn killed_waiter() {
    let (condition, board) = (Condition::new().unwrap(), board());
    let (oldest, next) = (waiter(&condition, &board), waiter(&condition, &board));
    kill(&oldest);

    hold(&condition);
    assert_eq!(condition.notify(1).unwrap(), 1);
    release(&condition);
    join(&next);
    assert_eq!(
        (board.passed.load(Ordering::Relaxed), condition.waiting()),
        (1, 0)
    );
}

fn killed_after_its_notification() {
    let (condition, board) = (Condition::new().unwrap(), board());
    let (oldest, next) = (waiter(&condition, &board), waiter(&condition, &board));

    hold(&condition);
    assert_eq!(condition.notify(1).unwrap(), 1);
    kill(&oldest);
    assert_eq!(
        board.passed.load(Ordering::Relaxed),
        0,
        "it cannot pass before the release"
    );
    release(&condition);
    join(&next);
}

fn killed_holder() {
    let (condition, board) = (Condition::new().unwrap(), board());
    let waiter = child(|| {
        hold(&condition);
        let waited = condition.wait(&mut Wait::forever()).unwrap();
        assert_eq!(waited.lock, Acquired::OwnerDied);
        release(&condition);
    });
    eventually(|| condition.waiting() == 1);
    let holder = child(|| {
        hold(&condition);
        condition.notify(1).unwrap();
        board.ready.store(1, Ordering::Release);
        loop {
            std::thread::park();
        }
    });
    eventually(|| board.ready.load(Ordering::Acquire) == 1);
    kill(&holder);
    join(&waiter);
    hold(&condition);
}

fn processes_take_turns() {
    let lock = AnyLock::from(Lock::new().unwrap());
    let condition = Condition::with_lock(lock).unwrap();
    let number = number();
    let player = |parity: u64| {
        let condition = &condition;
        let number = &number;
        child(move || {
            let mut wait = Wait::forever();
            while get_locked(condition, number, &mut wait, parity) < ROUNDS {
                set(number, get(number) + 1);
                condition.notify(u32::MAX).unwrap();
                release(condition);
            }
            release(condition);
        })
    };
    let players = [player(0), player(1)];
    players.iter().for_each(join);
    assert_eq!(get(&number), ROUNDS);
}

/// Waits, with the lock held afterwards, for a number of this parity or the end.
fn get_locked(
    condition: &Condition,
    number: &procession_core::primitives::Cell,
    wait: &mut Wait<'_>,
    parity: u64,
) -> u64 {
    hold(condition);
    loop {
        let seen = get(number);
        if seen >= ROUNDS || seen % 2 == parity {
            return seen;
        }
        let waited = condition.wait(wait).unwrap();
        assert_eq!(waited.outcome, Ok(()));
    }
}

fn times_out() {
    let condition = Condition::new().unwrap();
    hold(&condition);
    let start = Instant::now();
    let waited = condition.wait(&mut briefly()).unwrap();
    assert_eq!(waited.outcome, Err(Stop::TimedOut));
    assert!(start.elapsed() >= Duration::from_millis(30));
    let mut stop = || false;
    let waited = condition
        .wait(&mut Wait::forever().with_interrupt(&mut stop))
        .unwrap();
    assert_eq!(waited.outcome, Err(Stop::Interrupted));
    assert!(condition.lock().is_mine());
    assert_eq!(condition.notify(1).unwrap(), 0);
    release(&condition);
}

fn without_its_lock() {
    for condition in [
        Condition::new().unwrap(),
        Condition::with_lock(Lock::new().unwrap().into()).unwrap(),
    ] {
        let error = condition.wait(&mut Wait::never()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WrongState);
        assert_eq!(
            condition.notify(1).unwrap_err().kind(),
            ErrorKind::WrongState
        );

        hold(&condition);
        join(&child(|| {
            assert_eq!(
                condition.notify(1).unwrap_err().kind(),
                ErrorKind::WrongState
            );
        }));
        release(&condition);
    }
}

fn comes_back_as_deep() {
    let lock = RLock::new().unwrap();
    let condition = Condition::with_lock(lock.clone().into()).unwrap();
    (0..3).for_each(|_| assert_eq!(acquire(&condition), Acquired::Clean));
    let notifier = child(|| {
        assert_eq!(acquire(&condition), Acquired::Clean, "given up at once");
        condition.notify(1).unwrap();
        release(&condition);
    });
    assert_eq!(
        condition.wait(&mut Wait::forever()).unwrap().outcome,
        Ok(())
    );
    assert_eq!(lock.count(), 3);
    (0..3).for_each(|_| release(&condition));
    join(&notifier);
}

fn many_waiters() {
    let before = settled();
    let (condition, board) = (Condition::new().unwrap(), board());
    let children: Vec<_> = (0..CHILDREN)
        .map(|_| {
            child(|| {
                std::thread::scope(|scope| {
                    for _ in 0..THREADS {
                        scope.spawn(|| {
                            hold(&condition);
                            let waited = condition.wait(&mut Wait::forever()).unwrap();
                            assert_eq!(waited.outcome, Ok(()));
                            board.passed.fetch_add(1, Ordering::Relaxed);
                            release(&condition);
                        });
                    }
                });
            })
        })
        .collect();
    eventually(|| condition.waiting() == CHILDREN * THREADS);

    let notify = |count| {
        hold(&condition);
        let notified = condition.notify(count).unwrap();
        release(&condition);
        notified as usize
    };
    assert_eq!(notify(20), 20);
    eventually(|| board.passed.load(Ordering::Relaxed) == 20);
    kill(&children[0]);
    let left = condition.waiting();
    assert!(notify(u32::MAX) <= left);
    children[1..].iter().for_each(join);
    assert_eq!(condition.waiting(), 0);
    drop((condition, board));
    assert_eq!(settled(), before);
}

fn they_travel() {
    let before = settled();
    let lock = AnyLock::from(Lock::new().unwrap());
    let condition = Condition::with_lock(lock.clone()).unwrap();
    let (condition, lock) = travel(
        move || (condition.note().unwrap(), lock.note().unwrap()),
        |(condition, lock)| {
            assert_eq!(condition.1, lock, "one handle for one lock");
            let stranger = Condition::from_handle((condition.0, condition.0));
            assert_eq!(stranger.unwrap_err().kind(), ErrorKind::WrongKind);
            (
                Condition::from_handle(condition).unwrap(),
                AnyLock::from_handle(lock).unwrap(),
            )
        },
    );
    assert_eq!(condition.lock().id(), lock.id());
    assert_eq!(lock.try_acquire().unwrap(), Some(Acquired::Clean));
    assert!(condition.lock().is_mine());
    drop((condition, lock));
    assert_eq!(settled(), before);
}

#[cfg(feature = "crash-points")]
fn killed_while_the_table_grows() {
    for point in [
        "condition.chunk.named",
        "heap.block.queued",
        "condition.chunk.made",
    ] {
        let before = settled();
        let (condition, board) = (Condition::new().unwrap(), board());
        let waiters: Vec<_> = (0..8).map(|_| waiter(&condition, &board)).collect();
        let victim = child(|| {
            hold(&condition);
            procession_core::crash::arm(point, 1);
            let _ = condition.wait(&mut Wait::forever());
        });
        assert_eq!(victim.wait(None).unwrap().unwrap().code(), -9, "{point}");

        assert_eq!(acquire(&condition), Acquired::OwnerDied);
        release(&condition);
        let more: Vec<_> = (0..12).map(|_| waiter(&condition, &board)).collect();
        hold(&condition);
        assert_eq!(condition.notify(u32::MAX).unwrap(), 20);
        release(&condition);
        waiters.iter().chain(&more).for_each(join);
        drop((condition, board));
        assert_eq!(settled(), before, "{point}");
    }
}
