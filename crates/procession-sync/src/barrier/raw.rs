//! `RawBarrier`: parties that wait until all of them have come.
//!
//! Used by the faces' `Barrier`; the states are those of Python's `threading.Barrier`. Truth lies
//! in one state word and a table with the owner of each participant that has arrived and not
//! left: how many there are is counted, never stored, so a process that dies between any two
//! stores leaves nothing to repair but its own entries.
//!
//! The death of a participant before the release breaks the barrier for the others: whoever
//! arrives, leaves or looks finds its name in the table. Each participant watches another
//! process that came before it, and all look once a second at least. The internal lock is
//! robust: its dead owner's changes are single stores, and whoever takes it over only has to
//! wake the sleepers again.

use core::fmt;

use super::locked::{Locked, present};
use super::round::Round;
use crate::primitive::{AtomicU32, Ordering, const_unless_loom};
use crate::{RawLock, Stop, Waiter};

/// The bits of the word that hold the state; the others count its changes.
pub(super) const STATUS: u32 = 7;
/// The participants gather.
pub(super) const FILLING: u32 = 0;
/// All have come; the last one runs the action.
pub(super) const ACTING: u32 = 1;
/// The release: all leave, and whoever comes for the next round waits until they have.
pub(super) const DRAINING: u32 = 2;
/// Someone gave up, failed or died: all who are here or come fail until a reset.
pub(super) const BROKEN: u32 = 3;
/// Reset with participants inside: they fail, and then the barrier fills again.
pub(super) const RESETTING: u32 = 4;

/// A barrier. All-zero bytes are one without parties: see [`initialize`](Self::initialize).
///
/// Its methods get the table of participants: as many words as there are parties, all zero in
/// the beginning, and the same ones in each call.
#[derive(Debug)]
#[repr(C)]
pub struct RawBarrier {
    /// Held while the state or the table change.
    pub(super) lock: RawLock,
    /// | bits 0 to 2 | next |
    /// |---|---|
    /// | 0 filling | 1 all came, with an action; 2 all came; 3 timeout, interrupt, death, abort; 4 reset |
    /// | 1 acting | 2 action done; 3 action failed, death, abort; 4 reset |
    /// | 2 draining | 0 the last one left; 3 abort |
    /// | 3 broken | 0 reset while empty; 4 reset |
    /// | 4 resetting | 0 the last one left; 3 abort |
    ///
    /// Bits 3 to 31 count the changes, so that a sleeper notices a state that has come back.
    pub(super) word: AtomicU32,
    parties: AtomicU32,
}

/// Why a wait at a barrier failed.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum BarrierError<E> {
    /// The barrier is broken or was reset, or a participant died.
    Broken,
    /// This wait gave up, which broke the barrier for the others.
    Stopped(Stop),
    /// The action failed with this, which broke the barrier for the others.
    Action(E),
}

impl<E: fmt::Display> fmt::Display for BarrierError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken => f.write_str("pass a broken barrier: reset it first"),
            Self::Stopped(stop) => write!(f, "pass the barrier: {stop}"),
            Self::Action(error) => write!(f, "run the barrier's action: {error}"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for BarrierError<E> {}

impl RawBarrier {
    const_unless_loom! {
        /// A barrier for `parties` participants, at least one.
        #[must_use]
        pub const fn new(parties: u32) -> Self {
            Self {
                lock: RawLock::new(),
                word: AtomicU32::new(FILLING),
                parties: AtomicU32::new(parties),
            }
        }
    }

    /// Makes a barrier of all-zero bytes one for `parties` participants, at least one, while no
    /// other thread knows it.
    pub fn initialize(&self, parties: u32) {
        self.parties.store(parties, Ordering::Relaxed);
    }

    /// Waits until all parties have come, and says as how many-th this one came, from 0. The
    /// last one runs `action` before any of them passes, with no internal lock held.
    ///
    /// # Errors
    ///
    /// [`BarrierError`]. Whatever the reason, all participants fail; after any but a reset the
    /// barrier stays broken until [`reset`](Self::reset). An `action` that unwinds breaks it too.
    pub fn wait<W, A, E>(
        &self,
        waiter: &mut W,
        table: &[AtomicU32],
        action: Option<A>,
    ) -> Result<u32, BarrierError<E>>
    where
        W: Waiter,
        A: FnOnce() -> Result<(), E>,
    {
        let (mut round, index) = Round::enter(self, waiter, table, action.is_some())?;

        match action {
            Some(action) if index + 1 >= self.parties() => {
                action().map_err(BarrierError::Action)?;
                round.finish_action()?;
            }
            _ => round.await_release()?,
        }
        Ok(index)
    }

    /// Breaks the barrier: all who wait fail, and whoever comes, until a reset. Those already
    /// released still pass.
    pub fn abort<W: Waiter>(&self, waiter: &mut W, table: &[AtomicU32]) {
        Locked::new(self, waiter, table).break_barrier();
    }

    /// Makes the barrier fresh again: all who wait fail, and whoever comes next waits for a full
    /// round.
    pub fn reset<W: Waiter>(&self, waiter: &mut W, table: &[AtomicU32]) {
        let mut locked = Locked::new(self, waiter, table);
        match locked.status() {
            FILLING if present(table) == 0 => {}
            FILLING | ACTING => locked.change(RESETTING),
            BROKEN => {
                locked.change(RESETTING);
                locked.settle();
            }
            _ => {}
        }
    }

    /// How many participants a release needs.
    #[must_use]
    pub fn parties(&self) -> u32 {
        self.parties.load(Ordering::Relaxed)
    }

    /// How many have arrived and wait for the others.
    #[must_use]
    pub fn n_waiting(&self, table: &[AtomicU32]) -> u32 {
        if self.status() == FILLING {
            present(table)
        } else {
            0
        }
    }

    /// Whether the barrier is broken.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.status() == BROKEN
    }

    /// The state and the count of its changes.
    pub(super) fn state(&self) -> u32 {
        self.word.load(Ordering::Relaxed)
    }

    fn status(&self) -> u32 {
        self.state() & STATUS
    }
}
