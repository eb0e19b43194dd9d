//! How an operation waits: injected by whoever calls it.
//!
//! The algorithms of this crate know neither an operating system nor a clock. `procession-core`
//! implements [`Waiter`] over futexes and the process table, tests over condition variables and
//! over loom. What a survivor finds when a process dies is each algorithm's matter; this file
//! only says what the algorithms may rely on.

use core::fmt;

use crate::OwnerId;
use crate::primitive::AtomicU32;

/// How one blocking operation of one thread waits and wakes.
pub trait Waiter {
    /// The calling process.
    fn owner(&self) -> OwnerId;

    /// The calling thread; not 0, and unlike that of any other live thread of the process.
    fn thread(&self) -> u32;

    /// Whether `owner` still lives; false for good once it does not, also when its slot has
    /// been taken by another process. All that it wrote happened before a false answer.
    fn is_alive(&self, owner: OwnerId) -> bool;

    /// One short step of a busy wait; false when it is time to sleep.
    fn spin(&mut self) -> bool;

    /// Sleeps while `*word == expected`, compared and put to sleep in one step as a futex does.
    ///
    /// Returns `Ok` after a wake, when `watched` dies, after one second at most, or for no
    /// reason: the caller looks again. A word that already differs is `Ok` at once.
    ///
    /// # Errors
    ///
    /// Only when the operation's own deadline has passed or its caller asked for a stop. An
    /// operation that must not block has a waiter that answers [`Stop::TimedOut`] at once.
    fn wait(
        &mut self,
        word: &AtomicU32,
        expected: u32,
        watched: Option<OwnerId>,
    ) -> Result<(), Stop>;

    /// Like [`wait`](Self::wait), but heeds neither deadline nor interruption: for short
    /// internal locks, and for locks that an operation must hold again before it can return.
    ///
    /// The provided method is right but burns a processor once the deadline has passed;
    /// implementations that really sleep replace it.
    fn wait_regardless(&mut self, word: &AtomicU32, expected: u32, watched: Option<OwnerId>) {
        if self.wait(word, expected, watched).is_err() {
            core::hint::spin_loop();
        }
    }

    /// Wakes up to `count` of those who sleep on `word`, and says how many.
    fn wake(&self, word: &AtomicU32, count: u32) -> u32;
}

/// Why an operation ended without what it waited for.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
pub enum Stop {
    /// Its deadline passed.
    TimedOut,
    /// Its caller asked it to stop, for a signal for instance.
    Interrupted,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimedOut => "wait in time: the deadline passed",
            Self::Interrupted => "wait: interrupted",
        })
    }
}

impl core::error::Error for Stop {}

/// In what state a lock was acquired.
#[derive(Copy, Clone, Debug, Eq, PartialEq, Hash)]
#[must_use = "what the lock guards may be half changed when its owner has died"]
pub enum Acquired {
    /// The holder before released it.
    Clean,
    /// The holder before died with it. Of all who wait, only this one is told.
    OwnerDied,
}

/// A waiter that heeds neither deadline nor interruption.
#[derive(Debug)]
pub(crate) struct Regardless<'a, W>(pub(crate) &'a mut W);

impl<W: Waiter> Waiter for Regardless<'_, W> {
    fn owner(&self) -> OwnerId {
        self.0.owner()
    }

    fn thread(&self) -> u32 {
        self.0.thread()
    }

    fn is_alive(&self, owner: OwnerId) -> bool {
        self.0.is_alive(owner)
    }

    fn spin(&mut self) -> bool {
        self.0.spin()
    }

    fn wait(
        &mut self,
        word: &AtomicU32,
        expected: u32,
        watched: Option<OwnerId>,
    ) -> Result<(), Stop> {
        self.0.wait_regardless(word, expected, watched);
        Ok(())
    }

    fn wake(&self, word: &AtomicU32, count: u32) -> u32 {
        self.0.wake(word, count)
    }
}
