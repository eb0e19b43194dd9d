//! The barrier's state, while its internal lock is held.
//!
//! Used by everything that changes a barrier. Entries are written before the state that says
//! what they mean, and each change of the state is one store. A process that dies here leaves
//! the lock to the next one, which finds a state and a table that agree, buries the dead, and
//! wakes everyone in case the dead one had not come to it.

use super::raw::{ACTING, BROKEN, DRAINING, FILLING, RESETTING, RawBarrier, STATUS};
use crate::primitive::{AtomicU32, Ordering};
use crate::{Acquired, OwnerId, Waiter};

/// An entry of the table that no participant has.
pub(super) const NOBODY: u32 = 0;
/// In an entry: this participant is released, whatever the state has become since.
pub(super) const RELEASED: u32 = 1 << 31;

/// A barrier whose internal lock is held; unlocks and wakes on drop.
#[derive(Debug)]
pub(super) struct Locked<'a, W: Waiter> {
    barrier: &'a RawBarrier,
    waiter: &'a mut W,
    table: &'a [AtomicU32],
    changed: bool,
}

impl<'a, W: Waiter> Locked<'a, W> {
    /// Locks the barrier, heeding neither deadline nor interruption, and buries the dead.
    pub(super) fn new(barrier: &'a RawBarrier, waiter: &'a mut W, table: &'a [AtomicU32]) -> Self {
        let acquired = barrier.lock.acquire_regardless(waiter);
        let mut locked = Self {
            barrier,
            waiter,
            table,
            changed: acquired == Acquired::OwnerDied,
        };
        locked.bury();
        locked
    }

    pub(super) fn status(&self) -> u32 {
        self.barrier.state() & STATUS
    }

    /// Moves to `status`.
    pub(super) fn change(&mut self, status: u32) {
        let word = self.barrier.state();
        let next = (word & !STATUS).wrapping_add(STATUS + 1) | status;
        // SYNC: barrier changed -> looked
        self.barrier.word.store(next, Ordering::Release);
        self.changed = true;
    }

    /// Takes a free place in the table; the last to come starts the action or the release.
    /// Says which place it is and how many came before; `None` if there is none.
    pub(super) fn enter(&mut self, has_action: bool) -> Option<(usize, u32)> {
        let index = present(self.table);
        let place = self.table.iter().position(|entry| look(entry) == NOBODY)?;
        self.table[place].store(self.waiter.owner().to_bits(), Ordering::Relaxed);

        if index + 1 >= self.barrier.parties() {
            self.change(if has_action { ACTING } else { DRAINING });
        }
        Some((place, index))
    }

    /// Gives `place` back. To leave before the release is to give up, which breaks the barrier.
    pub(super) fn leave(&mut self, place: usize) {
        if matches!(self.status(), FILLING | ACTING) {
            self.break_barrier();
        }
        if self.is_mine(place) {
            self.table[place].store(NOBODY, Ordering::Relaxed);
        }
        self.settle();
    }

    /// Breaks the barrier for all who are not released.
    pub(super) fn break_barrier(&mut self) {
        if self.status() == DRAINING {
            for entry in self.table {
                let owner = look(entry);
                if owner != NOBODY {
                    entry.store(owner | RELEASED, Ordering::Relaxed);
                }
            }
        }
        self.change(BROKEN);
    }

    /// Fills again once the last one has left.
    pub(super) fn settle(&mut self) {
        if matches!(self.status(), DRAINING | RESETTING) && present(self.table) == 0 {
            self.change(FILLING);
        }
    }

    /// Whether `place` still is the caller's: not so if its process was taken for dead.
    pub(super) fn is_mine(&self, place: usize) -> bool {
        look(&self.table[place]) & OwnerId::MASK == self.waiter.owner().to_bits()
    }

    fn bury(&mut self) {
        if !has_dead(self.waiter, self.table) {
            self.settle();
            return;
        }
        if matches!(self.status(), FILLING | ACTING) {
            self.break_barrier();
        }
        for entry in self
            .table
            .iter()
            .filter(|entry| is_dead(self.waiter, entry))
        {
            entry.store(NOBODY, Ordering::Relaxed);
        }
        self.settle();
    }
}

impl<W: Waiter> Drop for Locked<'_, W> {
    fn drop(&mut self) {
        // Only a process that was taken for dead finds the lock free here; then it is another's
        // business.
        let _ = self.barrier.lock.release(self.waiter);
        if self.changed {
            self.waiter.wake(&self.barrier.word, u32::MAX);
        }
    }
}

/// How many participants are inside.
pub(super) fn present(table: &[AtomicU32]) -> u32 {
    table
        .iter()
        .map(|entry| u32::from(look(entry) != NOBODY))
        .sum()
}

/// Whether a participant inside has died.
pub(super) fn has_dead<W: Waiter>(waiter: &W, table: &[AtomicU32]) -> bool {
    table.iter().any(|entry| is_dead(waiter, entry))
}

/// A participant of another process to watch: the nearest before `place`, else any.
pub(super) fn companion<W: Waiter>(
    waiter: &W,
    table: &[AtomicU32],
    place: usize,
) -> Option<OwnerId> {
    let (before, after) = table.split_at(place.min(table.len()));
    before
        .iter()
        .rev()
        .chain(after)
        .filter_map(|entry| OwnerId::in_word(look(entry)))
        .find(|owner| *owner != waiter.owner())
}

fn is_dead<W: Waiter>(waiter: &W, entry: &AtomicU32) -> bool {
    OwnerId::in_word(look(entry)).is_some_and(|owner| !waiter.is_alive(owner))
}

fn look(entry: &AtomicU32) -> u32 {
    entry.load(Ordering::Relaxed)
}
