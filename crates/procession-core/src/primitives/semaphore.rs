//! `Semaphore`: permits shared by processes, with or without a bound on how many there can be.
//!
//! Used by the faces' `Semaphore` and `BoundedSemaphore`. The object is one [`RawSemaphore`]. A permit belongs to nobody,
//! so those of a process that dies are not given back; a dead waiter takes none with it.

#![expect(unsafe_code, reason = "the layout of shared memory is a promise")]

use crate::error::{Error, ErrorKind, Result};
use crate::shm::{BlockId, Kind, Layout, Object, Wait, handles};
use procession_sync::{RawSemaphore, TooManyReleases};

/// A counter of permits.
#[derive(Clone, Debug)]
pub struct Semaphore {
    object: Object<RawSemaphore>,
}

// SAFETY: atomics only, valid when all are 0; no other layout has this kind.
unsafe impl Layout for RawSemaphore {
    const KIND: Kind = Kind::SEMAPHORE;
}

impl Semaphore {
    /// How many permits there can be at most.
    pub const MAXIMUM: u32 = RawSemaphore::UNBOUNDED;

    /// A semaphore with `value` permits.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) if `value` exceeds [`MAXIMUM`](Self::MAXIMUM); the heap is over its budget or out
    /// of memory; this process belongs to no family.
    pub fn new(value: u32) -> Result<Self> {
        Self::with_maximum(value, Self::MAXIMUM)
    }

    /// A semaphore with `value` permits that refuses to have more.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn bounded(value: u32) -> Result<Self> {
        Self::with_maximum(value, value)
    }

    /// A semaphore with `value` permits that refuses to have more than `maximum`.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn with_maximum(value: u32, maximum: u32) -> Result<Self> {
        if value > maximum || maximum > Self::MAXIMUM {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!(
                    "make a semaphore with {value} permits: there can be {} at most",
                    maximum.min(Self::MAXIMUM)
                ),
            ));
        }
        let object = Object::<RawSemaphore>::create(0, |raw, _| raw.initialize(value, maximum))?;
        Ok(Self { object })
    }

    /// Takes a permit.
    ///
    /// # Errors
    /// [`TimedOut`](ErrorKind::TimedOut) or [`Interrupted`](ErrorKind::Interrupted) when `wait` gave up.
    #[inline]
    pub fn acquire(&self, wait: &mut Wait<'_>) -> Result<()> {
        Ok(self.object.acquire(wait)?)
    }

    /// Takes a permit if there is one; never blocks.
    #[inline]
    #[must_use]
    pub fn try_acquire(&self) -> bool {
        self.object.try_acquire()
    }

    /// Adds a permit, whoever took one, and wakes one that waits.
    ///
    /// # Errors
    /// [`TooManyReleases`] if there are as many as there may be.
    #[inline]
    pub fn release(&self) -> std::result::Result<(), TooManyReleases> {
        self.object.release(&Wait::never())
    }

    /// How many permits there are.
    #[must_use]
    pub fn value(&self) -> u32 {
        self.object.value()
    }

    /// How many permits there may be.
    #[must_use]
    pub fn maximum(&self) -> u32 {
        self.object.maximum()
    }

    /// The object's name within its family.
    #[must_use]
    pub fn id(&self) -> BlockId {
        self.object.id()
    }

    /// Notes that the message being serialised carries this handle; returns the index to write in its place.
    ///
    /// # Errors
    /// As for [`handles::note`].
    pub fn note(&self) -> Result<u32> {
        handles::note(&self.object)
    }

    /// The handle at `index` of the message being read.
    ///
    /// # Errors
    /// As for [`handles::resolve`].
    pub fn from_handle(index: u32) -> Result<Self> {
        Ok(Self {
            object: handles::resolve(index)?,
        })
    }
}
