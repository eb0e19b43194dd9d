//! Families of real processes: who gets a dead owner's lock, what the dead give back, what forked children are, and which
//! handles are refused.

#![expect(unsafe_code, reason = "the tests lay out shared objects and fork")]
#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test program of its own"
)]

mod common;

use common::{child, eventually, exec_sleep, join, reach, watchdog};
use libtest_mimic::{Arguments, Failed, Trial};
use procession_core::shm::handles::{self, Collected, Collecting, Reading};
use procession_core::shm::{
    FamilyId, Kind, Layout, Message, Object, SlotFlags, Wait, family, fork, heap, identity,
    liveness, recovery,
};
use procession_core::{Acquired, ErrorKind};
use procession_sync::RawLock;
use procession_sys::futex;
use procession_sys::process::ChildProcess;
use procession_sys::signal::Signal;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// How many children die for the test of references.
const DEATHS: u32 = 1000;
const WAITERS: u32 = 12;

#[derive(Debug)]
#[repr(C)]
struct Board {
    lock: RawLock,
    died: AtomicU32,
    clean: AtomicU32,
    ready: AtomicU32,
    go: AtomicU32,
    owner: AtomicU32,
    number: AtomicU64,
}

// SAFETY: atomics only, valid when zero.
unsafe impl Layout for Board {
    const KIND: Kind = Kind(1000);
}

#[derive(Debug)]
#[repr(C)]
struct Other {
    number: AtomicU64,
}

// SAFETY: atomics only, valid when zero.
unsafe impl Layout for Other {
    const KIND: Kind = Kind(1001);
}

fn board() -> Object<Board> {
    Object::create(0, |_: &Board, _| {}).unwrap()
}

fn main() {
    watchdog(Duration::from_secs(240));
    membership_of_a_thread_that_ends();
    // A process keeps the first page of its ledger: it is there before anything is counted, whichever test runs alone.
    drop(board());

    let mut arguments = Arguments::from_args();
    // Children are forked from this very thread.
    arguments.test_threads = Some(1);
    let tests: [(&str, fn()); 12] = [
        ("killed_holder_is_reported_once", || holder_ends(End::Kill)),
        ("exiting_holder_is_reported_once", || holder_ends(End::Exit)),
        ("holder_that_execs_is_reported_once", || {
            holder_ends(End::Exec)
        }),
        ("the_same_without_watching_two_words", without_waitv),
        (
            "references_of_killed_children_come_back",
            references_of_killed_children_come_back,
        ),
        (
            "forked_child_holds_what_it_inherited",
            forked_child_holds_what_it_inherited,
        ),
        ("child_that_execs_gives_back", child_that_execs_gives_back),
        (
            "slot_that_nobody_adopts_is_reclaimed",
            slot_that_nobody_adopts_is_reclaimed,
        ),
        ("fork_into_a_reserved_slot", fork_into_a_reserved_slot),
        (
            "daemonic_child_of_the_dead_stays_outside",
            daemonic_child_of_the_dead_stays_outside,
        ),
        ("handles_travel_in_messages", handles_travel_in_messages),
        ("wrong_handles_are_refused", wrong_handles_are_refused),
    ];
    let trials = tests
        .map(|(name, test)| {
            Trial::test(name, move || -> Result<(), Failed> {
                test();
                Ok(())
            })
        })
        .into();

    libtest_mimic::run(&arguments, trials).exit();
}

#[derive(Clone, Copy, Debug)]
enum End {
    Kill,
    Exit,
    Exec,
}

/// As a child's body, which returns nothing.
fn exec_sleep_quietly() {
    exec_sleep();
}

fn holder_ends(end: End) {
    for _ in 0..10 {
        let board = board();
        let holder = child(|| {
            assert_eq!(
                board.lock.acquire(&mut Wait::forever()).unwrap(),
                Acquired::Clean
            );
            board.ready.store(1, Ordering::Release);
            match end {
                End::Kill => std::thread::sleep(Duration::from_secs(100)),
                End::Exit => reach(&board.go, 1),
                End::Exec => {
                    reach(&board.go, 1);
                    exec_sleep();
                }
            }
        });
        reach(&board.ready, 1);

        let waiters: Vec<_> = (0..WAITERS)
            .map(|_| child(|| count_acquisition(&board)))
            .collect();
        reach(&board.ready, 1 + WAITERS);
        match end {
            End::Kill => holder.kill(Signal::KILL).unwrap(),
            End::Exit | End::Exec => board.go.store(1, Ordering::Release),
        }
        waiters.iter().for_each(join);

        assert_eq!(
            (
                board.died.load(Ordering::Relaxed),
                board.clean.load(Ordering::Relaxed)
            ),
            (1, WAITERS - 1),
            "{end:?}"
        );
        finish(&holder);
    }
}

fn count_acquisition(board: &Board) {
    board.ready.fetch_add(1, Ordering::AcqRel);
    let counter = match board.lock.acquire(&mut Wait::forever()).unwrap() {
        Acquired::Clean => &board.clean,
        Acquired::OwnerDied => &board.died,
    };
    counter.fetch_add(1, Ordering::Relaxed);
    board.lock.release(&Wait::never()).unwrap();
}

fn finish(child: &ChildProcess) {
    let _ = child.kill(Signal::KILL);
    child.wait(None).unwrap();
}

fn without_waitv() {
    futex::set_wait_any_enabled(false);
    for end in [End::Kill, End::Exit, End::Exec] {
        holder_ends(end);
    }
    futex::set_wait_any_enabled(true);
}

fn references_of_killed_children_come_back() {
    let kept = board();
    let before = settled();

    for round in 0..DEATHS {
        let dying = child(|| {
            let mine: Vec<_> = (0..1 + round % 70).map(|_| board()).collect();
            let _block = heap::allocate(100 + round as usize * 40).unwrap();
            let collecting = Collecting::begin();
            handles::note(&kept).unwrap();
            handles::note(&mine[0]).unwrap();
            let _message = Message::create(&collecting.finish(), 1000).unwrap();
            kept.ready.store(round + 1, Ordering::Release);
            std::thread::sleep(Duration::from_secs(100));
        });
        reach(&kept.ready, round + 1);
        finish(&dying);
    }

    assert_eq!(settled(), before);
}

/// What lives, once all that is dead has been given back.
fn settled() -> (u64, u64, usize) {
    heap::recover();
    let stats = heap::stats().unwrap();
    (stats.live_bytes, stats.blocks, stats.processes)
}

fn forked_child_holds_what_it_inherited() {
    let before = settled();
    let (inherited, board) = (board(), board());
    inherited.number.store(42, Ordering::Relaxed);
    let id = inherited.id();

    let holder = child(|| {
        board
            .owner
            .store(identity::me().unwrap().to_bits(), Ordering::Relaxed);
        board.ready.store(1, Ordering::Release);
        reach(&board.go, 1);
        assert_eq!(inherited.number.load(Ordering::Relaxed), 42);
        drop(inherited.clone());
        assert_eq!(Object::<Board>::attach(id).unwrap().id(), id);
    });
    reach(&board.ready, 1);
    assert_ne!(
        board.owner.load(Ordering::Relaxed),
        identity::me().unwrap().to_bits()
    );
    drop(inherited);

    // The child's own reference keeps it.
    drop(Object::<Board>::attach(id).unwrap());
    board.go.store(1, Ordering::Release);
    join(&holder);
    heap::recover();
    assert_eq!(
        Object::<Board>::attach(id).unwrap_err().kind(),
        ErrorKind::StaleHandle
    );
    drop(board);
    assert_eq!(settled(), before);
}

fn child_that_execs_gives_back() {
    let before = settled();
    let inherited = board();
    let id = inherited.id();
    let other = child(exec_sleep_quietly);

    drop(inherited);
    eventually(|| {
        heap::recover();
        Object::<Board>::attach(id).is_err()
    });
    assert_eq!(settled(), before);
    finish(&other);
}

fn slot_that_nobody_adopts_is_reclaimed() {
    let before = settled();
    let slot = family::reserve_slot(SlotFlags::PLAIN).unwrap();
    let now = procession_sys::time::monotonic_nanos();

    assert_eq!(recovery::recover_at(now + 30_000_000_000), 0);
    assert!(liveness::is_alive(slot));
    assert_eq!(recovery::recover_at(now + 61_000_000_000), 1);
    assert!(!liveness::is_alive(slot));
    join(&child(|| {
        assert_eq!(
            family::adopt(slot).unwrap_err().kind(),
            ErrorKind::NotInFamily
        )
    }));
    assert_eq!(settled(), before);
}

fn fork_into_a_reserved_slot() {
    let board = board();
    let slot = family::reserve_slot(SlotFlags::WORKER).unwrap();
    let worker = {
        let _into = fork::IntoSlot::new(slot);
        child(|| {
            assert_eq!(identity::me().unwrap(), slot);
            assert_eq!(
                family::parent(),
                procession_sync::OwnerId::from_bits(board.owner.load(Ordering::Relaxed))
            );
            family::exit_status_word(slot)
                .unwrap()
                .store(7, Ordering::Release);
            board.ready.store(1, Ordering::Release);
            reach(&board.go, 1);
        })
    };
    board
        .owner
        .store(identity::me().unwrap().to_bits(), Ordering::Relaxed);
    reach(&board.ready, 1);
    board.go.store(1, Ordering::Release);
    join(&worker);

    assert_eq!(
        family::exit_status_word(slot)
            .unwrap()
            .load(Ordering::Acquire),
        7
    );
    family::release_slot(slot);
    assert!(!liveness::is_alive(slot));
}

fn daemonic_child_of_the_dead_stays_outside() {
    let board = board();
    let parent = child(|| {
        let slot = family::reserve_slot(SlotFlags::DAEMONIC).unwrap();
        board.owner.store(slot.to_bits(), Ordering::Relaxed);
    });
    join(&parent);

    let slot = procession_sync::OwnerId::from_bits(board.owner.load(Ordering::Relaxed)).unwrap();
    heap::recover();
    join(&child(|| assert!(family::adopt(slot).is_err())));
}

fn handles_travel_in_messages() {
    let before = settled();
    let (first, second) = (board(), board());
    second.number.store(9, Ordering::Relaxed);

    let collecting = Collecting::begin();
    assert_eq!(handles::note(&first).unwrap(), 0);
    assert_eq!(handles::note(&second).unwrap(), 1);
    assert_eq!(handles::note(&first).unwrap(), 0, "once each");
    let mut message = Message::create(&collecting.finish(), 3).unwrap();
    message.payload_mut().copy_from_slice(b"abc");
    let id = second.id();
    drop((first, second));

    {
        let _reading = Reading::begin(family::id().unwrap(), message.handles());
        let second = handles::resolve::<Board>(1).unwrap();
        assert_eq!(
            (second.id(), second.number.load(Ordering::Relaxed)),
            (id, 9)
        );
        assert_eq!(
            handles::resolve::<Board>(2).unwrap_err().kind(),
            ErrorKind::StaleHandle
        );
    }
    assert_eq!(message.payload(), b"abc");
    drop(message);

    assert_eq!(
        Object::<Board>::attach(id).unwrap_err().kind(),
        ErrorKind::StaleHandle
    );
    assert_eq!(settled(), before);
}

fn wrong_handles_are_refused() {
    let board = board();
    assert_eq!(
        handles::note(&board).unwrap_err().kind(),
        ErrorKind::OutsideMessage
    );
    assert_eq!(
        handles::resolve::<Board>(0).unwrap_err().kind(),
        ErrorKind::OutsideMessage
    );
    assert_eq!(
        Object::<Other>::attach(board.id()).unwrap_err().kind(),
        ErrorKind::WrongKind
    );

    let _reading = Reading::begin(FamilyId(1), vec![Some(board.id())]);
    assert_eq!(
        handles::resolve::<Board>(0).unwrap_err().kind(),
        ErrorKind::ForeignHandle
    );
    let message = Message::create(&Collected::none(), 0).unwrap();
    let block = message.into_block().unwrap();
    assert_eq!(
        Object::<Board>::attach(block.id()).unwrap_err().kind(),
        ErrorKind::StaleHandle,
        "a message is no object"
    );
}

/// Runs first, while this process has no family: the family's first member joins on a thread that ends.
fn membership_of_a_thread_that_ends() {
    let program = child(|| {
        let board = std::thread::spawn(board).join().unwrap();
        let me = identity::me().unwrap();
        assert_eq!(
            board.lock.acquire(&mut Wait::forever()).unwrap(),
            Acquired::Clean
        );
        board.owner.store(me.to_bits(), Ordering::Relaxed);

        let other = child(|| {
            let me =
                procession_sync::OwnerId::from_bits(board.owner.load(Ordering::Relaxed)).unwrap();
            assert!(liveness::is_alive(me));
            assert!(
                board
                    .lock
                    .acquire(&mut Wait::for_duration(Some(Duration::from_millis(200))))
                    .is_err(),
                "it is held"
            );
            board.ready.store(1, Ordering::Release);
            assert_eq!(
                board.lock.acquire(&mut Wait::forever()).unwrap(),
                Acquired::Clean
            );
        });
        reach(&board.ready, 1);
        assert_eq!(identity::me().unwrap(), me);
        board.lock.release(&Wait::never()).unwrap();
        join(&other);
        assert_eq!(heap::recover(), 1);
    });
    join(&program);
}
