//! The ledger: which objects this process holds, where the others find it if it dies.
//!
//! Used by [`Object`](super::object::Object). The shared part is pages of cells, one object id each (0 = empty), that the
//! process's slot refers to; each page is twice as long as the one before. The private part is which cells are empty and
//! which objects this process has at hand, so that handles are cloned without touching shared memory.
//!
//! A cell changes only under its object's shard lock (see `references`). Recovery gives back what the cells of a dead
//! process name. A forked child has a ledger of its own with the same objects in the same cells, made by the prepare hook
//! of the fork before the child exists; so a handle inherited by memory is the child's own.

use super::block::{self, Block};
use super::heap;
use super::kind::Kind;
use super::object::Holding;
use super::offset::{BlockId, Offset};
use super::slots::{self, LEDGER_PAGES, Slot};
use super::{identity, references};
use crate::crash::crash_point;
use crate::error::{Error, ErrorKind, Result};
use procession_sync::OwnerId;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

/// How many cells the first page has.
const FIRST_CELLS: usize = 64;

/// The private part.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    empty: Vec<u32>,
    next: u32,
    pub(crate) at_hand: HashMap<BlockId, AtHand>,
}

/// An object of which this process has a handle, or had one until a moment ago.
#[derive(Debug)]
pub(crate) struct AtHand {
    pub(crate) holding: Weak<Holding>,
    /// Kept beside it: a fork looks at the cells under the lock, where no holding may be dropped.
    cell: u32,
}

impl AtHand {
    pub(crate) fn of(holding: &Arc<Holding>) -> Self {
        Self {
            holding: Arc::downgrade(holding),
            cell: holding.cell(),
        }
    }
}

static LEDGER: LazyLock<Mutex<Ledger>> = LazyLock::new(Mutex::default);

/// The private part of this process's ledger. No user code runs while it is held, and the fork hooks hold it.
pub(crate) fn lock() -> MutexGuard<'static, Ledger> {
    LEDGER.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ledger {
    /// A cell that holds nothing, with its place.
    pub(crate) fn take_cell(&mut self) -> Result<u32> {
        let me = identity::me()?;
        let cell = self.empty.last().copied().unwrap_or(self.next);
        let (page, _) = page_of(cell);
        if page >= LEDGER_PAGES {
            return Err(Error::no_memory(
                "hold another shared object: this process holds millions already",
            ));
        }
        let slot = slots::of(me)
            .ok_or_else(|| Error::new(ErrorKind::NotInFamily, "find this process's ledger"))?;
        // A forked child inherits the list of empty cells, but only those pages on which its parent held something.
        if slot.ledger[page].load(Ordering::Relaxed) == 0 {
            add_page(slot, page, None)?;
        }
        if self.empty.pop().is_none() {
            self.next += 1;
        }
        Ok(cell)
    }

    /// The holding that this process has of the object.
    pub(crate) fn at_hand(&self, id: BlockId) -> Option<Arc<Holding>> {
        self.at_hand.get(&id)?.holding.upgrade()
    }

    /// The cell holds nothing any more.
    pub(crate) fn put_cell(&mut self, cell: u32) {
        self.empty.push(cell);
    }

    /// Makes the ledger of a child that is about to be forked: the same objects in the same cells.
    pub(crate) fn copy_for(&self, child: OwnerId) -> Result<()> {
        let slot = slots::of(child)
            .ok_or_else(|| Error::new(ErrorKind::NotInFamily, "find the child's slot"))?;

        for (id, at_hand) in &self.at_hand {
            if at_hand.holding.strong_count() == 0 {
                continue;
            }
            let (page, _) = page_of(at_hand.cell);
            if slot.ledger[page].load(Ordering::Relaxed) == 0 {
                add_page(slot, page, Some(child))?;
            }
            crash_point!("ledger.copying");
            // Another thread may be giving up the last handle right now: then the child has none either.
            match references::take(*id, place_in(slot, at_hand.cell)?) {
                Err(error) if error.kind() != ErrorKind::StaleHandle => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Where `cell` of this process's ledger lies.
pub(crate) fn place(cell: u32) -> Result<Offset> {
    let slot = slots::of(identity::me()?)
        .ok_or_else(|| Error::new(ErrorKind::NotInFamily, "find this process's ledger"))?;

    place_in(slot, cell)
}

fn place_in(slot: &Slot, cell: u32) -> Result<Offset> {
    let (page, index) = page_of(cell);
    let block = BlockId::from_bits(slot.ledger[page].load(Ordering::Relaxed)).ok_or_else(|| {
        Error::new(
            ErrorKind::StaleHandle,
            "find a ledger cell: its page is gone",
        )
    })?;

    Ok(block.offset().plus(index as u64 * 8))
}

/// Gives back everything that a dead process held by its ledger, and the ledger. May be repeated, wholly or in part.
pub(crate) fn dissolve(slot: &Slot) {
    for (page, word) in slot.ledger.iter().enumerate() {
        let Some(id) = BlockId::from_bits(word.load(Ordering::Relaxed)) else {
            continue;
        };

        // A recoverer before may have freed it and died before it could say so.
        if block::find(id).is_some() {
            for index in 0..cells_in(page) {
                references::give_back(id.offset().plus(index as u64 * 8));
            }
        }
        crash_point!("ledger.dissolved");
        // The page is its owner's private block: the sweep frees it.
        word.store(0, Ordering::Relaxed);
    }
}

fn add_page(slot: &Slot, page: usize, child: Option<OwnerId>) -> Result<()> {
    let mut block = heap::allocate_kind(cells_in(page) * size_of::<AtomicU64>(), Kind::LEDGER)?;
    block.zero();
    let id = match child {
        Some(child) => Block::give(block, child),
        None => Block::keep(block),
    };

    crash_point!("ledger.page");
    // SYNC: ledger page linked -> dissolve
    slot.ledger[page].store(id.to_bits(), Ordering::Release);
    Ok(())
}

const fn cells_in(page: usize) -> usize {
    FIRST_CELLS << page
}

/// The page of a cell and its index in it.
const fn page_of(cell: u32) -> (usize, usize) {
    let page = (cell as usize / FIRST_CELLS + 1).ilog2() as usize;

    (page, cell as usize - FIRST_CELLS * ((1 << page) - 1))
}

#[cfg(test)]
mod tests {
    use super::{FIRST_CELLS, cells_in, page_of};

    #[test]
    fn cells_fill_page_after_page() {
        let mut expected = (0, 0);

        for cell in 0..FIRST_CELLS as u32 * 40 {
            assert_eq!(page_of(cell), expected);
            expected = if expected.1 + 1 == cells_in(expected.0) {
                (expected.0 + 1, 0)
            } else {
                (expected.0, expected.1 + 1)
            };
        }
    }
}
