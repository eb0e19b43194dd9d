//! `Cell`.

#![expect(unsafe_code, reason = "bytes become numbers")]

use crate::Test;
use crate::board::{board, settled, travel};
use crate::common::{child, join};
use procession_core::Acquired;
use procession_core::primitives::{Cell, RLock};
use procession_core::shm::Wait;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;

const ROUNDS: u64 = 20_000;

pub(crate) const TESTS: &[Test] = &[
    ("numbers_are_never_torn", numbers_are_never_torn),
    ("bytes_outside_are_refused", bytes_outside_are_refused),
    (
        "death_of_a_holder_is_reported_even_after_an_access",
        death_of_a_holder,
    ),
    ("cells_travel_with_their_lock", they_travel),
];

/// A cell with one number, without a lock.
pub(crate) fn number() -> Cell {
    Cell::new(8, 0, None).unwrap()
}

pub(crate) fn get(cell: &Cell) -> u64 {
    let mut bytes = [MaybeUninit::uninit(); 8];
    cell.read(0, &mut bytes);
    // SAFETY: all bytes were written, and the memory's are initialised.
    u64::from_ne_bytes(bytes.map(|byte| unsafe { byte.assume_init() }))
}

pub(crate) fn set(cell: &Cell, number: u64) {
    cell.write(0, &number.to_ne_bytes().map(MaybeUninit::new));
}

fn numbers_are_never_torn() {
    let cell = Cell::new(16, 0, None).unwrap();
    let board = board();
    let writer = child(|| {
        for round in 0..ROUNDS {
            set(&cell, if round % 2 == 0 { 0 } else { u64::MAX });
        }
        board.ready.store(1, Ordering::Release);
    });
    while board.ready.load(Ordering::Acquire) == 0 {
        assert!(matches!(get(&cell), 0 | u64::MAX));
    }
    join(&writer);
}

fn bytes_outside_are_refused() {
    let cell = Cell::new(10, 3, None).unwrap();
    assert_eq!((cell.len(), cell.tag(), cell.is_empty()), (10, 3, false));
    assert_eq!(cell.data().as_ptr().addr() % Cell::ALIGNMENT, 0);
    cell.read(10, &mut []);
    for (at, len) in [(10, 1), (0, 11), (usize::MAX, 1), (11, 0)] {
        let mut bytes = vec![MaybeUninit::uninit(); len];
        let read = catch_unwind(AssertUnwindSafe(|| cell.read(at, &mut bytes)));
        assert!(read.is_err(), "{at} {len}");
    }
    assert!(Cell::new(0, 0, None).unwrap().is_empty());
}

fn death_of_a_holder() {
    let lock = RLock::new().unwrap();
    let cell = Cell::new(8, 0, Some(lock.into())).unwrap();
    let die_with_it = || {
        join(&child(|| {
            assert_eq!(cell.acquire(&mut Wait::forever()).unwrap(), Acquired::Clean);
        }));
    };
    die_with_it();
    cell.acquire_for_access(&mut Wait::forever()).unwrap();
    cell.release();
    join(&child(|| {
        assert_eq!(
            cell.acquire(&mut Wait::forever()).unwrap(),
            Acquired::OwnerDied
        );
        cell.release();
    }));
    assert_eq!(cell.try_acquire().unwrap(), Some(Acquired::Clean));
    cell.release();

    die_with_it();
    assert_eq!(cell.try_acquire().unwrap(), Some(Acquired::OwnerDied));
    cell.release();
}

fn they_travel() {
    let before = settled();
    let lock = RLock::new().unwrap();
    let locked = Cell::new(1 << 20, 1, Some(lock.clone().into())).unwrap();
    let plain = Cell::new(8, 2, None).unwrap();
    set(&plain, 99);
    let (locked, plain) = travel(
        move || (locked.note().unwrap(), plain.note().unwrap()),
        |(locked, plain)| {
            (
                Cell::from_handle(locked).unwrap(),
                Cell::from_handle(plain).unwrap(),
            )
        },
    );
    assert_eq!((locked.len(), locked.tag()), (1 << 20, 1));
    assert_eq!(locked.lock().unwrap().id(), lock.id());
    assert_eq!((get(&plain), plain.tag()), (99, 2));
    assert!(plain.lock().is_none());
    drop((lock, locked, plain));
    assert_eq!(settled(), before);
}
