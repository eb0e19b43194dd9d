//! A lock between the threads of one process, over data that only that process has, which a fork cannot leave locked.
//!
//! Used where a blocking operation needs exclusive process-local state, so that it is waited for under the operation's
//! own deadline. The word holds the process's number as its owner. In a forked child the word still names the parent:
//! nobody in the child can hold that, so the child takes it over. Data that was locked at the fork may be half changed,
//! so the child begins afresh with the default (and leaks the old, which cannot be trusted to drop).

#![expect(unsafe_code, reason = "a lock hands out exclusive access")]

use crate::shm::wait::Wait;
use procession_sync::{Acquired, OwnerId, RawLock, Stop, Waiter};
use procession_sys::{futex, process, thread};
use std::cell::UnsafeCell;
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::AtomicU32;

pub(crate) struct LocalLock<T> {
    word: RawLock,
    /// # Safety
    /// Accessed by the word's holder alone.
    data: UnsafeCell<T>,
}

// SAFETY: the word lets one thread at a time reach the data.
unsafe impl<T: Send> Sync for LocalLock<T> {}

impl<T: Default> LocalLock<T> {
    pub(crate) fn new(data: T) -> Self {
        Self {
            word: RawLock::new(),
            data: UnsafeCell::new(data),
        }
    }

    /// Waits for the lock.
    ///
    /// # Errors
    /// Timed out or interrupted.
    #[inline]
    pub(crate) fn acquire(&self, wait: &mut Wait<'_>) -> Result<LocalGuard<'_, T>, Stop> {
        let acquired = self.word.acquire(&mut InThisProcess(Some(wait)))?;
        if acquired == Acquired::OwnerDied {
            self.begin_afresh();
        }

        Ok(LocalGuard { lock: self })
    }

    #[cold]
    fn begin_afresh(&self) {
        // SAFETY: this thread holds the word; the old value is overwritten without being looked at.
        unsafe { self.data.get().write(T::default()) };
    }
}

impl<T> fmt::Debug for LocalLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalLock")
            .field("locked", &self.word.is_locked())
            .finish_non_exhaustive()
    }
}

pub(crate) struct LocalGuard<'a, T> {
    lock: &'a LocalLock<T>,
}

impl<T> Deref for LocalGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the guard's thread holds the word.
        unsafe { &*self.lock.data.get() }
    }
}

impl<T> DerefMut for LocalGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard's thread holds the word.
        unsafe { &mut *self.lock.data.get() }
    }
}

impl<T> Drop for LocalGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        let released = self.lock.word.release(&InThisProcess(None));
        debug_assert!(released.is_ok(), "a guard holds its lock");
    }
}

/// Waits like the operation's [`Wait`], but the owner is the process's number, and any other process's is dead.
struct InThisProcess<'a, 'b>(Option<&'a mut Wait<'b>>);

impl Waiter for InThisProcess<'_, '_> {
    #[inline]
    fn owner(&self) -> OwnerId {
        const NOBODY: OwnerId = match OwnerId::from_bits(OwnerId::MASK) {
            Some(owner) => owner,
            None => unreachable!(),
        };

        // Process numbers have 22 bits.
        OwnerId::from_bits(process::id()).unwrap_or(NOBODY)
    }

    #[inline]
    fn thread(&self) -> u32 {
        thread::id()
    }

    fn is_alive(&self, owner: OwnerId) -> bool {
        owner == self.owner()
    }

    fn spin(&mut self) -> bool {
        self.0.as_mut().is_some_and(|wait| wait.spin())
    }

    fn wait(
        &mut self,
        word: &AtomicU32,
        expected: u32,
        _watched: Option<OwnerId>,
    ) -> Result<(), Stop> {
        match &mut self.0 {
            Some(wait) => wait.wait(word, expected, None),
            None => Err(Stop::TimedOut),
        }
    }

    #[inline]
    fn wake(&self, word: &AtomicU32, count: u32) -> u32 {
        futex::wake(word, count)
    }
}

#[cfg(test)]
mod tests {
    use super::LocalLock;
    use crate::shm::wait::Wait;
    use procession_sync::Stop;
    use procession_sys::process::{ExitStatus, Fork, exit_now, fork};

    #[test]
    fn one_thread_at_a_time() {
        let lock = LocalLock::new(0_u64);

        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..10_000 {
                        *lock.acquire(&mut Wait::forever()).unwrap() += 1;
                    }
                });
            }
        });

        let guard = lock.acquire(&mut Wait::never()).unwrap();
        assert_eq!(*guard, 40_000);
        assert_eq!(lock.acquire(&mut Wait::never()).err(), Some(Stop::TimedOut));
    }

    #[test]
    fn a_forked_child_begins_afresh() {
        let lock = LocalLock::new(vec![1, 2, 3]);
        let guard = lock.acquire(&mut Wait::never()).unwrap();

        // SAFETY: the child takes no lock but this one, which it is about.
        match unsafe { fork() }.unwrap() {
            Fork::Child => exit_now(match lock.acquire(&mut Wait::never()) {
                Ok(fresh) if fresh.is_empty() => 0,
                _ => 1,
            }),
            Fork::Parent(child) => {
                let status = loop {
                    if let Ok(Some(status)) = child.wait(None) {
                        break status;
                    }
                };
                assert_eq!(status, ExitStatus::Exited(0));
            }
        }
        assert_eq!(*guard, [1, 2, 3]);
    }
}
