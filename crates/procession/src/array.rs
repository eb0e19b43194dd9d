//! [`Array`] and its guard.

use std::marker::PhantomData;
use std::ops::{Deref, RangeBounds};
use std::time::Duration;

use procession_core::primitives::Acquired;
use procession_core::shm::Wait;
use serde::{Deserialize, Serialize};

use crate::elements::Elements;
use crate::error::Result;
use crate::raw::RawArray;
use crate::shared::Shared;
use crate::sync::in_time;

/// A fixed number of elements of type `T` that processes share, with a lock.
///
/// It is a handle: clone it, pass it to processes and tasks, send it in
/// messages. Each access takes the lock for itself; for a series of accesses,
/// take it with [`lock`](Self::lock).
///
/// If a process dies while it holds the lock, the lock is free again; the next
/// guard says so ([`ArrayGuard::owner_died`]), and the elements are what the
/// dead process left.
///
/// # Panics
///
/// The accesses panic in a process that was forked in a way that left it
/// outside the program's family of processes.
///
/// # Examples
///
/// ```
/// use procession::{Array, Process};
///
/// fn square(numbers: Array<i64>) {
///     for (index, number) in numbers.iter().enumerate() {
///         numbers.set(index, number * number);
///     }
/// }
///
/// # fn main() -> procession::Result<()> {
/// procession::init();
/// let numbers = Array::from_iter(1..=4)?;
/// Process::new(square).args((numbers.clone(),)).start()?.join()?;
/// assert_eq!(numbers.to_vec(), [1, 4, 9, 16]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound(serialize = "", deserialize = "T: Shared"), transparent)]
pub struct Array<T> {
    raw: RawArray<T>,
}

impl<T: Shared> Array<T> {
    /// `len` elements of which all bytes are 0.
    ///
    /// # Errors
    ///
    /// Shared memory is exhausted.
    pub fn zeroed(len: usize) -> Result<Self> {
        Ok(Self::of(Elements::zeroed(len, true)?))
    }

    /// Copies of these elements.
    ///
    /// # Errors
    ///
    /// Shared memory is exhausted.
    pub fn from_slice(values: &[T]) -> Result<Self> {
        Ok(Self::of(Elements::from_slice(values, true)?))
    }

    /// The elements that `values` yields.
    ///
    /// # Errors
    ///
    /// Shared memory is exhausted.
    #[expect(
        clippy::should_implement_trait,
        reason = "it can fail, which `FromIterator` cannot"
    )]
    pub fn from_iter(values: impl IntoIterator<Item = T>) -> Result<Self> {
        Self::from_slice(&Vec::from_iter(values))
    }

    /// How many elements there are.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// A copy of one element.
    ///
    /// # Panics
    ///
    /// If `index` is out of bounds.
    #[inline]
    #[must_use]
    #[track_caller]
    pub fn get(&self, index: usize) -> T {
        let _lock = self.raw.elements.lock_for_access();
        self.raw.get(index)
    }

    /// Replaces one element.
    ///
    /// # Panics
    ///
    /// If `index` is out of bounds.
    #[inline]
    #[track_caller]
    pub fn set(&self, index: usize, value: T) {
        let _lock = self.raw.elements.lock_for_access();
        self.raw.set(index, value);
    }

    /// A copy of all elements.
    #[must_use]
    pub fn to_vec(&self) -> Vec<T> {
        self.slice(..)
    }

    /// A copy of the elements in `range`.
    ///
    /// # Panics
    ///
    /// If the range is out of bounds.
    #[must_use]
    #[track_caller]
    pub fn slice(&self, range: impl RangeBounds<usize>) -> Vec<T> {
        let _lock = self.raw.elements.lock_for_access();
        self.raw.slice(range)
    }

    /// Copies the elements from `start` on into `target`, which is filled.
    ///
    /// # Panics
    ///
    /// If that is out of bounds.
    #[track_caller]
    pub fn copy_to(&self, start: usize, target: &mut [T]) {
        let _lock = self.raw.elements.lock_for_access();
        self.raw.copy_to(start, target);
    }

    /// Copies `source` over the elements from `start` on.
    ///
    /// # Panics
    ///
    /// If that is out of bounds.
    #[track_caller]
    pub fn copy_from(&self, start: usize, source: &[T]) {
        let _lock = self.raw.elements.lock_for_access();
        self.raw.copy_from(start, source);
    }

    /// The elements as they are now, one after the other. The lock is not held
    /// meanwhile.
    pub fn iter(&self) -> std::vec::IntoIter<T> {
        self.to_vec().into_iter()
    }

    /// Takes the lock, waiting for as long as it takes. This thread can go on
    /// using the array itself too: the lock is reentrant.
    ///
    /// # Errors
    ///
    /// This process was forked in a way that left it outside the program's
    /// family of processes.
    pub fn lock(&self) -> Result<ArrayGuard<'_, T>> {
        let acquired = self.raw.elements.cell().acquire(&mut Wait::forever())?;
        Ok(self.guard(acquired))
    }

    /// Takes the lock if nobody holds it; never blocks.
    ///
    /// # Errors
    ///
    /// As for [`lock`](Self::lock).
    pub fn try_lock(&self) -> Result<Option<ArrayGuard<'_, T>>> {
        let acquired = self.raw.elements.cell().try_acquire()?;
        Ok(acquired.map(|acquired| self.guard(acquired)))
    }

    /// Takes the lock, waiting for at most `timeout`; `None` if that was not
    /// enough.
    ///
    /// # Errors
    ///
    /// As for [`lock`](Self::lock).
    pub fn lock_timeout(&self, timeout: Duration) -> Result<Option<ArrayGuard<'_, T>>> {
        let mut wait = Wait::for_duration(Some(timeout));
        let acquired = in_time(self.raw.elements.cell().acquire(&mut wait))?;
        Ok(acquired.map(|acquired| self.guard(acquired)))
    }

    fn of(elements: Elements<T>) -> Self {
        Self {
            raw: RawArray { elements },
        }
    }

    fn guard(&self, acquired: Acquired) -> ArrayGuard<'_, T> {
        ArrayGuard {
            raw: &self.raw,
            owner_died: acquired == Acquired::OwnerDied,
            of_this_thread: PhantomData,
        }
    }
}

impl<T: Shared> IntoIterator for &Array<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// An [`Array`] whose lock is held: its accesses do not take it again.
/// Dropping the guard releases the lock.
#[derive(Debug)]
#[must_use = "the lock is released when its guard is dropped"]
pub struct ArrayGuard<'a, T> {
    raw: &'a RawArray<T>,
    owner_died: bool,
    of_this_thread: PhantomData<*const ()>,
}

impl<T> ArrayGuard<'_, T> {
    /// Whether a process has died while it held the lock, so that the elements
    /// may be half changed. Nobody else is told.
    #[must_use]
    pub const fn owner_died(&self) -> bool {
        self.owner_died
    }
}

impl<T> Deref for ArrayGuard<'_, T> {
    type Target = RawArray<T>;

    fn deref(&self) -> &RawArray<T> {
        self.raw
    }
}

impl<T> Drop for ArrayGuard<'_, T> {
    fn drop(&mut self) {
        self.raw.elements.release();
    }
}
