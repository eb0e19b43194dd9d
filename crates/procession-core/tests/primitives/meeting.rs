//! `Event` and `Barrier`.

use crate::Test;
use crate::board::{board, briefly, kill, let_them_wait, settled, travel};
use crate::common::{child, eventually, join, reach};
use procession_core::primitives::{Barrier, Event};
use procession_core::shm::Wait;
use procession_core::{Error, ErrorKind};
use std::sync::atomic::Ordering;

const WAITERS: u32 = 6;
const ROUNDS: u32 = 500;

/// Nothing to do before the parties pass.
type NoAction = fn() -> Result<(), Error>;
const NONE: Option<NoAction> = None;

pub(crate) const TESTS: &[Test] = &[
    ("event_releases_all", event_releases_all),
    (
        "killed_waiters_of_an_event_strand_nobody",
        killed_waiters_of_an_event,
    ),
    ("set_and_clear_releases_those_who_waited", set_and_clear),
    ("event_times_out", event_times_out),
    (
        "barrier_lets_all_pass_round_after_round",
        barrier_lets_all_pass,
    ),
    (
        "barrier_runs_its_action_once_a_round",
        barrier_runs_its_action,
    ),
    ("killed_participant_breaks_the_barrier", killed_participant),
    ("timeout_breaks_the_barrier", timeout_breaks_the_barrier),
    ("abort_and_reset", abort_and_reset),
    ("failing_action_breaks_the_barrier", failing_action),
    ("events_and_barriers_travel", they_travel),
];

fn event_releases_all() {
    let (event, board) = (Event::new().unwrap(), board());
    let waiters: Vec<_> = (0..WAITERS)
        .map(|_| {
            child(|| {
                board.ready.fetch_add(1, Ordering::Release);
                event.wait(&mut Wait::forever()).unwrap();
                assert!(event.is_set());
            })
        })
        .collect();
    reach(&board.ready, WAITERS);
    event.set();
    waiters.iter().for_each(join);
    event.wait(&mut Wait::never()).unwrap();
}

fn killed_waiters_of_an_event() {
    let (event, board) = (Event::new().unwrap(), board());
    let waiter = || {
        child(|| {
            board.ready.fetch_add(1, Ordering::Release);
            event.wait(&mut Wait::forever()).unwrap();
        })
    };
    let (victims, survivors): (Vec<_>, Vec<_>) =
        (0..WAITERS / 2).map(|_| (waiter(), waiter())).unzip();
    reach(&board.ready, WAITERS);
    let_them_wait();
    victims.iter().for_each(kill);
    event.set();
    survivors.iter().for_each(join);
}

fn set_and_clear() {
    let (event, board) = (Event::new().unwrap(), board());
    let waiter = child(|| {
        board.ready.store(1, Ordering::Release);
        event.wait(&mut Wait::forever()).unwrap();
        board.passed.store(1, Ordering::Release);
    });
    reach(&board.ready, 1);
    // Whether it waits already cannot be seen from outside, so this goes on until it has passed.
    eventually(|| {
        event.set();
        event.clear();
        board.passed.load(Ordering::Acquire) == 1
    });
    join(&waiter);
    assert!(!event.is_set());
}

fn event_times_out() {
    let event = Event::new().unwrap();
    assert!(event.wait(&mut briefly()).unwrap_err().is_timeout());
    assert!(event.wait(&mut Wait::never()).unwrap_err().is_timeout());
    let mut stop = || false;
    let error = event
        .wait(&mut Wait::forever().with_interrupt(&mut stop))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Interrupted);
}

fn barrier_lets_all_pass() {
    let barrier = Barrier::new(WAITERS, 0).unwrap();
    let board = board();
    let parties: Vec<_> = (0..WAITERS)
        .map(|_| {
            child(|| {
                for round in 1..=ROUNDS {
                    board.passed.fetch_add(1, Ordering::Relaxed);
                    let index = barrier
                        .wait(&mut Wait::forever().for_answer(), NONE)
                        .unwrap();
                    assert!(index < WAITERS);
                    assert!(board.passed.load(Ordering::Relaxed) >= round * WAITERS);
                    if index == 0 {
                        board.clean.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    parties.iter().for_each(join);
    assert_eq!(
        board.clean.load(Ordering::Relaxed),
        ROUNDS,
        "each index once a round"
    );
    assert_eq!((barrier.n_waiting(), barrier.is_broken()), (0, false));
}

fn barrier_runs_its_action() {
    let barrier = Barrier::new(3, 7).unwrap();
    let board = board();
    let parties: Vec<_> = (0..3)
        .map(|_| {
            child(|| {
                for round in 1..=ROUNDS {
                    let action = || {
                        board.passed.fetch_add(1, Ordering::Relaxed);
                        Ok::<(), Error>(())
                    };
                    barrier.wait(&mut Wait::forever(), Some(action)).unwrap();
                    assert!(board.passed.load(Ordering::Relaxed) >= round);
                }
            })
        })
        .collect();
    parties.iter().for_each(join);
    assert_eq!(board.passed.load(Ordering::Relaxed), ROUNDS);
    assert_eq!((barrier.parties(), barrier.tag()), (3, 7));
}

fn killed_participant() {
    let barrier = Barrier::new(4, 0).unwrap();
    let waiter = || {
        child(|| {
            let error = barrier.wait(&mut Wait::forever(), NONE).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Broken);
        })
    };
    let victim = child(|| {
        let _ = barrier.wait(&mut Wait::forever(), NONE);
    });
    eventually(|| barrier.n_waiting() == 1);
    let others = [waiter(), waiter()];
    eventually(|| barrier.n_waiting() == 3);

    kill(&victim);
    others.iter().for_each(join);
    assert!(barrier.is_broken());
    assert_eq!(
        barrier.wait(&mut Wait::forever(), NONE).unwrap_err().kind(),
        ErrorKind::Broken
    );

    barrier.reset().unwrap();
    let fresh = [(); 3].map(|()| {
        child(|| {
            barrier.wait(&mut Wait::forever(), NONE).unwrap();
        })
    });
    barrier.wait(&mut Wait::forever(), NONE).unwrap();
    fresh.iter().for_each(join);
}

fn timeout_breaks_the_barrier() {
    let barrier = Barrier::new(3, 0).unwrap();
    let other = child(|| {
        let error = barrier.wait(&mut Wait::forever(), NONE).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Broken);
    });
    eventually(|| barrier.n_waiting() == 1);
    assert!(barrier.wait(&mut briefly(), NONE).unwrap_err().is_timeout());
    join(&other);
    assert!(barrier.is_broken());
}

fn abort_and_reset() {
    let barrier = Barrier::new(2, 0).unwrap();
    for end in [Barrier::abort, Barrier::reset] {
        let other = child(|| {
            let error = barrier.wait(&mut Wait::forever(), NONE).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Broken);
        });
        eventually(|| barrier.n_waiting() == 1);
        end(&barrier).unwrap();
        join(&other);
        barrier.reset().unwrap();
        assert!(!barrier.is_broken());
    }
    assert_eq!(Barrier::new(0, 0).unwrap_err().kind(), ErrorKind::Invalid);
}

fn failing_action() {
    let barrier = Barrier::new(2, 0).unwrap();
    let other = child(|| {
        let error = barrier
            .wait(&mut Wait::forever(), Some(|| Ok::<(), Error>(())))
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Broken);
    });
    eventually(|| barrier.n_waiting() == 1);
    let failing = || Err(Error::new(ErrorKind::Invalid, "fail"));
    let error = barrier
        .wait(&mut Wait::forever(), Some(failing))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "the action's own error");
    join(&other);
    assert!(barrier.is_broken());
}

fn they_travel() {
    let before = settled();
    let (event, barrier) = (Event::new().unwrap(), Barrier::new(300, 5).unwrap());
    event.set();
    let (event, barrier) = travel(
        move || (event.note().unwrap(), barrier.note().unwrap()),
        |(event, barrier)| {
            (
                Event::from_handle(event).unwrap(),
                Barrier::from_handle(barrier).unwrap(),
            )
        },
    );
    assert!(event.is_set());
    assert_eq!((barrier.parties(), barrier.tag()), (300, 5));
    drop((event, barrier));
    assert_eq!(settled(), before);
}
