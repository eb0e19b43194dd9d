//! `RawEvent`: a flag that processes wait for.
//!
//! Used by the faces' `Event` and wherever something happens once (closed, broken, ready). A
//! flag and a sequence in one word: those who waited before a `set` are released by it even if a
//! `clear` follows before they look.
//!
//! A waiter that is killed leaves at most its mark, which costs the next `set` one needless
//! wake. A setter that is killed between its store and its wake leaves sleepers unwoken for one
//! second at most, since no wait is longer.

use crate::primitive::{AtomicU32, Ordering, const_unless_loom};
use crate::{Stop, Waiter};

const SET: u32 = 1;
const WAITERS: u32 = 2;
const SEQUENCE: u32 = 4;

/// An event. All-zero bytes are one that is not set.
#[derive(Debug)]
#[repr(C)]
pub struct RawEvent {
    /// | bits | meaning |
    /// |---|---|
    /// | 0 | set |
    /// | 1 | someone sleeps, or did: the next `set` wakes all |
    /// | 2 to 31 | how often it was set |
    word: AtomicU32,
}

impl RawEvent {
    const_unless_loom! {
        /// An event that is not set.
        #[must_use]
        pub const fn new() -> Self {
            Self { word: AtomicU32::new(0) }
        }
    }

    /// Sets the event and wakes all who wait; those who come later pass at once.
    pub fn set<W: Waiter>(&self, waiter: &W) {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let set = (word & !(SET | WAITERS)).wrapping_add(SEQUENCE) | SET;
            // SYNC: event set -> passed
            match self
                .word
                .compare_exchange_weak(word, set, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => break,
                Err(seen) => word = seen,
            }
        }

        if word & WAITERS != 0 {
            waiter.wake(&self.word, u32::MAX);
        }
    }

    /// Takes the flag down again; whoever waited before the last `set` is still released.
    pub fn clear(&self) {
        // SYNC: event set -> passed. What a setter did before its `set` is seen by whoever
        // finds the flag down.
        self.word.fetch_and(!SET, Ordering::AcqRel);
    }

    /// Whether the event is set.
    #[inline]
    #[must_use]
    pub fn is_set(&self) -> bool {
        // SYNC: event set -> passed
        self.word.load(Ordering::Acquire) & SET != 0
    }

    /// Waits until the event is set, or has been since the wait began.
    ///
    /// # Errors
    ///
    /// [`Stop`] when the waiter gave up.
    #[inline]
    pub fn wait<W: Waiter>(&self, waiter: &mut W) -> Result<(), Stop> {
        // SYNC: event set -> passed
        let word = self.word.load(Ordering::Acquire);
        if word & SET != 0 {
            Ok(())
        } else {
            self.wait_slow(word, waiter)
        }
    }

    #[cold]
    fn wait_slow<W: Waiter>(&self, mut word: u32, waiter: &mut W) -> Result<(), Stop> {
        let start = sequence(word);
        loop {
            while !passed(word, start) && waiter.spin() {
                word = self.look();
            }
            if passed(word, start) {
                return Ok(());
            }

            let marked = word | WAITERS;
            if word != marked
                && let Err(seen) = self.word.compare_exchange(
                    word,
                    marked,
                    Ordering::Relaxed,
                    // SYNC: event set -> passed
                    Ordering::Acquire,
                )
            {
                word = seen;
                continue;
            }
            let slept = waiter.wait(&self.word, marked, None);
            word = self.look();
            if let Err(stop) = slept {
                return if passed(word, start) {
                    Ok(())
                } else {
                    Err(stop)
                };
            }
        }
    }

    fn look(&self) -> u32 {
        // SYNC: event set -> passed
        self.word.load(Ordering::Acquire)
    }
}

impl Default for RawEvent {
    fn default() -> Self {
        Self::new()
    }
}

const fn sequence(word: u32) -> u32 {
    word & !(SET | WAITERS)
}

/// Whether a wait that began in `start` is over.
const fn passed(word: u32, start: u32) -> bool {
    word & SET != 0 || sequence(word) != start
}
