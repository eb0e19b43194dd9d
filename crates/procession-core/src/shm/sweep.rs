//! The sweep: what a dead process had is given back.
//!
//! Used by `recovery`, one process at a time for each dead one; when that process dies too, the next starts again, and
//! every step may be repeated: what was already claimed is private to the last sweeper and swept with it.
//!
//! Blocks private to the dead process may lie in anyone's slab (it claimed them from a queue), so all slabs are looked
//! at. Its own slabs become orphans, or free runs when nothing in them lives.

use super::arena::{self, Arena, Run};
use super::block::Block;
use super::offset::BlockId;
use super::slab;
use super::state_word::{State, Word};
use super::{family, identity, run};
use crate::crash::crash_point;
use crate::error::Result;
use crate::kinds;
use procession_sync::OwnerId;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

/// How many finds are dealt with per walk.
const BATCH: usize = 64;

/// Gives back what was private to the `dead` process, and says how many blocks that were.
///
/// # Errors
/// A segment cannot be mapped, or the family's descriptor was closed; the rest stays for the next sweep.
pub(crate) fn owner(dead: OwnerId) -> Result<usize> {
    let me = identity::me()?;
    let mut swept = 0;

    loop {
        let finds = look(dead)?;
        crash_point!("sweep.looked");
        for block in &finds.blocks {
            // It is gone if another sweeper of the same process was here before this one took over from it.
            let Some(block) = Block::inherit(*block, dead, me) else {
                continue;
            };
            crash_point!("sweep.inherited");
            kinds::destroy(block.kind(), &block);
            crash_point!("sweep.destroyed");
            drop(block);
            swept += 1;
        }
        for run in &finds.returning {
            take_over_returning(*run, dead, me)?;
        }
        if finds.blocks.is_empty() && finds.returning.is_empty() {
            break;
        }
    }

    if let Some(header) = family::header() {
        header.arena.sweeps.fetch_add(1, Ordering::Relaxed);
    }
    Ok(swept)
}

#[derive(Default)]
struct Finds {
    blocks: Vec<BlockId>,
    returning: Vec<Run>,
}

/// Walks all runs, up to the first finds; slabs of the dead process with none in them become orphans on the way.
fn look(dead: OwnerId) -> Result<Finds> {
    let arena = arena::lock()?;
    let mut finds = Finds::default();

    arena.each_run(|run, word| {
        if word.is_of(State::Private, dead) {
            finds.blocks.extend(BlockId::new(
                run.region.offset(run.index),
                word.generation(),
            ));
        } else if word.is_of(State::Returning, dead) {
            finds.returning.push(run);
        } else if word.is(State::Slab) {
            look_into_slab(&arena, run, word, dead, &mut finds);
        }

        if finds.blocks.len() < BATCH {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    Ok(finds)
}

fn look_into_slab(arena: &Arena, run: Run, word: Word, dead: OwnerId, finds: &mut Finds) {
    let entries = slab::entries_of(&run.region, run.index);
    let start = run.region.offset(run.index);
    let size = super::segment::CHUNK / entries.len().max(1);
    let before = finds.blocks.len();

    for (index, entry) in entries.iter().enumerate() {
        let word = entry.word.load();
        if word.is_of(State::Private, dead) {
            finds.blocks.extend(BlockId::new(
                start.plus((index * size) as u64),
                word.generation(),
            ));
        }
    }
    if finds.blocks.len() == before && word.is_of(State::Slab, dead) {
        slab::orphan(arena, run, word);
    }
}

/// Finishes what the dead process was doing to a free run.
fn take_over_returning(run: Run, dead: OwnerId, me: OwnerId) -> Result<()> {
    let word = run.descriptor().word.load();
    if word.is_of(State::Returning, dead)
        && run
            .descriptor()
            .word
            .change(word, word.with(State::Returning, Some(me)))
    {
        run::give_pages_back(run)?;
    }
    Ok(())
}
