//! Room for a condition's waiters beyond the few that fit into its own block.
//!
//! Used by [`Condition`](super::Condition). Each chunk is twice as long as the one before, so a few words name all that
//! can ever be needed. Chunks are made under the user's lock and stay until the condition ends:
//!
//! ```text
//! allocate, zeroed (private) -> ids[linked] = chunk -> private to queued -> linked += 1
//! ```
//!
//! A process that dies before `queued` leaves a private block, which is swept, and an id that names nothing any more; the
//! next to grow the table overwrites it. One that dies after leaves a chunk that the next to grow links. The condition's
//! end frees every chunk that an id names.

#![expect(unsafe_code, reason = "a chunk is reached through its address")]

use crate::crash::crash_point;
use crate::error::{Error, ErrorKind, Result};
use crate::shm::{Block, BlockId, block, heap};
use procession_sync::{Overflow, WaiterEntry};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

const CHUNKS: usize = 12;
const FIRST_ENTRIES: usize = 16;

/// The table's further chunks. All-zero bytes are none.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Chunks {
    /// How many of the ids below are in use.
    linked: AtomicU32,
    ids: [AtomicU64; CHUNKS],
}

impl Overflow for Chunks {
    type Error = Error;

    fn chunk(&self, index: usize) -> Option<&[WaiterEntry]> {
        // SYNC: chunk linked -> chunk
        if index >= self.linked.load(Ordering::Acquire) as usize {
            return None;
        }
        let id = BlockId::from_bits(self.ids.get(index)?.load(Ordering::Relaxed))?;
        let data = id.offset().resolve().ok()?;

        // SAFETY: a linked chunk is an aligned, zeroed block of so many entries that lives as long as the condition, to
        // which the caller has a handle; any bytes are valid entries.
        Some(unsafe { std::slice::from_raw_parts(data.as_ptr().cast(), entries(index)) })
    }

    fn grow(&self) -> Result<()> {
        let linked = self.linked.load(Ordering::Relaxed);
        let id = self.ids.get(linked as usize).ok_or_else(full)?;

        if !is_made(id) {
            let chunk = heap::allocate_zeroed(entries(linked as usize) * size_of::<WaiterEntry>())?;
            id.store(chunk.id().to_bits(), Ordering::Relaxed);
            crash_point!("condition.chunk.named");
            let _ = chunk.into_queued();
        }
        crash_point!("condition.chunk.made");
        // SYNC: chunk linked -> chunk
        self.linked.store(linked + 1, Ordering::Release);
        Ok(())
    }
}

impl Chunks {
    /// Frees all chunks. Each step may be repeated.
    pub(super) fn free(&self) {
        for id in &self.ids {
            drop(BlockId::from_bits(id.load(Ordering::Relaxed)).and_then(Block::claim));
        }
    }
}

/// Did a process that died make this chunk before it could link it?
fn is_made(id: &AtomicU64) -> bool {
    BlockId::from_bits(id.load(Ordering::Relaxed))
        .and_then(block::find)
        .is_some_and(|found| found.is_queued())
}

const fn entries(index: usize) -> usize {
    FIRST_ENTRIES << index
}

#[cold]
fn full() -> Error {
    Error::new(
        ErrorKind::TooLarge,
        "wait for a condition: as many threads wait for it as its table can hold",
    )
}
