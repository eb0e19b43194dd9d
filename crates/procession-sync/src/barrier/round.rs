//! One participant's stay in the barrier.
//!
//! Used by `RawBarrier::wait`. While it lives, its process's name stands in the table, so no
//! round can end without it; dropping it gives the place back, and breaks the barrier if that
//! happens before the release, by an unwinding action for instance. If the process dies instead,
//! the others find the name of a dead process and do the same.

use super::locked::{Locked, RELEASED, companion, has_dead};
use super::raw::{ACTING, BROKEN, BarrierError, DRAINING, FILLING, RESETTING, RawBarrier, STATUS};
use crate::Waiter;
use crate::primitive::{AtomicU32, Ordering};

#[derive(Debug)]
pub(super) struct Round<'a, W: Waiter> {
    barrier: &'a RawBarrier,
    waiter: &'a mut W,
    table: &'a [AtomicU32],
    place: usize,
}

impl<'a, W: Waiter> Round<'a, W> {
    /// Waits until the barrier fills, and enters; says how many came before.
    pub(super) fn enter<E>(
        barrier: &'a RawBarrier,
        waiter: &'a mut W,
        table: &'a [AtomicU32],
        has_action: bool,
    ) -> Result<(Self, u32), BarrierError<E>> {
        let (place, index) = loop {
            let mut locked = Locked::new(barrier, waiter, table);
            let word = barrier.word.load(Ordering::Relaxed);
            match word & STATUS {
                FILLING => break locked.enter(has_action).ok_or(BarrierError::Broken)?,
                BROKEN => return Err(BarrierError::Broken),
                _ => drop(locked),
            }

            let watched = companion(waiter, table, table.len());
            if let Err(stop) = waiter.wait(&barrier.word, word, watched) {
                Locked::new(barrier, waiter, table).break_barrier();
                return Err(BarrierError::Stopped(stop));
            }
        };
        let round = Self {
            barrier,
            waiter,
            table,
            place,
        };
        Ok((round, index))
    }

    /// Waits until all have come and the action is done.
    pub(super) fn await_release<E>(&mut self) -> Result<(), BarrierError<E>> {
        loop {
            let mut word = self.look();
            while matches!(word & STATUS, FILLING | ACTING) && self.waiter.spin() {
                word = self.look();
            }
            if let Some(outcome) = self.outcome(word) {
                return outcome;
            }
            if has_dead(self.waiter, self.table) {
                drop(self.lock());
                continue;
            }

            let watched = companion(self.waiter, self.table, self.place);
            let slept = self.waiter.wait(&self.barrier.word, word, watched);
            if let Err(stop) = slept {
                let mut locked = Locked::new(self.barrier, self.waiter, self.table);
                let word = self.barrier.word.load(Ordering::Relaxed);
                if !matches!(word & STATUS, FILLING | ACTING) {
                    continue;
                }
                locked.break_barrier();
                return Err(BarrierError::Stopped(stop));
            }
        }
    }

    /// Releases the others, unless the barrier was broken or reset during the action.
    pub(super) fn finish_action<E>(&mut self) -> Result<(), BarrierError<E>> {
        let place = self.place;
        let mut locked = self.lock();
        if locked.status() != ACTING || !locked.is_mine(place) {
            return Err(BarrierError::Broken);
        }
        locked.change(DRAINING);
        Ok(())
    }

    /// How the wait ends in the state `word`; `None` while it has to go on.
    fn outcome<E>(&self, word: u32) -> Option<Result<(), BarrierError<E>>> {
        // Read after the word: whoever breaks a barrier that drains marks the released first.
        let entry = self.table[self.place].load(Ordering::Relaxed);
        let released = word & STATUS == DRAINING || entry & RELEASED != 0;
        let failed = matches!(word & STATUS, BROKEN | RESETTING)
            || entry & !RELEASED != self.waiter.owner().to_bits();
        if failed && entry & RELEASED == 0 {
            Some(Err(BarrierError::Broken))
        } else {
            released.then_some(Ok(()))
        }
    }

    fn look(&self) -> u32 {
        // SYNC: barrier changed -> looked
        self.barrier.word.load(Ordering::Acquire)
    }

    fn lock(&mut self) -> Locked<'_, W> {
        Locked::new(self.barrier, self.waiter, self.table)
    }
}

impl<W: Waiter> Drop for Round<'_, W> {
    fn drop(&mut self) {
        let place = self.place;
        self.lock().leave(place);
    }
}
