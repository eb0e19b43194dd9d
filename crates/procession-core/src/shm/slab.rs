//! Slabs: chunks carved into small blocks of one size class.
//!
//! Used by `heap` to allocate up to 32 KiB and by `block` to free. Only the process that owns a slab turns its blocks
//! from Free to Private, so it does that by a plain store; anyone frees a block by one compare-and-swap of its word. What
//! the owner keeps besides (which slab it allocates from, which of its blocks are free) is private to the process and
//! only a hint: every block it proposes is checked against its word.
//!
//! Per class the process has a lock whose word is its owner id. A forked child finds its parent's id in locks and
//! caches, takes such a lock over and forgets such a cache, so a fork needs no preparation. When a process dies, the
//! sweep makes its slabs orphans (no owner), which the next process that needs one of the class adopts.
//!
//! ```text
//! run: Private(me) --words of blocks Free--> Slab(me) <--adopt-- Slab(nobody)
//!                                               |  --owner dies--> ^ |
//!                        all blocks are free    v                    v   all blocks are free
//!                                              Warm run            Warm run
//! ```

#![expect(
    unsafe_code,
    reason = "the caches of a class are changed under its process-local lock"
)]

use super::arena::{self, Arena, Run};
use super::chunk::{Descriptor, ENTRIES, Entry, pack_meta};
use super::family;
use super::offset::Offset;
use super::run;
use super::segment::{self, CHUNK, Region};
use super::state_word::{GENERATION_MASK, State, Word};
use crate::crash::crash_point;
use crate::error::Result;
use procession_sync::OwnerId;
use std::cell::UnsafeCell;
use std::ops::{ControlFlow, Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

const SMALLEST_SHIFT: u32 = 6;
const CLASSES: usize = 10;
/// The longest block that lies in a slab.
pub(crate) const LARGEST: usize = 1 << (SMALLEST_SHIFT as usize + CLASSES - 1);
/// How many slabs a refill looks at before it asks for a new one.
const LOOK_AT: usize = 32;
/// How often a contended lock is tried before the processor is given away.
const SPINS: u32 = 100;

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

/// A small block that was just handed out.
pub(crate) struct Small {
    pub(crate) descriptor: &'static Descriptor,
    pub(crate) entry: &'static Entry,
    pub(crate) word: Word,
    pub(crate) data: NonNull<u8>,
    pub(crate) offset: Offset,
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

/// Tells the slab's owner, or whoever it may be, that the block of `entry` is free now.
#[inline]
pub(crate) fn freed(descriptor: &'static Descriptor, entry: &'static Entry, me: OwnerId) {
    let word = descriptor.word.load_in_order();
    let class = descriptor.class.load(Ordering::Relaxed) as usize;
    let is_mine = word.is_of(State::Slab, me);
    if class >= CLASSES {
        return;
    }
    if is_mine
        && let Some(mut cache) = try_lock(class, me)
        && cache.put(descriptor, entry)
    {
        return;
    }

    // SYNC: block counted as freed -> refill
    let count = descriptor.freed.fetch_add(1, Ordering::AcqRel) + 1;
    if count as usize >= blocks_of(class) {
        slab_may_be_empty(class, word, is_mine, me);
    }
}

#[cold]
fn slab_may_be_empty(class: usize, word: Word, is_mine: bool, me: OwnerId) {
    // A slab that stays is found by the next refill or sweep, so nothing is lost with the error.
    let _ = if is_mine {
        give_empty_of_class_back(class, me).map(|_| ())
    } else if word.is(State::Slab) && !word.has_owner() {
        arena::lock().and_then(|arena| give_empty_orphans_back(&arena).map(|_| ()))
    } else {
        Ok(())
    };
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

fn count_free(entries: &[Entry]) -> usize {
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

/// A slab with the addresses of its parts.
#[derive(Clone, Copy)]
struct Slab {
    region: Region,
    index: usize,
    descriptor: &'static Descriptor,
    entries: &'static [Entry; ENTRIES],
    data: NonNull<u8>,
    offset: Offset,
}

impl Slab {
    fn of(run: Run) -> Self {
        Self {
            region: run.region,
            index: run.index,
            descriptor: run.descriptor(),
            entries: run.region.entries(run.index),
            data: run.region.data(run.index),
            offset: run.region.offset(run.index),
        }
    }

    /// The slab whose chunk begins at `offset`, as a ring of this process names it.
    fn at(offset: u64) -> Option<Self> {
        let offset = Offset::from_bits(offset);
        let region = Region::of(offset.segment()).ok()?;
        let (index, _) = region.chunk_of(offset)?;

        Some(Self::of(Run {
            region,
            index,
            chunks: 1,
        }))
    }

    fn next(&self) -> Option<Self> {
        Self::at(self.descriptor.next.load(Ordering::Relaxed))
    }

    fn link(&self, next: &Self) {
        self.descriptor
            .next
            .store(next.offset.to_bits(), Ordering::Relaxed);
    }

    fn is(&self, other: &Self) -> bool {
        std::ptr::eq(self.descriptor, other.descriptor)
    }

    fn entries(&self, class: usize) -> &'static [Entry] {
        &self.entries[..blocks_of(class)]
    }

    fn run(&self) -> Run {
        Run {
            region: self.region,
            index: self.index,
            chunks: 1,
        }
    }
}

/// What a process knows about its slabs of one class.
struct Cache {
    /// Whose knowledge it is; 0 is nobody's.
    owner: u32,
    /// The slab that blocks are taken from, a member of the ring of all.
    current: Option<Slab>,
    /// How many of the indices below mean something.
    len: usize,
    /// Blocks of `current` that were free when last seen.
    free: [u16; ENTRIES],
    /// The sweep up to which frees by dead processes have been looked for.
    sweeps: u32,
    /// How many slabs are to be looked at whether or not a block of theirs was reported free.
    look_anyway: usize,
    slabs: usize,
}

struct Class {
    /// Process-local: 0, or the owner id of the process one of whose threads holds it.
    lock: AtomicU32,
    cache: UnsafeCell<Cache>,
}

// SAFETY: the cache is only reached through a `Guard`, of which the lock lets one exist.
unsafe impl Sync for Class {}

static CLASS: [Class; CLASSES] = [const {
    Class {
        lock: AtomicU32::new(0),
        cache: UnsafeCell::new(Cache {
            owner: 0,
            current: None,
            len: 0,
            free: [0; ENTRIES],
            sweeps: 0,
            look_anyway: 0,
            slabs: 0,
        }),
    }
}; CLASSES];

struct Guard(&'static Class);

#[inline]
fn try_lock(class: usize, me: OwnerId) -> Option<Guard> {
    let class = &CLASS[class];
    // SYNC: class unlocked -> try_lock
    let found = class
        .lock
        .compare_exchange(0, me.to_bits(), Ordering::Acquire, Ordering::Relaxed);

    match found {
        Ok(_) => Some(Guard::new(class, me)),
        Err(holder) if holder == me.to_bits() => None,
        Err(holder) => take_over(class, holder, me),
    }
}

/// The lock was held by another thread when this process was forked; that thread is not here.
#[cold]
fn take_over(class: &'static Class, holder: u32, me: OwnerId) -> Option<Guard> {
    // SYNC: class unlocked -> try_lock
    let taken =
        class
            .lock
            .compare_exchange(holder, me.to_bits(), Ordering::Acquire, Ordering::Relaxed);

    taken.is_ok().then(|| Guard::new(class, me))
}

#[inline]
fn lock(class: usize, me: OwnerId) -> Guard {
    match try_lock(class, me) {
        Some(guard) => guard,
        None => lock_slow(class, me),
    }
}

#[cold]
fn lock_slow(class: usize, me: OwnerId) -> Guard {
    let mut tries = 0;
    loop {
        if let Some(guard) = try_lock(class, me) {
            return guard;
        }
        tries += 1;
        if tries < SPINS {
            std::hint::spin_loop();
        } else {
            procession_sys::thread::yield_now();
        }
    }
}

impl Guard {
    #[inline]
    fn new(class: &'static Class, me: OwnerId) -> Self {
        let mut guard = Self(class);
        if guard.owner != me.to_bits() {
            guard.forget(me);
        }
        guard
    }
}

impl Deref for Guard {
    type Target = Cache;

    #[inline]
    fn deref(&self) -> &Cache {
        // SAFETY: whoever has the guard has the lock, so nobody else reaches the cache.
        unsafe { &*self.0.cache.get() }
    }
}

impl DerefMut for Guard {
    #[inline]
    fn deref_mut(&mut self) -> &mut Cache {
        // SAFETY: whoever has the guard has the lock, so nobody else reaches the cache.
        unsafe { &mut *self.0.cache.get() }
    }
}

impl Drop for Guard {
    #[inline]
    fn drop(&mut self) {
        // SYNC: class unlocked -> try_lock
        self.0.lock.store(0, Ordering::Release);
    }
}

impl Cache {
    #[cold]
    fn forget(&mut self, me: OwnerId) {
        self.owner = me.to_bits();
        self.current = None;
        self.len = 0;
        self.look_anyway = 0;
        self.slabs = 0;
        self.sweeps =
            family::header().map_or(0, |header| header.arena.sweeps.load(Ordering::Relaxed));
    }

    #[inline]
    fn take(&mut self, len: usize, me: OwnerId) -> Option<Small> {
        let slab = self.current?;
        while self.len > 0 {
            self.len -= 1;
            let index = self.free[self.len] as usize;
            let entry = &slab.entries[index & (ENTRIES - 1)];
            let word = entry.word.load();
            if !word.is(State::Free) {
                continue;
            }

            let class = slab.descriptor.class.load(Ordering::Relaxed) as usize % CLASSES;
            let at = index << shift_of(class);
            entry.meta.store(pack_meta(len, 0), Ordering::Relaxed);
            let word = word.with(State::Private, Some(me));
            entry.word.store(word);
            crash_point!("heap.small.taken");
            // SAFETY: the block lies inside the slab's chunk.
            let data = unsafe { slab.data.add(at) };
            return Some(Small {
                descriptor: slab.descriptor,
                entry,
                word,
                data,
                offset: slab.offset.plus(at as u64),
            });
        }
        None
    }

    /// Notes a free block of the slab that blocks are taken from; false if it is another.
    #[inline]
    fn put(&mut self, descriptor: &Descriptor, entry: &Entry) -> bool {
        let Some(slab) = &self.current else {
            return false;
        };
        if !std::ptr::eq(slab.descriptor, descriptor) || self.len == ENTRIES {
            return false;
        }
        let index =
            (std::ptr::from_ref(entry).addr() - slab.entries.as_ptr().addr()) / size_of::<Entry>();
        self.free[self.len] = index as u16;
        self.len += 1;
        true
    }

    /// Looks for a slab with free blocks among the next ones of the ring.
    fn refill(&mut self, class: usize, me: OwnerId) {
        if self.len > 0 {
            return;
        }
        let sweeps =
            family::header().map_or(0, |header| header.arena.sweeps.load(Ordering::Relaxed));
        if self.sweeps != sweeps {
            self.sweeps = sweeps;
            self.look_anyway = self.slabs;
        }
        let Some(mut slab) = self.current else { return };

        for _ in 0..self.slabs.min(LOOK_AT) {
            let Some(next) = slab.next() else { return };
            slab = next;
            let anyway = self.look_anyway > 0;
            self.look_anyway = self.look_anyway.saturating_sub(1);
            if (anyway || slab.descriptor.freed.load(Ordering::Relaxed) > 0)
                && slab.descriptor.word.load().is_of(State::Slab, me)
            {
                self.scan(slab, class);
                if self.len > 0 {
                    return;
                }
            }
        }
    }

    fn scan(&mut self, slab: Slab, class: usize) {
        // SYNC: block counted as freed -> refill
        slab.descriptor.freed.swap(0, Ordering::AcqRel);
        self.current = Some(slab);
        self.len = 0;
        for (index, entry) in slab.entries(class).iter().enumerate().rev() {
            if entry.word.load().is(State::Free) {
                self.free[self.len] = index as u16;
                self.len += 1;
            }
        }
    }

    /// Adds a slab that this process has just come by, and takes blocks from it.
    fn install(&mut self, slab: Slab, me: OwnerId) {
        debug_assert!(
            slab.descriptor.word.load().is_of(State::Slab, me),
            "a new slab is this process's"
        );
        match &self.current {
            Some(current) => {
                match current.next() {
                    Some(next) => slab.link(&next),
                    None => slab.link(current),
                }
                current.link(&slab);
                // Blocks still known to be free in it are found again by their slab's count.
                current
                    .descriptor
                    .freed
                    .fetch_add(self.len as u32, Ordering::Relaxed);
            }
            None => slab.link(&slab),
        }
        self.slabs += 1;
        self.scan(
            slab,
            slab.descriptor.class.load(Ordering::Relaxed) as usize % CLASSES,
        );
    }

    /// Takes a slab out of the ring all of whose blocks are free, unless it is the current one.
    fn unlink_empty(&mut self, class: usize) -> Option<Slab> {
        let current = self.current?;
        let mut before = current;
        for _ in 1..self.slabs {
            let slab = before.next()?;
            if slab.is(&current) {
                return None;
            }
            let entries = slab.entries(class);
            if slab.descriptor.freed.load(Ordering::Relaxed) as usize >= entries.len()
                && count_free(entries) == entries.len()
            {
                before.link(&slab.next()?);
                self.slabs -= 1;
                return Some(slab);
            }
            before = slab;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{CLASSES, ENTRIES, LARGEST, blocks_of, class_of, shift_of};

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
