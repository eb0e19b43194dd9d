//! `AnyLock`: a lock of either kind, where both will do.
//!
//! Used by [`Condition`](super::Condition) and [`Cell`](super::Cell), whose users may bring their own lock. The lock is an
//! object of its own, so it can guard several things; whoever uses it here holds a handle to it beside its own.

use super::lock::Lock;
use super::rlock::RLock;
use crate::error::{ErrorKind, Result};
use crate::shm::{BlockId, Wait, identity};
use procession_sync::Acquired;
use std::fmt;

/// A [`Lock`] or an [`RLock`].
#[derive(Clone, Debug)]
pub enum AnyLock {
    /// Held by a process; any may release it.
    Lock(Lock),
    /// Held by a thread, any number of times.
    RLock(RLock),
}

/// A lock was released that the caller does not hold, or that nobody holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NotHeld;

impl fmt::Display for NotHeld {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("release a lock that is not held: acquire it first")
    }
}

impl std::error::Error for NotHeld {}

impl AnyLock {
    /// As the lock's own `acquire`.
    ///
    /// # Errors
    /// When `wait` gave up, or this process belongs to no family.
    #[inline]
    pub fn acquire(&self, wait: &mut Wait<'_>) -> Result<Acquired> {
        match self {
            Self::Lock(lock) => lock.acquire(wait),
            Self::RLock(lock) => lock.acquire(wait),
        }
    }

    /// As the lock's own `try_acquire`.
    ///
    /// # Errors
    /// This process belongs to no family.
    #[inline]
    pub fn try_acquire(&self) -> Result<Option<Acquired>> {
        match self {
            Self::Lock(lock) => lock.try_acquire(),
            Self::RLock(lock) => lock.try_acquire(),
        }
    }

    /// As the lock's own `release`.
    ///
    /// # Errors
    /// [`NotHeld`] if nobody holds it, or (an [`RLock`]) another thread does.
    #[inline]
    pub fn release(&self) -> std::result::Result<(), NotHeld> {
        match self {
            Self::Lock(lock) => lock.release().map_err(|_| NotHeld),
            Self::RLock(lock) => lock.release().map_err(|_| NotHeld),
        }
    }

    /// Does this process hold it, and if it is an [`RLock`], this thread?
    #[must_use]
    pub fn is_mine(&self) -> bool {
        match self {
            Self::Lock(lock) => lock.owner().is_some() && lock.owner() == identity::cached(),
            Self::RLock(lock) => lock.is_mine(),
        }
    }

    /// The lock object's name within its family.
    #[must_use]
    pub fn id(&self) -> BlockId {
        match self {
            Self::Lock(lock) => lock.id(),
            Self::RLock(lock) => lock.id(),
        }
    }

    /// As the lock's own `note`.
    ///
    /// # Errors
    /// As for [`note`](crate::shm::handles::note).
    pub fn note(&self) -> Result<u32> {
        match self {
            Self::Lock(lock) => lock.note(),
            Self::RLock(lock) => lock.note(),
        }
    }

    /// The lock at `index` of the message being read, of whichever kind it is.
    ///
    /// # Errors
    /// As for [`resolve`](crate::shm::handles::resolve).
    pub fn from_handle(index: u32) -> Result<Self> {
        match RLock::from_handle(index) {
            Ok(lock) => Ok(Self::RLock(lock)),
            Err(error) if error.kind() == ErrorKind::WrongKind => {
                Lock::from_handle(index).map(Self::Lock)
            }
            Err(error) => Err(error),
        }
    }

    /// Gives it up, however often the caller holds it; returns how often that is.
    pub(super) fn release_all(&self) -> u32 {
        match self {
            // Nobody holds it if somebody else has released it meanwhile, as somebody may.
            Self::Lock(lock) => lock.release().map_or(0, |()| 1),
            Self::RLock(lock) => lock.release_all().unwrap_or(0),
        }
    }

    /// Takes it back as [`release_all`](Self::release_all) gave it up, however long that takes.
    pub(super) fn reacquire(&self, count: u32) -> Acquired {
        match self {
            Self::Lock(lock) => lock.acquire_regardless(),
            Self::RLock(lock) => lock.reacquire(count.max(1)),
        }
    }
}

impl From<Lock> for AnyLock {
    fn from(lock: Lock) -> Self {
        Self::Lock(lock)
    }
}

impl From<RLock> for AnyLock {
    fn from(lock: RLock) -> Self {
        Self::RLock(lock)
    }
}
