//! Runs of chunks: large blocks, and the chunks that slabs are made of.
//!
//! Used by `heap`, `slab` and `block`. What may take long (system calls that take or give back pages) happens outside
//! the arena lock, while the run is Private or Returning: if its owner dies meanwhile, the sweep frees it.

use super::arena::{self, Arena, Run, Taken};
use super::segment::{self, CHUNK};
use super::slab;
use super::state_word::{State, Word};
use crate::crash::crash_point;
use crate::error::{Error, Result};

/// How many chunks are taken at once when a slab needs one and none is warm.
const BATCH: usize = 16;
/// Pages are reserved in steps of this many bytes, so that signals cannot hinder it for ever.
const RESERVE_STEP: u64 = 8 << 20;

/// A run of `chunks` with resident pages, private to this process, of kind 0 (raw bytes).
///
/// # Errors
/// The budget is used up, the system has no memory, or the family's descriptor was closed.
pub(crate) fn allocate(chunks: usize) -> Result<Run> {
    let taken = loop {
        let arena = arena::lock()?;
        if let Some(taken) = arena.take(chunks)? {
            break taken;
        }
        relieve(arena, chunks)?;
    };
    make_resident(taken)
}

/// As [`allocate`] for the one chunk of a slab; if none is warm, those that come next are made resident with it.
pub(crate) fn allocate_chunk() -> Result<Run> {
    let taken = arena::lock()?.take_for_slab(BATCH)?;
    let Some(taken) = taken else {
        return allocate(1);
    };

    let run = make_resident(taken)?;
    if run.chunks > 1 {
        arena::lock()?.give_tail_back(run, 1);
    }
    Ok(Run { chunks: 1, ..run })
}

/// Frees a run in which this process holds `word`; false if the run is not in that state.
pub(crate) fn free(run: Run, word: Word) -> Result<bool> {
    let arena = arena::lock()?;
    let bound = arena.warm_bound();

    if run.chunks as u64 > bound {
        let returning = word.with(State::Returning, Some(arena.me()));
        if !run.descriptor().word.change(word, returning) {
            return Ok(false);
        }
        drop(arena);
        crash_point!("heap.run.returning");
        return give_pages_back(run).map(|()| true);
    }

    let freed = arena.free(run, word, State::Warm);
    let mut excess = arena.take_excess(bound)?;
    drop(arena);
    while let Some(run) = excess {
        give_pages_back(run)?;
        excess = arena::lock()?.take_excess(bound)?;
    }
    Ok(freed)
}

/// Gives the pages of a run back that is Returning and this process's, and frees it as cold.
pub(crate) fn give_pages_back(run: Run) -> Result<()> {
    let (start, len) = place(&run)?;
    let object = segment::object()?;
    while let Err(error) = object.punch(start, len) {
        if !error.is_interrupted() {
            return Err(error.into());
        }
    }
    crash_point!("heap.run.punched");

    let arena = arena::lock()?;
    let word = run.descriptor().word.load();
    arena.free(run, word, State::Cold);
    Ok(())
}

/// Makes room in the budget; fails if there is nothing that could be given back.
fn relieve(arena: Arena, chunks: usize) -> Result<()> {
    let budget = arena.budget_chunks();
    if chunks as u64 <= budget {
        if let Some(run) = arena.take_excess(0)? {
            drop(arena);
            return give_pages_back(run);
        }
        drop(arena);
        if slab::give_empty_back()? {
            return Ok(());
        }
    } else {
        drop(arena);
    }

    let arena = arena::lock()?;
    let bytes = |chunks: u64| chunks * CHUNK as u64;
    Err(Error::over_budget(
        bytes(chunks as u64),
        bytes(arena.resident_chunks()),
        bytes(budget),
    ))
}

fn make_resident(taken: Taken) -> Result<Run> {
    let run = taken.run;
    if !taken.cold {
        return Ok(run);
    }

    match reserve(&run) {
        Ok(()) => {
            crash_point!("heap.run.reserved");
            Ok(run)
        }
        Err(error) => {
            let arena = arena::lock()?;
            let word = run.descriptor().word.load();
            arena.free(run, word, State::Cold);
            Err(error)
        }
    }
}

fn reserve(run: &Run) -> Result<()> {
    let (start, len) = place(run)?;
    let object = segment::object()?;

    let mut done = 0;
    while done < len {
        let step = RESERVE_STEP.min(len - done);
        match object.reserve(start + done, step) {
            Ok(()) => done += step,
            Err(error) if error.is_interrupted() => {}
            Err(error) if error.is_no_memory() => {
                return Err(Error::no_memory(format!(
                    "allocate {len} bytes of shared memory: the system has no memory left"
                )));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Where the run lies in the memory object.
fn place(run: &Run) -> Result<(u64, u64)> {
    let header = super::family::header().ok_or_else(segment::outside)?;

    Ok(run
        .region
        .file_range(&header.segments, run.index, run.chunks))
}
