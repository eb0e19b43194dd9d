//! `RLock`: a lock that its own thread may acquire again.
//!
//! Used by the faces' `RLock`, and as the lock of a `Condition` or `Value` that is made without one. The object is one
//! [`RawReentrantLock`]. A dead holder's lock is free again, however often it was acquired, and the next to acquire it
//! gets [`Acquired::OwnerDied`].

#![expect(unsafe_code, reason = "the layout of shared memory is a promise")]

use crate::error::Result;
use crate::shm::{BlockId, Kind, Layout, Object, Wait, handles, identity};
use procession_sync::{Acquired, NotOwner, OwnerId, RawReentrantLock};

/// A lock held by one thread of one process, any number of times.
#[derive(Clone, Debug)]
pub struct RLock {
    object: Object<RawReentrantLock>,
}

// SAFETY: atomics only, free when all are 0; no other layout has this kind.
unsafe impl Layout for RawReentrantLock {
    const KIND: Kind = Kind::REENTRANT_LOCK;
}

impl RLock {
    /// A free lock.
    ///
    /// # Errors
    /// The heap is over its budget or out of memory; this process belongs to no family.
    pub fn new() -> Result<Self> {
        Ok(Self {
            object: Object::create(0, |_, _| ())?,
        })
    }

    /// Acquires the lock; at once if the calling thread holds it already.
    ///
    /// # Errors
    /// [`TimedOut`](crate::ErrorKind::TimedOut) or [`Interrupted`](crate::ErrorKind::Interrupted) when `wait` gave up;
    /// [`NotInFamily`](crate::ErrorKind::NotInFamily) in a process that could not be told dead.
    ///
    /// # Panics
    /// If the thread holds the lock `u32::MAX` times.
    #[inline]
    pub fn acquire(&self, wait: &mut Wait<'_>) -> Result<Acquired> {
        identity::me()?;
        Ok(self.object.acquire(wait)?)
    }

    /// Acquires the lock if nobody alive holds it but the calling thread; never blocks.
    ///
    /// # Errors
    /// [`NotInFamily`](crate::ErrorKind::NotInFamily) in a process that could not be told dead.
    ///
    /// # Panics
    /// If the thread holds the lock `u32::MAX` times.
    #[inline]
    pub fn try_acquire(&self) -> Result<Option<Acquired>> {
        identity::me()?;
        Ok(self.object.try_acquire(&Wait::never()))
    }

    /// Takes one acquisition back; the last one frees the lock and wakes one that waits.
    ///
    /// # Errors
    /// [`NotOwner`] if the calling thread does not hold it.
    #[inline]
    pub fn release(&self) -> std::result::Result<(), NotOwner> {
        self.object.release(&Wait::never())
    }

    /// Does the calling thread hold it?
    #[must_use]
    pub fn is_mine(&self) -> bool {
        self.object.is_mine(&Wait::never())
    }

    /// How often its holder has acquired and not released it.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.object.count()
    }

    /// Does anybody hold it, dead or alive?
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.object.is_locked()
    }

    /// Which process holds it, dead or alive.
    #[must_use]
    pub fn owner(&self) -> Option<OwnerId> {
        self.object.owner()
    }

    /// Gives up all acquisitions of the calling thread and says how many they were.
    pub(super) fn release_all(&self) -> std::result::Result<u32, NotOwner> {
        self.object.release_all(&Wait::never())
    }

    /// Takes back what [`release_all`](Self::release_all) gave up, however long that takes.
    pub(super) fn reacquire(&self, count: u32) -> Acquired {
        self.object.reacquire(count, &mut Wait::forever())
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
