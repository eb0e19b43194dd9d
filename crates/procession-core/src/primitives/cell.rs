//! `Cell`: plain memory that processes share, with a lock beside it if wanted.
//!
//! Used by the faces' `Value` and `Array` and, without a lock, `RawValue` and `RawArray`. The object is a small header and
//! the bytes behind it, aligned to 64. The lock is an object of its own; in a message the cell is one or two handles.
//!
//! A process that dies while it writes leaves what it has written so far. If it held the lock, the next [`acquire`] says
//! so, even if a single access that takes the lock by itself came first: that one leaves a note.
//!
//! [`acquire`]: Cell::acquire

#![expect(unsafe_code, reason = "the bytes are reached through their address")]

use super::any_lock::AnyLock;
use super::copy;
use crate::error::Result;
use crate::shm::{BlockId, Kind, Layout, Object, Wait, handles};
use procession_sync::Acquired;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Some bytes that any process of the family may read and write.
#[derive(Clone, Debug)]
pub struct Cell {
    object: Object<CellState>,
    lock: Option<AnyLock>,
}

/// The shared part. Behind it lie the bytes.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct CellState {
    /// How many bytes there are; never changes.
    len: AtomicU64,
    /// Whatever the face makes of it, a type for instance; never changes.
    tag: AtomicU64,
    /// 1 while a holder of the lock has died and no [`Cell::acquire`] has said so. Changes with the lock held.
    is_owed_a_report: AtomicU32,
    reserved: [AtomicU32; 7],
}

// SAFETY: atomics only, valid when all are 0; no other layout has this kind.
unsafe impl Layout for CellState {
    const KIND: Kind = Kind::CELL;
}

impl Cell {
    /// What the address of the first byte is a multiple of.
    pub const ALIGNMENT: usize = 64;

    /// `len` zero bytes, guarded by `lock` if there is one; `tag` is the face's.
    ///
    /// # Errors
    /// The heap is over its budget or out of memory; this process belongs to no family.
    pub fn new(len: usize, tag: u64, lock: Option<AnyLock>) -> Result<Self> {
        let object = Object::<CellState>::create(len, |state, _| {
            state.len.store(len as u64, Ordering::Relaxed);
            state.tag.store(tag, Ordering::Relaxed);
        })?;
        let cell = Self { object, lock };
        debug_assert_eq!(cell.data().as_ptr().addr() % Self::ALIGNMENT, 0);
        Ok(cell)
    }

    /// How many bytes there are.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        let len = self.object.len.load(Ordering::Relaxed) as usize;
        len.min(self.object.extra().len())
    }

    /// Are there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What it was made with.
    #[must_use]
    pub fn tag(&self) -> u64 {
        self.object.tag.load(Ordering::Relaxed)
    }

    /// The address of the first byte in this process, for faces that hand out raw memory. Other processes may write there
    /// at any time.
    #[inline]
    #[must_use]
    pub fn data(&self) -> NonNull<u8> {
        self.object.extra().cast()
    }

    /// Copies the bytes from `at` on out, without touching the lock.
    ///
    /// # Panics
    /// If the range does not lie inside.
    #[inline]
    pub fn read(&self, at: usize, to: &mut [MaybeUninit<u8>]) {
        let place = self.place(at, to.len());
        // SAFETY: the range lies inside (checked), and all access to it goes through `copy`.
        unsafe { copy::out_of_shared(place, to) }
    }

    /// Copies bytes in from `at` on, without touching the lock.
    ///
    /// # Panics
    /// If the range does not lie inside.
    #[inline]
    pub fn write(&self, at: usize, from: &[MaybeUninit<u8>]) {
        let place = self.place(at, from.len());
        // SAFETY: the range lies inside (checked), and all access to it goes through `copy`.
        unsafe { copy::into_shared(from, place) }
    }

    /// The lock, if there is one.
    #[inline]
    #[must_use]
    pub const fn lock(&self) -> Option<&AnyLock> {
        self.lock.as_ref()
    }

    /// Acquires the lock for a series of accesses; does nothing if there is none. [`Acquired::OwnerDied`] is said once
    /// per holder that died inside.
    ///
    /// # Errors
    /// When `wait` gave up, or this process belongs to no family.
    pub fn acquire(&self, wait: &mut Wait<'_>) -> Result<Acquired> {
        let Some(lock) = &self.lock else {
            return Ok(Acquired::Clean);
        };
        let acquired = lock.acquire(wait)?;
        Ok(self.take_report(acquired))
    }

    /// As [`acquire`](Self::acquire), if that needs no waiting; never blocks.
    ///
    /// # Errors
    /// This process belongs to no family.
    pub fn try_acquire(&self) -> Result<Option<Acquired>> {
        let Some(lock) = &self.lock else {
            return Ok(Some(Acquired::Clean));
        };
        let acquired = lock.try_acquire()?;
        Ok(acquired.map(|acquired| self.take_report(acquired)))
    }

    /// Acquires the lock for one access whose caller has no use for the news that a holder died: it is kept for the
    /// next [`acquire`](Self::acquire).
    ///
    /// # Errors
    /// When `wait` gave up, or this process belongs to no family.
    #[inline]
    pub fn acquire_for_access(&self, wait: &mut Wait<'_>) -> Result<()> {
        if let Some(lock) = &self.lock
            && lock.acquire(wait)? == Acquired::OwnerDied
        {
            self.object.is_owed_a_report.store(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Releases the lock; does nothing if there is none, or if somebody else released it already.
    #[inline]
    pub fn release(&self) {
        if let Some(lock) = &self.lock {
            let _ = lock.release();
        }
    }

    /// The object's name within its family.
    #[must_use]
    pub fn id(&self) -> BlockId {
        self.object.id()
    }

    /// Notes that the message being serialised carries this handle; returns the indices to write in its place: the
    /// memory's and, if there is one, the lock's.
    ///
    /// # Errors
    /// As for [`handles::note`].
    pub fn note(&self) -> Result<(u32, Option<u32>)> {
        let lock = self.lock.as_ref().map(AnyLock::note).transpose()?;
        Ok((handles::note(&self.object)?, lock))
    }

    /// The handle at the indices `(memory, lock)` of the message being read.
    ///
    /// # Errors
    /// As for [`handles::resolve`].
    pub fn from_handle((memory, lock): (u32, Option<u32>)) -> Result<Self> {
        Ok(Self {
            object: handles::resolve(memory)?,
            lock: lock.map(AnyLock::from_handle).transpose()?,
        })
    }

    fn take_report(&self, acquired: Acquired) -> Acquired {
        if self.object.is_owed_a_report.swap(0, Ordering::Relaxed) == 0 {
            acquired
        } else {
            Acquired::OwnerDied
        }
    }

    #[inline]
    fn place(&self, at: usize, len: usize) -> NonNull<u8> {
        let all = self.len();
        if at > all || len > all - at {
            outside(at, len, all);
        }
        // SAFETY: inside the memory, or one past its end (checked above).
        unsafe { self.data().add(at) }
    }
}

#[cold]
#[track_caller]
fn outside(at: usize, len: usize, all: usize) -> ! {
    panic!("bytes {at} to {at}+{len} are out of range for shared memory of {all} bytes")
}
