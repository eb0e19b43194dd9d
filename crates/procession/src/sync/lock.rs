//! [`Lock`] and its guard.

use std::mem::ManuallyDrop;
use std::time::Duration;

use procession_core::primitives::{self, Acquired};
use procession_core::shm::Wait;

use crate::error::{Error, ErrorKind, Result};
use crate::handle::travels;

/// Mutual exclusion between the threads of all processes of a program.
///
/// It is not reentrant: a thread that acquires it twice waits for itself; see
/// [`RLock`](crate::RLock). The lock belongs to the process that acquired it,
/// yet any process may [`release`](Self::release) it.
///
/// If the holder ends, in whatever way, exactly one of those who acquire the
/// lock afterwards is told by [`LockGuard::owner_died`]; then the lock works
/// on as before.
///
/// # Examples
///
/// ```
/// use procession::{Lock, Process, Value};
///
/// fn count(lock: Lock, number: Value<u32>) -> procession::Result<()> {
///     for _ in 0..100 {
///         let _guard = lock.acquire()?;
///         number.set(number.get() + 1);
///     }
///     Ok(())
/// }
///
/// # fn main() -> procession::Result<()> {
/// procession::init();
/// let (lock, number) = (Lock::new()?, Value::new(0)?);
/// let child = Process::new(count).args((lock.clone(), number.clone())).start()?;
/// count(lock, number.clone())?;
/// child.join()?;
/// assert_eq!(number.get(), 200);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Lock {
    pub(super) lock: primitives::Lock,
}

travels!(Lock {
    lock: primitives::Lock
});

impl Lock {
    /// A free lock.
    ///
    /// # Errors
    ///
    /// Shared memory is exhausted.
    pub fn new() -> Result<Self> {
        Ok(Self {
            lock: primitives::Lock::new()?,
        })
    }

    /// Acquires the lock, waiting for as long as it takes.
    ///
    /// # Errors
    ///
    /// This process was forked in a way that left it outside the program's
    /// family of processes.
    #[inline]
    pub fn acquire(&self) -> Result<LockGuard<'_>> {
        let acquired = self.lock.acquire(&mut Wait::forever())?;
        Ok(self.guard(acquired))
    }

    /// Acquires the lock if nobody holds it; never blocks.
    ///
    /// # Errors
    ///
    /// As for [`acquire`](Self::acquire).
    #[inline]
    pub fn try_acquire(&self) -> Result<Option<LockGuard<'_>>> {
        let acquired = self.lock.try_acquire()?;
        Ok(acquired.map(|acquired| self.guard(acquired)))
    }

    /// Acquires the lock, waiting for at most `timeout`; `None` if that was
    /// not enough.
    ///
    /// # Errors
    ///
    /// As for [`acquire`](Self::acquire).
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Option<LockGuard<'_>>> {
        let mut wait = Wait::for_duration(Some(timeout));
        let acquired = super::in_time(self.lock.acquire(&mut wait))?;
        Ok(acquired.map(|acquired| self.guard(acquired)))
    }

    /// Releases the lock, whichever process holds it. For locks whose guard
    /// was [leaked](LockGuard::leak), or that another process acquired.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WrongState`] if nobody holds the lock.
    pub fn release(&self) -> Result<()> {
        self.lock
            .release()
            .map_err(|error| Error::new(ErrorKind::WrongState, error.to_string()))
    }

    /// Whether some process holds the lock.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.lock.is_locked()
    }

    #[inline]
    fn guard(&self, acquired: Acquired) -> LockGuard<'_> {
        LockGuard {
            lock: self,
            owner_died: acquired == Acquired::OwnerDied,
        }
    }
}

/// A held [`Lock`]; dropping it releases the lock.
#[derive(Debug)]
#[must_use = "the lock is released when its guard is dropped"]
pub struct LockGuard<'a> {
    lock: &'a Lock,
    owner_died: bool,
}

impl LockGuard<'_> {
    /// Whether the holder before died with the lock, so that what it protects
    /// may be half changed. Nobody else is told.
    #[must_use]
    pub const fn owner_died(&self) -> bool {
        self.owner_died
    }

    /// Leaves the lock held; [`Lock::release`] releases it later, in this
    /// process or another.
    pub fn leak(self) {
        let _ = ManuallyDrop::new(self);
    }
}

impl Drop for LockGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        // It is free already if another process has released it.
        let _ = self.lock.lock.release();
    }
}
