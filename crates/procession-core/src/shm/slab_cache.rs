//! What a process knows about its own slabs: which one it takes blocks from, and which of its blocks are free.
//!
//! Used by `slab` alone. All of it is private to the process and only a hint: every block that it proposes is checked
//! against its word. Per class there is a process-local lock whose word is the owner id of the process. A forked child
//! finds its parent's id in locks and caches, takes such a lock over and forgets such a cache, so a fork needs no
//! preparation. When the process dies, nothing of this is missed.

#![expect(
    unsafe_code,
    reason = "the caches of a class are changed under its process-local lock"
)]

use super::arena::Run;
use super::chunk::{Descriptor, ENTRIES, Entry, pack_meta};
use super::family;
use super::offset::Offset;
use super::segment::Region;
use super::slab::{CLASSES, blocks_of, count_free, shift_of};
use super::state_word::{State, Word};
use crate::crash::crash_point;
use procession_sync::OwnerId;
use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// How many slabs a refill looks at before it gives up.
const LOOK_AT: usize = 32;
/// How often a contended lock is tried before the processor is given away.
const SPINS: u32 = 100;

/// A small block that was just handed out.
pub(super) struct Small {
    pub(super) descriptor: &'static Descriptor,
    pub(super) entry: &'static Entry,
    pub(super) word: Word,
    pub(super) data: NonNull<u8>,
    pub(super) offset: Offset,
}

/// A slab with the addresses of its parts.
#[derive(Clone, Copy)]
pub(super) struct Slab {
    region: Region,
    index: usize,
    descriptor: &'static Descriptor,
    entries: &'static [Entry; ENTRIES],
    data: NonNull<u8>,
    offset: Offset,
}

impl Slab {
    pub(super) fn of(run: Run) -> Self {
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

    pub(super) fn entries(&self, class: usize) -> &'static [Entry] {
        &self.entries[..blocks_of(class)]
    }

    pub(super) fn run(&self) -> Run {
        Run {
            region: self.region,
            index: self.index,
            chunks: 1,
        }
    }
}

/// What a process knows about its slabs of one class.
pub(super) struct Cache {
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

/// A locked cache.
pub(super) struct Guard(&'static Class);

/// Locks the cache of a class if no thread of this process has it.
#[inline]
pub(super) fn try_lock(class: usize, me: OwnerId) -> Option<Guard> {
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

/// Locks the cache of a class, waiting for other threads of this process.
#[inline]
pub(super) fn lock(class: usize, me: OwnerId) -> Guard {
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

    /// A free block of the current slab, private to `me` from now on.
    #[inline]
    pub(super) fn take(&mut self, len: usize, me: OwnerId) -> Option<Small> {
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
    pub(super) fn put(&mut self, descriptor: &Descriptor, entry: &Entry) -> bool {
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
    pub(super) fn refill(&mut self, class: usize, me: OwnerId) {
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
    pub(super) fn install(&mut self, slab: Slab, me: OwnerId) {
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
    pub(super) fn unlink_empty(&mut self, class: usize) -> Option<Slab> {
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
