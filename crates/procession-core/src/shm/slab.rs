//! Slabs: chunks carved into small blocks of one size class.
//!
//! Used by `heap` to allocate up to 32 KiB and by `block` to free. Only the process that owns a slab turns its blocks
//! from Free to Private, so it does that by a plain store; anyone else frees a block by one compare-and-swap of its word.
//! What the owner keeps besides is in `slab_cache`. When a process dies, the sweep makes its slabs orphans (no owner),
//! which the next process that needs one of the class adopts.
//!
//! ```text
//! run: Private(me) --words of blocks Free--> Slab(me) <--adopt-- Slab(nobody)
//!                                               |  --owner dies--> ^ |
//!                        all blocks are free    v                    v   all blocks are free
//!                                              Warm run            Warm run
//! ```

use super::arena::{self, Arena, Run};
use super::chunk::{Descriptor, Entry};
use super::family;
use super::run;
use super::segment::{self, CHUNK, Region};
use super::slab_cache::{Slab, Small, lock, try_lock};
use super::state_word::{GENERATION_MASK, State, Word};
use crate::crash::crash_point;
use crate::error::Result;
use procession_sync::OwnerId;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;

const SMALLEST_SHIFT: u32 = 6;
/// How many classes there are.
pub(super) const CLASSES: usize = 10;
/// The longest block that lies in a slab.
pub(crate) const LARGEST: usize = 1 << (SMALLEST_SHIFT as usize + CLASSES - 1);

/// The class of blocks of `len` bytes.
#[inline]
pub(crate) const fn class_of(len: usize) -> usize {
    let len = if len < 1 << SMALLEST_SHIFT {
        1 << SMALLEST_SHIFT
    } else {
        len
    };

    (usize::BITS - (len - 1).leading_zeros() - SMALLEST_SHIFT) as usize
}

/// The size of the blocks of `class`, as a power of two.
#[inline]
pub(crate) const fn shift_of(class: usize) -> u32 {
    SMALLEST_SHIFT + class as u32
}

/// How many blocks a slab of `class` has.
#[inline]
pub(crate) const fn blocks_of(class: usize) -> usize {
    CHUNK >> shift_of(class)
}

/// The blocks' entries of the slab in chunk `index`; empty if shared memory names no class.
pub(crate) fn entries_of(region: &Region, index: usize) -> &'static [Entry] {
    let class = region.descriptor(index).class.load(Ordering::Relaxed) as usize;

    if class < CLASSES {
        &region.entries(index)[..blocks_of(class)]
    } else {
        &[]
    }
}

/// A block of at most [`LARGEST`] bytes, private to `me`, of kind 0.
///
/// # Errors
/// As for [`run::allocate`].
#[inline]
pub(crate) fn allocate(len: usize, me: OwnerId) -> Result<Small> {
    let class = class_of(len);
    if let Some(small) = lock(class, me).take(len, me) {
        return Ok(small);
    }
    allocate_slow(class, len, me)
}

#[cold]
fn allocate_slow(class: usize, len: usize, me: OwnerId) -> Result<Small> {
    loop {
        {
            let mut cache = lock(class, me);
            cache.refill(class, me);
            if let Some(small) = cache.take(len, me) {
                return Ok(small);
            }
        }

        let slab = match adopt(class)? {
            Some(slab) => slab,
            None => make(class, me)?,
        };
        lock(class, me).install(slab, me);
    }
}

/// Frees the small block that this process has exclusively as `word`; false if it has not.
#[inline]
pub(crate) fn free(
    descriptor: &'static Descriptor,
    entry: &'static Entry,
    word: Word,
    me: OwnerId,
) -> bool {
    // While one of its blocks lives, a slab of this process stays what it is, and nobody but the
    // holder changes the block's word: no compare-and-swap is needed.
    if !descriptor.word.load().is_of(State::Slab, me) {
        return free_foreign(descriptor, entry, word);
    }
    if entry.word.load() != word {
        return false;
    }
    let class = descriptor.class.load(Ordering::Relaxed) as usize % CLASSES;
    entry.word.store(word.freed(State::Free));
    crash_point!("heap.small.freed");

    if let Some(mut cache) = try_lock(class, me)
        && cache.put(descriptor, entry)
    {
        return true;
    }
    if count_freed(descriptor) >= blocks_of(class) {
        // A slab that stays is found by the next refill or sweep, so nothing is lost with the error.
        let _ = give_empty_of_class_back(class, me);
    }
    true
}

#[inline(never)]
fn free_foreign(descriptor: &Descriptor, entry: &Entry, word: Word) -> bool {
    if !entry.word.change(word, word.freed(State::Free)) {
        return false;
    }
    crash_point!("heap.small.freed");

    let count = count_freed(descriptor);
    let class = descriptor.class.load(Ordering::Relaxed) as usize % CLASSES;
    let slab = descriptor.word.load_in_order();
    if count >= blocks_of(class) && slab.is(State::Slab) && !slab.has_owner() {
        // As above.
        let _ = arena::lock().and_then(|arena| give_empty_orphans_back(&arena));
    }
    true
}

/// Notes that a block of the slab was freed, and says how many were since its owner looked.
#[inline]
fn count_freed(descriptor: &Descriptor) -> usize {
    // SYNC: block counted as freed -> refill
    descriptor.freed.fetch_add(1, Ordering::AcqRel) as usize + 1
}

/// Gives slabs of this process and of nobody back to the arena whose blocks are all free; were there any?
pub(crate) fn give_empty_back() -> Result<bool> {
    let me = super::identity::me()?;
    let mut any = false;
    for class in 0..CLASSES {
        any |= give_empty_of_class_back(class, me)?;
    }
    Ok(give_empty_orphans_back(&arena::lock()?)? || any)
}

fn give_empty_of_class_back(class: usize, me: OwnerId) -> Result<bool> {
    let mut any = false;
    loop {
        let unlinked = lock(class, me).unlink_empty(class);
        let Some(slab) = unlinked else { return Ok(any) };

        // Unlinked, it is this thread's alone: no other allocates from it, and all of its blocks are free.
        let generation = next_generation(slab.entries(class));
        arena::lock()?.free_slab(slab.run(), generation);
        any = true;
    }
}

fn give_empty_orphans_back(arena: &Arena) -> Result<bool> {
    let mut any = false;
    arena.each_run(|run, word| {
        if word.is(State::Slab) && !word.has_owner() {
            any |= give_orphan_back(arena, run);
        }
        ControlFlow::Continue(())
    })?;
    Ok(any)
}

/// Frees an orphan if all of its blocks are free. The arena is locked, so nobody adopts it meanwhile.
fn give_orphan_back(arena: &Arena, run: Run) -> bool {
    let entries = entries_of(&run.region, run.index);
    let descriptor = run.descriptor();
    // SYNC: block counted as freed -> refill
    descriptor.freed.swap(0, Ordering::AcqRel);
    let free = count_free(entries);

    if free == entries.len() {
        orphans(-1);
        arena.free_slab(run, next_generation(entries));
        return true;
    }
    // SYNC: block counted as freed -> refill
    descriptor.freed.fetch_add(free as u32, Ordering::AcqRel);
    false
}

/// The slab of a dead process, none of whose blocks is private to a dead process any more, becomes nobody's, or a free
/// run. The arena is locked.
pub(crate) fn orphan(arena: &Arena, run: Run, word: Word) {
    if run
        .descriptor()
        .word
        .change(word, word.with(State::Slab, None))
    {
        crash_point!("heap.slab.orphaned");
        orphans(1);
        give_orphan_back(arena, run);
    }
}

/// Takes over an orphan of `class` in which a block is free.
fn adopt(class: usize) -> Result<Option<Slab>> {
    let Some(header) = family::header() else {
        return Err(segment::outside());
    };
    if header.arena.orphans.load(Ordering::Relaxed) == 0 {
        return Ok(None);
    }

    let arena = arena::lock()?;
    let mut adopted = None;
    arena.each_run(|run, word| {
        let descriptor = run.descriptor();
        if !word.is(State::Slab)
            || word.has_owner()
            || descriptor.class.load(Ordering::Relaxed) as usize != class
            || count_free(entries_of(&run.region, run.index)) == 0
        {
            return ControlFlow::Continue(());
        }
        descriptor
            .word
            .store(word.with(State::Slab, Some(arena.me())));
        crash_point!("heap.slab.adopted");
        orphans(-1);
        adopted = Some(Slab::of(run));
        ControlFlow::Break(())
    })?;
    Ok(adopted)
}

/// Changes the count of orphans, a hint; the arena is locked.
fn orphans(by: i32) {
    if let Some(header) = family::header() {
        let count = &header.arena.orphans;
        count.store(
            count.load(Ordering::Relaxed).saturating_add_signed(by),
            Ordering::Relaxed,
        );
    }
}

fn make(class: usize, me: OwnerId) -> Result<Slab> {
    let run = run::allocate_chunk()?;
    let descriptor = run.descriptor();
    let word = descriptor.word.load();

    let free = word.with(State::Free, None);
    for entry in &run.region.entries(run.index)[..blocks_of(class)] {
        entry.word.store(free);
    }
    descriptor.class.store(class as u32, Ordering::Relaxed);
    descriptor.freed.store(0, Ordering::Relaxed);
    crash_point!("heap.slab.written");
    descriptor.word.store(word.with(State::Slab, Some(me)));
    crash_point!("heap.slab.made");
    Ok(Slab::of(run))
}

/// How many of the blocks are free.
pub(super) fn count_free(entries: &[Entry]) -> usize {
    entries
        .iter()
        .filter(|entry| entry.word.load_in_order().is(State::Free))
        .count()
}

/// A generation that no block of the slab has had.
fn next_generation(entries: &[Entry]) -> u32 {
    let last = entries
        .iter()
        .map(|entry| entry.word.load().generation())
        .max()
        .unwrap_or(0);

    last.wrapping_add(1) & GENERATION_MASK
}

#[cfg(test)]
mod tests {
    use super::super::chunk::ENTRIES;
    use super::{CLASSES, LARGEST, blocks_of, class_of, shift_of};

    #[test]
    fn classes_hold_what_they_are_chosen_for() {
        for len in 0..=LARGEST {
            let class = class_of(len);
            let size = 1 << shift_of(class);

            assert!(class < CLASSES && len <= size, "{len}");
            assert!(class == 0 || len > size / 2, "{len}");
            assert!(blocks_of(class) <= ENTRIES);
        }
        assert_eq!(
            (class_of(0), class_of(64), class_of(65), class_of(LARGEST)),
            (0, 0, 1, CLASSES - 1)
        );
    }
}
