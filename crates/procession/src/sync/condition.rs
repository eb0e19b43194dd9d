//! [`Condition`] and its guard.

use std::marker::PhantomData;
use std::time::Duration;

use procession_core::primitives::{self, Acquired, Waited};
use procession_core::{Stop, shm::Wait};

use super::{Lock, RLock};
use crate::error::{Error, ErrorKind, Result};
use crate::handle::travels;

/// Waiting for a notification, with a lock given up meanwhile.
///
/// Acquire it, look at what the lock protects, and as long as that is not as
/// it should be, wait; whoever changes it notifies.
/// [`wait_for`](ConditionGuard::wait_for) does the looking.
///
/// Notifications go to those who wait longest. One that reaches a waiter whose
/// process dies goes on to the next. If a process dies while it holds the
/// lock, the next that acquires the condition is told by
/// [`ConditionGuard::owner_died`]; if that is one that waits, its wait ends
/// with [`ErrorKind::OwnerDied`], the lock held.
///
/// # Examples
///
/// ```
/// use procession::{Condition, Process, Value};
///
/// fn produce(changed: Condition, number: Value<u32>) -> procession::Result<()> {
///     let guard = changed.acquire()?;
///     number.set(42);
///     guard.notify_all()?;
///     Ok(())
/// }
///
/// # fn main() -> procession::Result<()> {
/// procession::init();
/// let (changed, number) = (Condition::new()?, Value::new(0)?);
/// let child = Process::new(produce).args((changed.clone(), number.clone())).start()?;
///
/// let mut guard = changed.acquire()?;
/// guard.wait_for(|| number.get() == 42)?;
/// drop(guard);
/// child.join()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Condition {
    condition: primitives::Condition,
}

travels!(Condition {
    condition: primitives::Condition
});

/// A lock of either kind, for [`Condition::with_lock`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum AnyLock {
    /// A plain lock.
    Lock(Lock),
    /// A reentrant lock.
    RLock(RLock),
}

impl From<&Lock> for AnyLock {
    fn from(lock: &Lock) -> Self {
        Self::Lock(lock.clone())
    }
}

impl From<&RLock> for AnyLock {
    fn from(lock: &RLock) -> Self {
        Self::RLock(lock.clone())
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

impl Condition {
    /// A condition with a reentrant lock of its own.
    ///
    /// # Errors
    ///
    /// Shared memory is exhausted.
    pub fn new() -> Result<Self> {
        Ok(Self {
            condition: primitives::Condition::new()?,
        })
    }

    /// A condition that uses `lock`, which several conditions may share.
    ///
    /// # Errors
    ///
    /// Shared memory is exhausted.
    pub fn with_lock(lock: impl Into<AnyLock>) -> Result<Self> {
        let lock = match lock.into() {
            AnyLock::Lock(lock) => lock.lock.into(),
            AnyLock::RLock(lock) => lock.lock.into(),
        };
        Ok(Self {
            condition: primitives::Condition::with_lock(lock)?,
        })
    }

    /// Acquires the condition's lock, waiting for as long as it takes.
    ///
    /// # Errors
    ///
    /// This process was forked in a way that left it outside the program's
    /// family of processes.
    pub fn acquire(&self) -> Result<ConditionGuard<'_>> {
        let acquired = self.condition.lock().acquire(&mut Wait::forever())?;
        Ok(self.guard(acquired))
    }

    /// Acquires the condition's lock if nobody holds it; never blocks.
    ///
    /// # Errors
    ///
    /// As for [`acquire`](Self::acquire).
    pub fn try_acquire(&self) -> Result<Option<ConditionGuard<'_>>> {
        let acquired = self.condition.lock().try_acquire()?;
        Ok(acquired.map(|acquired| self.guard(acquired)))
    }

    /// Acquires the condition's lock, waiting for at most `timeout`; `None` if
    /// that was not enough.
    ///
    /// # Errors
    ///
    /// As for [`acquire`](Self::acquire).
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Option<ConditionGuard<'_>>> {
        let mut wait = Wait::for_duration(Some(timeout));
        let acquired = super::in_time(self.condition.lock().acquire(&mut wait))?;
        Ok(acquired.map(|acquired| self.guard(acquired)))
    }

    fn guard(&self, acquired: Acquired) -> ConditionGuard<'_> {
        ConditionGuard {
            condition: &self.condition,
            owner_died: acquired == Acquired::OwnerDied,
            of_this_thread: PhantomData,
        }
    }
}

/// A [`Condition`] whose lock is held; dropping it releases the lock.
#[derive(Debug)]
#[must_use = "the lock is released when its guard is dropped"]
pub struct ConditionGuard<'a> {
    condition: &'a primitives::Condition,
    owner_died: bool,
    of_this_thread: PhantomData<*const ()>,
}

impl ConditionGuard<'_> {
    /// Whether a holder died with the lock before this guard got it, in the
    /// beginning or during a wait, so that what the lock protects may be half
    /// changed. Nobody else is told.
    #[must_use]
    pub const fn owner_died(&self) -> bool {
        self.owner_died
    }

    /// Gives the lock up, waits for a notification, and takes the lock back,
    /// for however long that takes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::OwnerDied`] if a process died with the lock meanwhile; the
    /// lock is held again then too. [`ErrorKind::WrongState`] if another
    /// process has released the lock. Shared memory is exhausted.
    pub fn wait(&mut self) -> Result<()> {
        self.wait_once(&mut Wait::forever().for_answer()).map(drop)
    }

    /// As [`wait`](Self::wait), for a notification that comes within
    /// `timeout`; says whether one came.
    ///
    /// # Errors
    ///
    /// As for [`wait`](Self::wait).
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<bool> {
        self.wait_once(&mut Wait::for_duration(Some(timeout)).for_answer())
    }

    /// Waits until `is_so` says true; it is asked first, with the lock held,
    /// and again after each notification.
    ///
    /// # Errors
    ///
    /// As for [`wait`](Self::wait).
    pub fn wait_for(&mut self, mut is_so: impl FnMut() -> bool) -> Result<()> {
        while !is_so() {
            self.wait()?;
        }
        Ok(())
    }

    /// As [`wait_for`](Self::wait_for), for at most `timeout`; returns what
    /// `is_so` said last.
    ///
    /// # Errors
    ///
    /// As for [`wait`](Self::wait).
    pub fn wait_for_timeout(
        &mut self,
        timeout: Duration,
        mut is_so: impl FnMut() -> bool,
    ) -> Result<bool> {
        let mut wait = Wait::for_duration(Some(timeout)).for_answer();
        while !is_so() {
            if !self.wait_once(&mut wait)? {
                return Ok(is_so());
            }
        }
        Ok(true)
    }

    /// Notifies the one that waits longest, if any; says how many that is.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WrongState`] if another process has released the lock.
    pub fn notify_one(&self) -> Result<u32> {
        self.notify(1)
    }

    /// Notifies up to `count` of those that wait, longest first; says how
    /// many.
    ///
    /// # Errors
    ///
    /// As for [`notify_one`](Self::notify_one).
    pub fn notify(&self, count: u32) -> Result<u32> {
        Ok(self.condition.notify(count)?)
    }

    /// Notifies all that wait; says how many.
    ///
    /// # Errors
    ///
    /// As for [`notify_one`](Self::notify_one).
    pub fn notify_all(&self) -> Result<u32> {
        self.notify(u32::MAX)
    }

    fn wait_once(&mut self, wait: &mut Wait<'_>) -> Result<bool> {
        let Waited { outcome, lock } = self.condition.wait(wait)?;
        if lock == Acquired::OwnerDied {
            self.owner_died = true;
            return Err(Error::new(
                ErrorKind::OwnerDied,
                "wait for a condition: a process died with its lock; what the lock protects may be half changed",
            ));
        }
        match outcome {
            Ok(()) => Ok(true),
            Err(Stop::TimedOut) => Ok(false),
            Err(stop) => Err(procession_core::Error::from(stop).into()),
        }
    }
}

impl Drop for ConditionGuard<'_> {
    fn drop(&mut self) {
        // It is free already if another process has released it.
        let _ = self.condition.lock().release();
    }
}
