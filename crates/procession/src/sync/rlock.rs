//! [`RLock`] and its guard.

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::time::Duration;

use procession_core::primitives::{self, Acquired};
use procession_core::shm::Wait;

use crate::error::{Error, ErrorKind, Result};
use crate::handle::travels;

/// A lock that the thread which holds it may acquire again.
///
/// It is free once each acquisition was released, which only the holding
/// thread can do. If the holder's process ends, in whatever way, exactly one
/// of those who acquire the lock afterwards is told by
/// [`RLockGuard::owner_died`]; then the lock works on as before.
///
/// # Examples
///
/// ```
/// use procession::RLock;
///
/// # fn main() -> procession::Result<()> {
/// procession::init();
/// let lock = RLock::new()?;
/// let outer = lock.acquire()?;
/// let inner = lock.acquire()?;
/// assert_eq!(lock.count(), 2);
/// drop((inner, outer));
/// assert!(!lock.is_locked());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RLock {
    pub(super) lock: primitives::RLock,
}

travels!(RLock {
    lock: primitives::RLock
});

impl RLock {
    /// A free lock.
    ///
    /// # Errors
    ///
    /// Shared memory is exhausted.
    pub fn new() -> Result<Self> {
        Ok(Self {
            lock: primitives::RLock::new()?,
        })
    }

    /// Acquires the lock, waiting for as long as it takes; at once if this
    /// thread holds it already.
    ///
    /// # Errors
    ///
    /// This process was forked in a way that left it outside the program's
    /// family of processes.
    #[inline]
    pub fn acquire(&self) -> Result<RLockGuard<'_>> {
        let acquired = self.lock.acquire(&mut Wait::forever())?;
        Ok(self.guard(acquired))
    }

    /// Acquires the lock if nobody but this thread holds it; never blocks.
    ///
    /// # Errors
    ///
    /// As for [`acquire`](Self::acquire).
    #[inline]
    pub fn try_acquire(&self) -> Result<Option<RLockGuard<'_>>> {
        let acquired = self.lock.try_acquire()?;
        Ok(acquired.map(|acquired| self.guard(acquired)))
    }

    /// Acquires the lock, waiting for at most `timeout`; `None` if that was
    /// not enough.
    ///
    /// # Errors
    ///
    /// As for [`acquire`](Self::acquire).
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Option<RLockGuard<'_>>> {
        let mut wait = Wait::for_duration(Some(timeout));
        let acquired = super::in_time(self.lock.acquire(&mut wait))?;
        Ok(acquired.map(|acquired| self.guard(acquired)))
    }

    /// Takes one acquisition of this thread back whose guard was
    /// [leaked](RLockGuard::leak).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WrongState`] if this thread does not hold the lock.
    pub fn release(&self) -> Result<()> {
        self.lock
            .release()
            .map_err(|error| Error::new(ErrorKind::WrongState, error.to_string()))
    }

    /// How often its holder has acquired and not released it.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.lock.count()
    }

    /// Whether some process holds the lock.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.lock.is_locked()
    }

    #[inline]
    fn guard(&self, acquired: Acquired) -> RLockGuard<'_> {
        RLockGuard {
            lock: self,
            owner_died: acquired == Acquired::OwnerDied,
            of_this_thread: PhantomData,
        }
    }
}

/// One acquisition of an [`RLock`]; dropping it takes it back. It stays on its
/// thread.
#[derive(Debug)]
#[must_use = "the lock is released when its guard is dropped"]
pub struct RLockGuard<'a> {
    lock: &'a RLock,
    owner_died: bool,
    of_this_thread: PhantomData<*const ()>,
}

impl RLockGuard<'_> {
    /// Whether the holder before died with the lock, so that what it protects
    /// may be half changed. Nobody else is told.
    #[must_use]
    pub const fn owner_died(&self) -> bool {
        self.owner_died
    }

    /// Leaves the lock acquired; this thread calls [`RLock::release`] later.
    pub fn leak(self) {
        let _ = ManuallyDrop::new(self);
    }
}

impl Drop for RLockGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        // It is not this thread's any more only if `release` was called too often.
        let _ = self.lock.lock.release();
    }
}
