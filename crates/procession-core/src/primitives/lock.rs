//! `Lock`: mutual exclusion between processes.
//!
//! Used by the faces' `Lock` and `Condition`. The object is one [`RawLock`]. If its holder dies, exactly one of those who
//! acquire it afterwards gets [`Acquired::OwnerDied`], within milliseconds if it waits already.

#![expect(unsafe_code, reason = "the layout of shared memory is a promise")]

use crate::error::Result;
use crate::shm::{BlockId, Kind, Layout, Object, Wait, handles, identity};
use procession_sync::{Acquired, NotAcquired, OwnerId, RawLock};

/// A lock that any process of the family may hold, and any may release.
#[derive(Clone, Debug)]
pub struct Lock {
    object: Object<RawLock>,
}

// SAFETY: one atomic word, free when it is 0; no other layout has this kind.
unsafe impl Layout for RawLock {
    const KIND: Kind = Kind::LOCK;
}

impl Lock {
    /// A free lock.
    ///
    /// # Errors
    /// The heap is over its budget or out of memory; this process belongs to no family.
    pub fn new() -> Result<Self> {
        Ok(Self {
            object: Object::create(0, |_, _| ())?,
        })
    }

    /// Acquires the lock.
    ///
    /// # Errors
    /// [`TimedOut`](crate::ErrorKind::TimedOut) or [`Interrupted`](crate::ErrorKind::Interrupted) when `wait` gave up;
    /// [`NotInFamily`](crate::ErrorKind::NotInFamily) in a process that could not be told dead.
    #[inline]
    pub fn acquire(&self, wait: &mut Wait<'_>) -> Result<Acquired> {
        identity::me()?;
        Ok(self.object.acquire(wait)?)
    }

    /// Acquires the lock if nobody alive holds it; never blocks.
    ///
    /// # Errors
    /// [`NotInFamily`](crate::ErrorKind::NotInFamily) in a process that could not be told dead.
    #[inline]
    pub fn try_acquire(&self) -> Result<Option<Acquired>> {
        identity::me()?;
        Ok(self.object.try_acquire(&Wait::never()))
    }

    /// Releases the lock, whichever process holds it, and wakes one that waits.
    ///
    /// # Errors
    /// [`NotAcquired`] if nobody holds it.
    #[inline]
    pub fn release(&self) -> std::result::Result<(), NotAcquired> {
        self.object.release(&Wait::never())
    }

    /// Acquires the lock however long that takes.
    pub(super) fn acquire_regardless(&self) -> Acquired {
        self.object.acquire_regardless(&mut Wait::forever())
    }

    /// Does anybody hold it, dead or alive?
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.object.is_locked()
    }

    /// Who holds it, dead or alive.
    #[must_use]
    pub fn owner(&self) -> Option<OwnerId> {
        self.object.owner()
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
