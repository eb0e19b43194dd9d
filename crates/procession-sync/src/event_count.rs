//! `RawEventCount`: sleeping until a condition held elsewhere may have changed.
//!
//! Used by queues: the condition is their own words, and a notifier that finds nobody waiting
//! pays a fence and a load. After Vyukov's event count, with "someone waits" as one bit instead
//! of a count, because a count would be wrong for ever once a waiter is killed.
//!
//! A waiter that dies leaves at most the bit set: the next notification finds nobody to wake and
//! clears it. A notifier that dies between its change and its wake strands a sleeper for one
//! second at most, since no wait is longer.

use crate::primitive::{AtomicU32, Ordering, const_unless_loom, fence};
use crate::{OwnerId, Stop, Waiter};

const WAITERS: u32 = 1;
const EPOCH: u32 = 2;

/// A place to sleep until notified. All-zero bytes are its fresh state.
///
/// The waiter: [`prepare`](Self::prepare), look at the condition, and if there is still reason to
/// sleep, [`wait`](Self::wait); then from the start. The notifier: change the condition, then
/// [`notify_one`](Self::notify_one) or [`notify_all`](Self::notify_all).
#[derive(Debug)]
#[repr(C)]
pub struct RawEventCount {
    /// | bits | meaning |
    /// |---|---|
    /// | 0 | someone has prepared to sleep |
    /// | 1 to 31 | epoch: how many notifications found bit 0 set |
    word: AtomicU32,
}

/// What [`RawEventCount::prepare`] saw; its `wait` sleeps only while that is still so.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
#[must_use = "a ticket is for one `wait`"]
pub struct Ticket(u32);

impl Ticket {
    /// What the event count's word holds for as long as nobody has notified.
    #[must_use]
    pub const fn expected(self) -> u32 {
        self.0
    }
}

impl RawEventCount {
    const_unless_loom! {
        /// An event count on which nobody waits.
        #[must_use]
        pub const fn new() -> Self {
            Self { word: AtomicU32::new(0) }
        }
    }

    /// Announces that the caller is about to sleep. It must look at its condition afterwards,
    /// and may then drop the ticket: that costs one needless wake at most.
    pub fn prepare(&self) -> Ticket {
        let ticket = self.word.fetch_or(WAITERS, Ordering::Relaxed) | WAITERS;

        // SYNC: waiter announced -> notify
        fence(Ordering::SeqCst);
        Ticket(ticket)
    }

    /// Sleeps until notified after the ticket was made, until `watched` dies, for one second at
    /// most, or for no reason. The caller looks at its condition in any case.
    ///
    /// # Errors
    ///
    /// [`Stop`] when the waiter gave up.
    pub fn wait<W: Waiter>(
        &self,
        ticket: Ticket,
        waiter: &mut W,
        watched: Option<OwnerId>,
    ) -> Result<(), Stop> {
        let slept = waiter.wait(&self.word, ticket.0, watched);

        // The notification that came meanwhile may have been meant for another sleeper.
        if slept.is_err() && self.word.load(Ordering::Relaxed) != ticket.0 {
            waiter.wake(&self.word, 1);
        }
        slept
    }

    /// The word to sleep on, while it holds the [value](Ticket::expected) that a ticket was made of: for waiters that
    /// watch several event counts in one sleep.
    #[must_use]
    pub const fn word(&self) -> &AtomicU32 {
        &self.word
    }

    /// Wakes one of those who wait, if any. The caller has changed the condition before.
    #[inline]
    pub fn notify_one<W: Waiter>(&self, waiter: &W) {
        self.notify(waiter, 1);
    }

    /// Wakes all who wait, if any. The caller has changed the condition before.
    #[inline]
    pub fn notify_all<W: Waiter>(&self, waiter: &W) {
        self.notify(waiter, u32::MAX);
    }

    #[inline]
    fn notify<W: Waiter>(&self, waiter: &W, count: u32) {
        // SYNC: waiter announced -> notify
        fence(Ordering::SeqCst);
        if self.word.load(Ordering::Relaxed) & WAITERS != 0 {
            self.notify_slow(waiter, count);
        }
    }

    #[cold]
    fn notify_slow<W: Waiter>(&self, waiter: &W, count: u32) {
        let word = self
            .word
            .fetch_add(EPOCH, Ordering::Relaxed)
            .wrapping_add(EPOCH);
        if waiter.wake(&self.word, count) != 0 {
            return;
        }

        let cleared =
            self.word
                .compare_exchange(word, word & !WAITERS, Ordering::Relaxed, Ordering::Relaxed);
        // Someone may have prepared and fallen asleep between the wake and the clearing; no
        // later notification would see it.
        if cleared.is_ok() && word & WAITERS != 0 {
            waiter.wake(&self.word, u32::MAX);
        }
    }
}

impl Default for RawEventCount {
    fn default() -> Self {
        Self::new()
    }
}
