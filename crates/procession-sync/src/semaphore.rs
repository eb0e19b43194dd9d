//! `RawSemaphore`: permits, counted in one word.
//!
//! Used by the faces' `Semaphore` and `BoundedSemaphore`. The counting semaphore over a futex,
//! with "someone sleeps" as one bit instead of a count, because a count would be wrong for ever
//! once a sleeper is killed.
//!
//! A permit belongs to nobody: whoever acquires one may by design leave its release to another
//! process, so the permits of the dead are never given back. A sleeper that is killed leaves at
//! most the bit set; a releaser that is killed before its wake, or a thread killed after being
//! woken, strands a sleeper for one second at most, since no wait is longer.

use core::fmt;

use crate::primitive::{AtomicU32, Ordering, const_unless_loom};
use crate::{Stop, Waiter};

const WAITERS: u32 = 1 << 31;

/// A counting semaphore. All-zero bytes are one without permits and without a bound.
#[derive(Debug)]
#[repr(C)]
pub struct RawSemaphore {
    /// | bits 0 to 30 | bit 31 | meaning |
    /// |---|---|---|
    /// | n | 0 | n permits; nobody sleeps who is not on the way |
    /// | 0 | 1 | no permits; sleepers expect exactly this word |
    /// | n > 0 | 1 | n permits; a release must wake one |
    word: AtomicU32,
    /// How far the maximum lies below [`RawSemaphore::UNBOUNDED`]; never changes in use.
    lowered: AtomicU32,
}

impl RawSemaphore {
    /// The largest number of permits, and the maximum of a semaphore without a bound.
    pub const UNBOUNDED: u32 = WAITERS - 1;

    const_unless_loom! {
        /// A semaphore with `value` permits and room for `maximum`. Either is cut to
        /// [`UNBOUNDED`](Self::UNBOUNDED).
        #[must_use]
        pub const fn new(value: u32, maximum: u32) -> Self {
            Self {
                word: AtomicU32::new(cut(value)),
                lowered: AtomicU32::new(Self::UNBOUNDED - cut(maximum)),
            }
        }
    }

    /// Makes it what [`new`](Self::new) returns, in place, while no other thread knows it.
    pub fn initialize(&self, value: u32, maximum: u32) {
        self.lowered
            .store(Self::UNBOUNDED - cut(maximum), Ordering::Relaxed);
        self.word.store(cut(value), Ordering::Relaxed);
    }

    /// Takes a permit, waiting for as long as `waiter` allows.
    ///
    /// # Errors
    ///
    /// [`Stop`] when the waiter gave up; no permit is taken then.
    #[inline]
    pub fn acquire<W: Waiter>(&self, waiter: &mut W) -> Result<(), Stop> {
        if self.try_acquire() {
            Ok(())
        } else {
            self.acquire_slow(waiter)
        }
    }

    /// Takes a permit if there is one; never blocks.
    #[inline]
    pub fn try_acquire(&self) -> bool {
        let mut word = self.word.load(Ordering::Relaxed);
        while permits(word) != 0 {
            match self.take(word, word - 1) {
                Ok(()) => return true,
                Err(seen) => word = seen,
            }
        }
        false
    }

    /// Adds a permit and wakes one who sleeps. Anyone may, whoever acquired.
    ///
    /// # Errors
    ///
    /// [`TooManyReleases`] if there are as many permits as there may be.
    #[inline]
    pub fn release<W: Waiter>(&self, waiter: &W) -> Result<(), TooManyReleases> {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            if permits(word) >= self.maximum() {
                return Err(TooManyReleases);
            }
            // SYNC: permit released -> take
            match self.word.compare_exchange_weak(
                word,
                word + 1,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => break,
                Err(seen) => word = seen,
            }
        }

        if word & WAITERS != 0 {
            self.wake_one(waiter, word + 1);
        }
        Ok(())
    }

    /// How many permits there are.
    #[must_use]
    pub fn value(&self) -> u32 {
        permits(self.word.load(Ordering::Relaxed))
    }

    /// How many permits there may be.
    #[inline]
    #[must_use]
    pub fn maximum(&self) -> u32 {
        Self::UNBOUNDED.saturating_sub(self.lowered.load(Ordering::Relaxed))
    }

    #[inline]
    fn take(&self, from: u32, to: u32) -> Result<(), u32> {
        // SYNC: permit released -> take
        self.word
            .compare_exchange(from, to, Ordering::Acquire, Ordering::Relaxed)
            .map(|_| ())
    }

    #[cold]
    fn acquire_slow<W: Waiter>(&self, waiter: &mut W) -> Result<(), Stop> {
        let mut slept = 0;
        loop {
            let mut word = self.word.load(Ordering::Relaxed);
            while permits(word) == 0 && waiter.spin() {
                word = self.word.load(Ordering::Relaxed);
            }

            if permits(word) != 0 {
                // Others may sleep that the release which woke this one knows nothing of any
                // more.
                if self.take(word, (word - 1) | slept).is_err() {
                    continue;
                }
                if slept != 0 && permits(word) > 1 {
                    waiter.wake(&self.word, 1);
                }
                return Ok(());
            }

            if word == 0 && !self.mark(0, WAITERS) {
                continue;
            }
            let result = waiter.wait(&self.word, WAITERS, None);
            slept = WAITERS;
            if let Err(stop) = result {
                self.pass_on(waiter);
                return Err(stop);
            }
        }
    }

    /// Gives the wake that this thread may have used up to another sleeper.
    fn pass_on<W: Waiter>(&self, waiter: &W) {
        loop {
            let word = self.word.load(Ordering::Relaxed);
            if permits(word) != 0 {
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
    fn wake_one<W: Waiter>(&self, waiter: &W, word: u32) {
        if waiter.wake(&self.word, 1) == 0 {
            self.mark(word, word & !WAITERS);
        }
    }
}

impl Default for RawSemaphore {
    fn default() -> Self {
        Self::new(0, Self::UNBOUNDED)
    }
}

#[inline]
const fn permits(word: u32) -> u32 {
    word & !WAITERS
}

const fn cut(permits: u32) -> u32 {
    if permits > RawSemaphore::UNBOUNDED {
        RawSemaphore::UNBOUNDED
    } else {
        permits
    }
}

/// A semaphore was released more often than its maximum allows.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct TooManyReleases;

impl fmt::Display for TooManyReleases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("release a semaphore that has all its permits: acquire one first")
    }
}

impl core::error::Error for TooManyReleases {}
