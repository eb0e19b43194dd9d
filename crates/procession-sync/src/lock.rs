//! `RawLock`: mutual exclusion in one word that survives its owner.
//!
//! Used by the faces' `Lock`, by [`RawReentrantLock`](crate::RawReentrantLock) and
//! [`RawBarrier`](crate::RawBarrier), and as the internal lock of everything in the Heap. The
//! mutex with three states of Drepper's "Futexes Are Tricky", with the owner in place of "held".
//!
//! Whoever dies with it leaves its name in the word: the next to look takes over by one
//! compare-and-swap from that exact word and is the only one that gets
//! [`Acquired::OwnerDied`]. Whoever is killed between its release and its wake, or after being
//! woken, leaves sleepers unwoken for one second at most, since no wait is longer.

use core::fmt;

use crate::primitive::{AtomicU32, Ordering, const_unless_loom};
use crate::waiter::Regardless;
use crate::{Acquired, OwnerId, Stop, Waiter};

const WAITERS: u32 = 1 << 31;

/// A lock held by a process. All-zero bytes are a free lock.
///
/// The lock is the process's, not the thread's: any thread of any process may release it.
#[derive(Debug)]
#[repr(C)]
pub struct RawLock {
    /// | bits 0 to 30 | bit 31 | meaning |
    /// |---|---|---|
    /// | 0 | 0 | free; sleepers may be on their way to it |
    /// | owner | 0 | held; nobody sleeps who is not on the way |
    /// | owner | 1 | held; the release must wake one |
    word: AtomicU32,
}

impl RawLock {
    const_unless_loom! {
        /// A free lock.
        #[must_use]
        pub const fn new() -> Self {
            Self { word: AtomicU32::new(0) }
        }
    }

    /// Acquires the lock, waiting for as long as `waiter` allows.
    ///
    /// # Errors
    ///
    /// [`Stop`] when the waiter gave up; the lock is not held then.
    #[inline]
    pub fn acquire<W: Waiter>(&self, waiter: &mut W) -> Result<Acquired, Stop> {
        if self.take(0, waiter.owner().to_bits()) {
            Ok(Acquired::Clean)
        } else {
            self.acquire_slow(waiter)
        }
    }

    /// Acquires the lock, heeding neither the waiter's deadline nor an interruption.
    #[inline]
    pub fn acquire_regardless<W: Waiter>(&self, waiter: &mut W) -> Acquired {
        if self.take(0, waiter.owner().to_bits()) {
            return Acquired::Clean;
        }
        loop {
            if let Ok(acquired) = self.acquire_slow(&mut Regardless(waiter)) {
                return acquired;
            }
        }
    }

    /// Acquires the lock if nobody alive holds it; never blocks.
    #[inline]
    pub fn try_acquire<W: Waiter>(&self, waiter: &W) -> Option<Acquired> {
        if self.take(0, waiter.owner().to_bits()) {
            Some(Acquired::Clean)
        } else {
            self.try_acquire_slow(waiter)
        }
    }

    /// Releases the lock, whoever holds it, and wakes one of those who sleep.
    ///
    /// # Errors
    ///
    /// [`NotAcquired`] if nobody holds it.
    #[inline]
    pub fn release<W: Waiter>(&self, waiter: &W) -> Result<(), NotAcquired> {
        // SYNC: lock released -> take
        let word = self.word.swap(0, Ordering::Release);

        if word & WAITERS != 0 {
            self.wake_one(waiter);
        }
        if word & OwnerId::MASK == 0 {
            return Err(NotAcquired);
        }
        Ok(())
    }

    /// Whether someone holds the lock, dead or alive.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        self.owner().is_some()
    }

    /// Who holds the lock, dead or alive.
    #[must_use]
    pub fn owner(&self) -> Option<OwnerId> {
        OwnerId::in_word(self.word.load(Ordering::Relaxed))
    }

    #[inline]
    fn take(&self, from: u32, to: u32) -> bool {
        // SYNC: lock released -> take
        self.word
            .compare_exchange(from, to, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    #[cold]
    fn acquire_slow<W: Waiter>(&self, waiter: &mut W) -> Result<Acquired, Stop> {
        let mut mine = waiter.owner().to_bits();
        loop {
            let mut word = self.word.load(Ordering::Relaxed);
            while word & OwnerId::MASK != 0 && waiter.spin() {
                word = self.word.load(Ordering::Relaxed);
            }

            if let Some((to, acquired)) = takeable(waiter, word, mine) {
                if self.take(word, to) {
                    return Ok(acquired);
                }
                continue;
            }

            let marked = word | WAITERS;
            if word != marked && !self.mark(word, marked) {
                continue;
            }
            let slept = waiter.wait(&self.word, marked, OwnerId::in_word(word));

            // Others may sleep that the release which woke this one knows nothing of any more.
            mine |= WAITERS;
            if let Err(stop) = slept {
                self.pass_on(waiter);
                return Err(stop);
            }
        }
    }

    #[cold]
    fn try_acquire_slow<W: Waiter>(&self, waiter: &W) -> Option<Acquired> {
        let mine = waiter.owner().to_bits();
        loop {
            let word = self.word.load(Ordering::Relaxed);
            let (to, acquired) = takeable(waiter, word, mine)?;
            if self.take(word, to) {
                return Some(acquired);
            }
        }
    }

    /// Gives the wake that this thread may have used up to another sleeper.
    fn pass_on<W: Waiter>(&self, waiter: &W) {
        loop {
            let word = self.word.load(Ordering::Relaxed);
            if word & OwnerId::MASK == 0 {
                waiter.wake(&self.word, 1);
                return;
            }
            if word & WAITERS != 0 || self.mark(word, word | WAITERS) {
                return;
            }
        }
    }

    fn mark(&self, from: u32, to: u32) -> bool {
        self.word
            .compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    #[cold]
    fn wake_one<W: Waiter>(&self, waiter: &W) {
        waiter.wake(&self.word, 1);
    }
}

impl Default for RawLock {
    fn default() -> Self {
        Self::new()
    }
}

/// What `word` becomes when `mine` takes it, and how it was found; `None` while its owner lives.
fn takeable<W: Waiter>(waiter: &W, word: u32, mine: u32) -> Option<(u32, Acquired)> {
    let acquired = match OwnerId::in_word(word) {
        None => Acquired::Clean,
        Some(owner) if waiter.is_alive(owner) => return None,
        Some(_) => Acquired::OwnerDied,
    };
    Some((mine | word & WAITERS, acquired))
}

/// A lock was released that nobody held.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct NotAcquired;

impl fmt::Display for NotAcquired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("release a lock that is not held: acquire it first")
    }
}

impl core::error::Error for NotAcquired {}
