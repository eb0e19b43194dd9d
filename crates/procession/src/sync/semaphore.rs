//! [`Semaphore`], [`BoundedSemaphore`] and their guard.

use std::mem::ManuallyDrop;
use std::time::Duration;

use procession_core::primitives;
use procession_core::shm::Wait;

use crate::error::{Error, ErrorKind, Result};
use crate::handle::travels;

/// A number of permits that processes take and give back.
///
/// A permit belongs to nobody: any process may [`release`](Self::release),
/// whether it acquired or not, which adds a permit. So the permits of a
/// process that dies are not given back either. A waiter that dies takes none.
///
/// # Examples
///
/// ```
/// use procession::Semaphore;
///
/// # fn main() -> procession::Result<()> {
/// procession::init();
/// let semaphore = Semaphore::new(2)?;
/// let first = semaphore.acquire()?;
/// let second = semaphore.acquire()?;
/// assert!(semaphore.try_acquire()?.is_none());
/// drop(first);
/// second.forget();
/// assert_eq!(semaphore.value(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Semaphore {
    semaphore: primitives::Semaphore,
}

/// A [`Semaphore`] that refuses to have more permits than it was made with.
///
/// # Examples
///
/// ```
/// use procession::{BoundedSemaphore, ErrorKind};
///
/// # fn main() -> procession::Result<()> {
/// procession::init();
/// let semaphore = BoundedSemaphore::new(1)?;
/// let error = semaphore.release().unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::TooManyReleases);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct BoundedSemaphore {
    semaphore: primitives::Semaphore,
}

travels!(Semaphore {
    semaphore: primitives::Semaphore
});
travels!(BoundedSemaphore {
    semaphore: primitives::Semaphore
});

impl Semaphore {
    /// A semaphore with `value` permits.
    ///
    /// # Errors
    ///
    /// Shared memory is exhausted; `value` is 2³¹ or more.
    pub fn new(value: u32) -> Result<Self> {
        Ok(Self {
            semaphore: primitives::Semaphore::new(value)?,
        })
    }
}

impl BoundedSemaphore {
    /// A semaphore with `value` permits, which is as many as there can be.
    ///
    /// # Errors
    ///
    /// Shared memory is exhausted; `value` is 2³¹ or more.
    pub fn new(value: u32) -> Result<Self> {
        Ok(Self {
            semaphore: primitives::Semaphore::bounded(value)?,
        })
    }
}

macro_rules! permits {
    ($semaphore:ident, $refuses:literal) => {
        impl $semaphore {
            /// Takes a permit, waiting for as long as it takes. The guard
            /// gives it back.
            ///
            /// # Errors
            ///
            /// None at present.
            #[inline]
            pub fn acquire(&self) -> Result<SemaphoreGuard<'_>> {
                self.semaphore.acquire(&mut Wait::forever().for_answer())?;
                Ok(self.guard())
            }

            /// Takes a permit if there is one; never blocks.
            ///
            /// # Errors
            ///
            /// None at present.
            #[inline]
            pub fn try_acquire(&self) -> Result<Option<SemaphoreGuard<'_>>> {
                Ok(self.semaphore.try_acquire().then(|| self.guard()))
            }

            /// Takes a permit, waiting for at most `timeout`; `None` if that
            /// was not enough.
            ///
            /// # Errors
            ///
            /// None at present.
            pub fn acquire_timeout(&self, timeout: Duration) -> Result<Option<SemaphoreGuard<'_>>> {
                let mut wait = Wait::for_duration(Some(timeout)).for_answer();
                let acquired = super::in_time(self.semaphore.acquire(&mut wait))?;
                Ok(acquired.map(|()| self.guard()))
            }

            /// Adds a permit, whoever took one, and wakes one that waits.
            ///
            /// # Errors
            ///
            #[doc = $refuses]
            pub fn release(&self) -> Result<()> {
                self.semaphore
                    .release()
                    .map_err(|error| Error::new(ErrorKind::TooManyReleases, error.to_string()))
            }

            /// How many permits there are.
            #[must_use]
            pub fn value(&self) -> u32 {
                self.semaphore.value()
            }

            #[inline]
            fn guard(&self) -> SemaphoreGuard<'_> {
                SemaphoreGuard {
                    semaphore: &self.semaphore,
                }
            }
        }
    };
}

permits!(
    Semaphore,
    "[`ErrorKind::TooManyReleases`] at 2³¹ - 1 permits."
);
permits!(
    BoundedSemaphore,
    "[`ErrorKind::TooManyReleases`] if there are as many permits as in the beginning."
);

/// A permit taken; dropping it gives the permit back.
#[derive(Debug)]
#[must_use = "the permit is given back when its guard is dropped"]
pub struct SemaphoreGuard<'a> {
    semaphore: &'a primitives::Semaphore,
}

impl SemaphoreGuard<'_> {
    /// Keeps the permit; `release` gives it back later, in this process or
    /// another.
    pub fn forget(self) {
        let _ = ManuallyDrop::new(self);
    }
}

impl Drop for SemaphoreGuard<'_> {
    #[inline]
    fn drop(&mut self) {
        // Refused only if others have released more than they acquired.
        let _ = self.semaphore.release();
    }
}
