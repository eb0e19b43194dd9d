//! `RawReentrantLock`: a robust lock that its own thread may acquire again.
//!
//! Used by the faces' `RLock` and `Condition`. A [`RawLock`] with the holder's name and a count
//! beside it, both written only while the lock is held.
//!
//! The holder's name is process and thread in one word, so what a dead process left there is
//! never taken for the name of a thread of the next owner. If the holder dies, the next to look
//! gets [`Acquired::OwnerDied`] from the lock and writes name and count anew.

use core::fmt;

use crate::primitive::{AtomicU32, AtomicU64, Ordering, const_unless_loom};
use crate::{Acquired, OwnerId, RawLock, Stop, Waiter};

/// A lock held by one thread of one process, any number of times. All-zero bytes are a free
/// lock.
#[derive(Debug)]
#[repr(C)]
pub struct RawReentrantLock {
    lock: RawLock,
    /// How often the holder has acquired and not released; 0 while free, or left by a dead
    /// holder.
    count: AtomicU32,
    /// Owner in the high half, thread in the low; 0 while free. Only the thread that it names
    /// and whoever holds the lock write it, so a thread that reads its own name holds the lock.
    holder: AtomicU64,
}

impl RawReentrantLock {
    const_unless_loom! {
        /// A free lock.
        #[must_use]
        pub const fn new() -> Self {
            Self {
                lock: RawLock::new(),
                count: AtomicU32::new(0),
                holder: AtomicU64::new(0),
            }
        }
    }

    /// Acquires the lock, waiting for as long as `waiter` allows; at once if the calling thread
    /// holds it already.
    ///
    /// # Errors
    ///
    /// [`Stop`] when the waiter gave up.
    ///
    /// # Panics
    ///
    /// If the thread holds the lock `u32::MAX` times.
    #[inline]
    pub fn acquire<W: Waiter>(&self, waiter: &mut W) -> Result<Acquired, Stop> {
        if self.is_mine(waiter) {
            self.deepen();
            return Ok(Acquired::Clean);
        }
        let acquired = self.lock.acquire(waiter)?;
        self.enter(waiter, 1);
        Ok(acquired)
    }

    /// Acquires the lock if nobody alive holds it but the calling thread; never blocks.
    ///
    /// # Panics
    ///
    /// If the thread holds the lock `u32::MAX` times.
    #[inline]
    pub fn try_acquire<W: Waiter>(&self, waiter: &W) -> Option<Acquired> {
        if self.is_mine(waiter) {
            self.deepen();
            return Some(Acquired::Clean);
        }
        let acquired = self.lock.try_acquire(waiter)?;
        self.enter(waiter, 1);
        Some(acquired)
    }

    /// Takes one acquisition back; the last one frees the lock and wakes one who sleeps.
    ///
    /// # Errors
    ///
    /// [`NotOwner`] if the calling thread does not hold the lock.
    #[inline]
    pub fn release<W: Waiter>(&self, waiter: &W) -> Result<(), NotOwner> {
        if !self.is_mine(waiter) {
            return Err(NotOwner);
        }
        let count = self.count.load(Ordering::Relaxed);
        if count > 1 {
            self.count.store(count - 1, Ordering::Relaxed);
            return Ok(());
        }
        self.leave(waiter)
    }

    /// Takes all acquisitions back and says how many they were, for [`reacquire`](Self::reacquire).
    ///
    /// # Errors
    ///
    /// [`NotOwner`] if the calling thread does not hold the lock.
    pub fn release_all<W: Waiter>(&self, waiter: &W) -> Result<u32, NotOwner> {
        if !self.is_mine(waiter) {
            return Err(NotOwner);
        }
        let count = self.count.load(Ordering::Relaxed);
        self.leave(waiter)?;
        Ok(count)
    }

    /// Acquires the lock `count` times at once, after [`release_all`](Self::release_all); heeds
    /// neither the waiter's deadline nor an interruption.
    pub fn reacquire<W: Waiter>(&self, count: u32, waiter: &mut W) -> Acquired {
        let acquired = self.lock.acquire_regardless(waiter);
        self.enter(waiter, count);
        acquired
    }

    /// Whether the calling thread holds the lock.
    #[inline]
    #[must_use]
    pub fn is_mine<W: Waiter>(&self, waiter: &W) -> bool {
        self.holder.load(Ordering::Relaxed) == name(waiter)
    }

    /// How often the holder has acquired the lock and not released it; 0 while it is free.
    #[must_use]
    pub fn count(&self) -> u32 {
        if self.lock.is_locked() {
            self.count.load(Ordering::Relaxed)
        } else {
            0
        }
    }

    /// Whether someone holds the lock, dead or alive.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.lock.is_locked()
    }

    /// Which process holds the lock, dead or alive.
    #[must_use]
    pub fn owner(&self) -> Option<OwnerId> {
        self.lock.owner()
    }

    #[inline]
    fn enter<W: Waiter>(&self, waiter: &W, count: u32) {
        self.count.store(count, Ordering::Relaxed);
        self.holder.store(name(waiter), Ordering::Relaxed);
    }

    #[inline]
    fn leave<W: Waiter>(&self, waiter: &W) -> Result<(), NotOwner> {
        self.count.store(0, Ordering::Relaxed);
        self.holder.store(0, Ordering::Relaxed);
        self.lock.release(waiter).map_err(|_| NotOwner)
    }

    #[inline]
    fn deepen(&self) {
        let count = self.count.load(Ordering::Relaxed);
        assert!(count != u32::MAX, "reentrant lock acquired too often");
        self.count.store(count + 1, Ordering::Relaxed);
    }
}

impl Default for RawReentrantLock {
    fn default() -> Self {
        Self::new()
    }
}

#[inline]
fn name<W: Waiter>(waiter: &W) -> u64 {
    u64::from(waiter.owner().to_bits()) << 32 | u64::from(waiter.thread())
}

/// A reentrant lock was released by a thread that does not hold it.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct NotOwner;

impl fmt::Display for NotOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("release a lock of another thread: acquire it in this one first")
    }
}

impl core::error::Error for NotOwner {}
