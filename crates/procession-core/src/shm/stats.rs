//! What the heap holds at the moment.
//!
//! Used by the faces' statistics and by every test that must find the heap as it was. Counted by a walk over all runs
//! under the arena lock, never from counters, so it is exact whatever died.

use super::arena;
use super::chunk::unpack_meta;
use super::segment::CHUNK;
use super::state_word::State;
use super::{family, recovery, slab, slots};
use crate::error::Result;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

/// What the heap holds at one moment, in bytes unless said otherwise.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Stats {
    /// The lengths of all blocks, as asked for.
    pub live_bytes: u64,
    /// How many blocks there are.
    pub blocks: u64,
    /// How many processes the family has.
    pub processes: usize,
    /// Address space that all segments take in a process that has touched them all.
    pub mapped_bytes: u64,
    /// Memory that counts against the budget: blocks, slabs, and freed memory that is kept for reuse.
    pub resident_bytes: u64,
    /// The most `resident_bytes` ever were.
    pub high_water_bytes: u64,
    /// What `resident_bytes` may become.
    pub budget: u64,
}

/// Gives back what dead processes have left, then counts. Takes time in proportion to the number of blocks.
///
/// # Errors
/// This process is in no family and cannot make one; a segment cannot be mapped.
pub fn stats() -> Result<Stats> {
    family::current()?;
    recovery::recover();

    let arena = arena::lock()?;
    let mut stats = Stats {
        processes: slots::count(),
        mapped_bytes: arena.segments().mapped_bytes(),
        resident_bytes: arena.resident_chunks() * CHUNK as u64,
        high_water_bytes: arena.most_resident_chunks() * CHUNK as u64,
        budget: arena.budget_chunks() * CHUNK as u64,
        ..Stats::default()
    };
    arena.each_run(|run, word| {
        if word.is(State::Slab) {
            for entry in slab::entries_of(&run.region, run.index) {
                if !entry.word.load().is(State::Free) {
                    stats.count(unpack_meta(entry.meta.load(Ordering::Relaxed)).0 as u64);
                }
            }
        } else if word.is(State::Private) || word.is(State::Shared) || word.is(State::Queued) {
            stats.count(run.descriptor().bytes.load(Ordering::Relaxed));
        }
        ControlFlow::Continue(())
    })?;
    Ok(stats)
}

impl Stats {
    fn count(&mut self, len: u64) {
        self.live_bytes += len;
        self.blocks += 1;
    }
}
