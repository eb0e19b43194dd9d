//! [`Value`] and its guard.

use std::marker::PhantomData;
use std::ops::Deref;
use std::time::Duration;

use procession_core::primitives::Acquired;
use procession_core::shm::Wait;
use serde::{Deserialize, Serialize};

use crate::elements::Elements;
use crate::error::Result;
use crate::raw::RawValue;
use crate::shared::Shared;
use crate::sync::in_time;

/// One value of type `T` that processes share, with a lock.
///
/// It is a handle: clone it, pass it to processes and tasks, send it in
/// messages. Each access takes the lock for itself; for a series of accesses,
/// take it with [`lock`](Self::lock), or use [`update`](Self::update).
///
/// If a process dies while it holds the lock, the lock is free again; the next
/// guard says so ([`ValueGuard::owner_died`]), and the value is what the dead
/// process left.
///
/// # Panics
///
/// The accesses panic in a process that was forked in a way that left it
/// outside the program's family of processes.
///
/// # Examples
///
/// ```
/// use procession::{Process, Value};
///
/// fn count(number: Value<u32>) {
///     for _ in 0..1000 {
///         number.update(|n| n + 1);
///     }
/// }
///
/// # fn main() -> procession::Result<()> {
/// procession::init();
/// let number = Value::new(0)?;
/// let child = Process::new(count).args((number.clone(),)).start()?;
/// count(number.clone());
/// child.join()?;
/// assert_eq!(number.get(), 2000);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound(serialize = "", deserialize = "T: Shared"), transparent)]
pub struct Value<T> {
    raw: RawValue<T>,
}

impl<T: Shared> Value<T> {
    /// A shared `value`.
    ///
    /// # Errors
    ///
    /// Shared memory is exhausted.
    pub fn new(value: T) -> Result<Self> {
        let elements = Elements::from_slice(&[value], true)?;
        Ok(Self {
            raw: RawValue { elements },
        })
    }

    /// A copy of the value.
    #[inline]
    #[must_use]
    pub fn get(&self) -> T {
        let _lock = self.raw.elements.lock_for_access();
        self.raw.get()
    }

    /// Replaces the value.
    #[inline]
    pub fn set(&self, value: T) {
        let _lock = self.raw.elements.lock_for_access();
        self.raw.set(value);
    }

    /// Replaces the value by what `change` makes of it, with the lock held,
    /// and returns the new one.
    #[inline]
    pub fn update(&self, change: impl FnOnce(T) -> T) -> T {
        let _lock = self.raw.elements.lock_for_access();
        let value = change(self.raw.get());
        self.raw.set(value);
        value
    }

    /// Takes the lock, waiting for as long as it takes. This thread can go on
    /// using the value itself too: the lock is reentrant.
    ///
    /// # Errors
    ///
    /// This process was forked in a way that left it outside the program's
    /// family of processes.
    pub fn lock(&self) -> Result<ValueGuard<'_, T>> {
        let acquired = self.raw.elements.cell().acquire(&mut Wait::forever())?;
        Ok(self.guard(acquired))
    }

    /// Takes the lock if nobody holds it; never blocks.
    ///
    /// # Errors
    ///
    /// As for [`lock`](Self::lock).
    pub fn try_lock(&self) -> Result<Option<ValueGuard<'_, T>>> {
        let acquired = self.raw.elements.cell().try_acquire()?;
        Ok(acquired.map(|acquired| self.guard(acquired)))
    }

    /// Takes the lock, waiting for at most `timeout`; `None` if that was not
    /// enough.
    ///
    /// # Errors
    ///
    /// As for [`lock`](Self::lock).
    pub fn lock_timeout(&self, timeout: Duration) -> Result<Option<ValueGuard<'_, T>>> {
        let mut wait = Wait::for_duration(Some(timeout));
        let acquired = in_time(self.raw.elements.cell().acquire(&mut wait))?;
        Ok(acquired.map(|acquired| self.guard(acquired)))
    }

    fn guard(&self, acquired: Acquired) -> ValueGuard<'_, T> {
        ValueGuard {
            raw: &self.raw,
            owner_died: acquired == Acquired::OwnerDied,
            of_this_thread: PhantomData,
        }
    }
}

/// A [`Value`] whose lock is held: `get` and `set` do not take it again.
/// Dropping the guard releases the lock.
#[derive(Debug)]
#[must_use = "the lock is released when its guard is dropped"]
pub struct ValueGuard<'a, T> {
    raw: &'a RawValue<T>,
    owner_died: bool,
    of_this_thread: PhantomData<*const ()>,
}

impl<T> ValueGuard<'_, T> {
    /// Whether a process has died while it held the lock, so that the value
    /// may be half changed. Nobody else is told.
    #[must_use]
    pub const fn owner_died(&self) -> bool {
        self.owner_died
    }
}

impl<T> Deref for ValueGuard<'_, T> {
    type Target = RawValue<T>;

    fn deref(&self) -> &RawValue<T> {
        self.raw
    }
}

impl<T> Drop for ValueGuard<'_, T> {
    fn drop(&mut self) {
        self.raw.elements.release();
    }
}
