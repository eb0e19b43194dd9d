//! `Block`: bytes of the heap that this process alone has, and finding a block by its [`BlockId`].
//!
//! Used by everything that puts something into the heap. A block lives in one of three states: Private to a process
//! (a [`Block`]), Shared (an object, see `object`), Queued (it belongs to a queue). Each change is one compare-and-swap of
//! its state word. When a process dies, the sweep frees what was private to it; a forked child's copy of its parent's
//! [`Block`] frees nothing and must not be used.

#![expect(unsafe_code, reason = "a block is memory behind an address")]

use super::arena::Run;
use super::chunk::{Descriptor, Entry, StateWord, pack_meta, unpack_meta};
use super::kind::Kind;
use super::offset::{BlockId, Offset};
use super::segment::Region;
use super::slab;
use super::slab_cache::Small;
use super::state_word::{State, Word};
use super::{identity, run};
use crate::crash::crash_point;
use procession_sync::OwnerId;
use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::atomic::Ordering;

/// Where a block's state and metadata are.
#[derive(Clone, Copy)]
enum Home {
    Small {
        descriptor: &'static Descriptor,
        entry: &'static Entry,
    },
    Large {
        run: Run,
    },
}

impl Home {
    #[inline]
    fn word(&self) -> &'static StateWord {
        match self {
            Self::Small { entry, .. } => &entry.word,
            Self::Large { run } => &run.descriptor().word,
        }
    }

    #[inline]
    fn meta(&self) -> (usize, Kind) {
        match self {
            Self::Small { entry, .. } => {
                let (len, kind) = unpack_meta(entry.meta.load(Ordering::Relaxed));
                (len, Kind(kind))
            }
            Self::Large { run } => {
                let descriptor = run.descriptor();
                let len = descriptor.bytes.load(Ordering::Relaxed) as usize;
                (len, Kind(descriptor.kind.load(Ordering::Relaxed)))
            }
        }
    }

    #[inline]
    fn set_meta(&self, len: usize, kind: Kind) {
        match self {
            Self::Small { entry, .. } => {
                entry.meta.store(pack_meta(len, kind.0), Ordering::Relaxed)
            }
            Self::Large { run } => {
                run.descriptor().bytes.store(len as u64, Ordering::Relaxed);
                run.descriptor().kind.store(kind.0, Ordering::Relaxed);
            }
        }
    }
}

/// Bytes of the heap that this process alone has. Dropping it frees them.
///
/// The contents are whatever was there before, until written.
pub struct Block {
    data: NonNull<u8>,
    len: usize,
    offset: Offset,
    /// What the state word holds as long as the block is this value's.
    word: Word,
    home: Home,
}

// SAFETY: a block is memory of the process, no thread's own, and this value alone gives access to it.
unsafe impl Send for Block {}
// SAFETY: through a shared reference it can only be read.
unsafe impl Sync for Block {}

impl Block {
    #[inline]
    pub(super) fn from_small(small: Small, len: usize) -> Self {
        let home = Home::Small {
            descriptor: small.descriptor,
            entry: small.entry,
        };

        Self {
            data: small.data,
            len,
            offset: small.offset,
            word: small.word,
            home,
        }
    }

    pub(super) fn from_run(run: Run, len: usize) -> Self {
        let descriptor = run.descriptor();
        descriptor.bytes.store(len as u64, Ordering::Relaxed);

        Self {
            data: run.region.data(run.index),
            len,
            offset: run.region.offset(run.index),
            word: descriptor.word.load(),
            home: Home::Large { run },
        }
    }

    /// Takes a queued block: exactly one of all who try gets it. `None` if it is not (or no longer) in a queue.
    #[must_use]
    pub fn claim(id: BlockId) -> Option<Self> {
        let claimed = Self::change_to_private(id, State::Queued);
        crash_point!("heap.block.claimed");
        claimed
    }

    /// Does a block of this name live, in whatever hands?
    #[must_use]
    pub fn exists(id: BlockId) -> bool {
        Place::of(id).is_some()
    }

    /// Takes an object that no holder has any more: Shared to private, in exactly this generation.
    #[must_use]
    pub(crate) fn claim_shared(id: BlockId) -> Option<Self> {
        Self::change_to_private(id, State::Shared)
    }

    fn change_to_private(id: BlockId, from: State) -> Option<Self> {
        let me = identity::cached()?;
        let place = Place::of(id)?;
        let word = place.word;
        let private = word.with(State::Private, Some(me));

        (word.is(from) && place.home.word().change(word, private))
            .then(|| place.into_block(id, private))
    }

    /// The value for a block that is private to this process already, of which there is no other value.
    ///
    /// # Safety
    /// No other [`Block`] of this process stands for it.
    #[must_use]
    pub(crate) unsafe fn adopt(id: BlockId) -> Option<Self> {
        let me = identity::cached()?;
        let place = Place::of(id)?;
        let word = place.word;

        word.is_of(State::Private, me)
            .then(|| place.into_block(id, word))
    }

    /// Makes what was private to the dead `owner` this process's.
    pub(super) fn inherit(id: BlockId, owner: OwnerId, me: OwnerId) -> Option<Self> {
        let place = Place::of(id)?;
        let word = place.word;
        let private = word.with(State::Private, Some(me));

        (word.is_of(State::Private, owner) && place.home.word().change(word, private))
            .then(|| place.into_block(id, private))
    }

    /// Which block it is.
    #[inline]
    #[must_use]
    pub fn id(&self) -> BlockId {
        match BlockId::new(self.offset, self.word.generation()) {
            Some(id) => id,
            None => unreachable!("the header lies where the null block would be"),
        }
    }

    /// Where it begins.
    #[inline]
    #[must_use]
    pub const fn offset(&self) -> Offset {
        self.offset
    }

    /// Its length in bytes.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Does it belong to this process? A forked child has its parent's values too.
    pub(crate) fn is_ours(&self) -> bool {
        identity::cached().is_some_and(|me| self.word.is_of(State::Private, me))
    }

    /// Does it have no bytes?
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What it holds.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.home.meta().1
    }

    /// Says what it holds: when this process dies, it is taken apart as such. Set it when the contents allow that.
    pub fn set_kind(&mut self, kind: Kind) {
        // SYNC: contents of a kind -> sweep
        std::sync::atomic::fence(Ordering::Release);
        self.home.set_meta(self.len, kind);
    }

    /// Makes it shorter; the memory behind is freed with the block.
    pub fn shrink(&mut self, len: usize) {
        self.len = self.len.min(len);
        self.home.set_meta(self.len, self.kind());
    }

    /// The address of its first byte in this process.
    #[inline]
    #[must_use]
    pub const fn data(&self) -> NonNull<u8> {
        self.data
    }

    /// Its bytes.
    #[inline]
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: the block is this value's alone and mapped for ever; any bytes are valid.
        unsafe { std::slice::from_raw_parts(self.data.as_ptr(), self.len) }
    }

    /// Its bytes, to be written.
    #[inline]
    #[must_use]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: the block is this value's alone and mapped for ever; any bytes are valid.
        unsafe { std::slice::from_raw_parts_mut(self.data.as_ptr(), self.len) }
    }

    /// Overwrites all with zeroes.
    pub fn zero(&mut self) {
        self.as_mut_slice().fill(0);
    }

    /// Hands it to a queue: from now on it is freed by whoever [claims](Self::claim) it, or with the queue.
    #[must_use = "nothing else names the block"]
    pub fn into_queued(self) -> BlockId {
        let id = self.hand_on(State::Queued, None);
        crash_point!("heap.block.queued");
        id
    }

    /// Makes it an object, which lives by its holders.
    #[must_use = "nothing else names the block"]
    pub(crate) fn into_shared(self) -> BlockId {
        let id = self.hand_on(State::Shared, None);
        crash_point!("heap.block.shared");
        id
    }

    /// Makes it private to another process.
    #[must_use = "nothing else names the block"]
    pub(crate) fn give(self, to: OwnerId) -> BlockId {
        self.hand_on(State::Private, Some(to))
    }

    /// Leaves it private to this process without a value that stands for it.
    #[must_use = "nothing else names the block"]
    pub(crate) fn keep(self) -> BlockId {
        ManuallyDrop::new(self).id()
    }

    fn hand_on(self, state: State, owner: Option<OwnerId>) -> BlockId {
        let block = ManuallyDrop::new(self);
        let handed = block
            .home
            .word()
            .change(block.word, block.word.with(state, owner));
        debug_assert!(handed, "block {:?} was not this process's", block.offset);

        block.id()
    }
}

impl Drop for Block {
    #[inline]
    fn drop(&mut self) {
        let Some(me) = identity::cached() else { return };
        if !self.word.is_of(State::Private, me) {
            return;
        }
        match self.home {
            Home::Small { descriptor, entry } => {
                let freed = slab::free(descriptor, entry, self.word, me);
                debug_assert!(freed, "block {:?} was freed twice", self.offset);
            }
            Home::Large { run } => {
                // What cannot be given back to the system is still private, and swept when this process ends.
                let freed = run::free(run, self.word);
                debug_assert!(
                    !matches!(freed, Ok(false)),
                    "block {:?} was freed twice",
                    self.offset
                );
            }
        }
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block")
            .field("offset", &self.offset)
            .field("len", &self.len)
            .field("word", &self.word)
            .finish()
    }
}

/// A block of any state that exists.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) data: NonNull<u8>,
    pub(crate) len: usize,
    pub(crate) kind: Kind,
    word: Word,
}

impl Found {
    /// Does it belong to a queue?
    pub(crate) fn is_queued(&self) -> bool {
        self.word.is(State::Queued)
    }

    /// Is it `owner`'s alone?
    pub(crate) fn is_private_to(&self, owner: OwnerId) -> bool {
        self.word.is_of(State::Private, owner)
    }
}

/// Looks a block up: `None` if there is none of this name, because it was freed or never existed.
#[must_use]
pub(crate) fn find(id: BlockId) -> Option<Found> {
    let place = Place::of(id)?;
    let (len, kind) = place.home.meta();

    Some(Found {
        data: place.data,
        len,
        kind,
        word: place.word,
    })
}

/// An object none of whose holders is left becomes private to this process; false if it is no object of this generation.
pub(crate) fn shared_to_private(id: BlockId) -> bool {
    Block::claim_shared(id).map(|block| block.keep()).is_some()
}

/// A block that is not free, with its state as seen.
struct Place {
    home: Home,
    data: NonNull<u8>,
    word: Word,
}

impl Place {
    /// Checks everything an id can be wrong about: segment, chunk, alignment, generation.
    fn of(id: BlockId) -> Option<Self> {
        let offset = id.offset();
        let region = Region::of(offset.segment()).ok()?;
        let (index, at) = region.chunk_of(offset)?;
        let descriptor = region.descriptor(index);

        let state = descriptor.word.load();
        let (home, word) = if state.is(State::Slab) {
            let entries = slab::entries_of(&region, index);
            let shift = (super::segment::CHUNK / entries.len().max(1)).trailing_zeros();
            if at & ((1 << shift) - 1) != 0 {
                return None;
            }
            let entry = entries.get(at >> shift)?;
            (Home::Small { descriptor, entry }, entry.word.load())
        } else {
            if at != 0 {
                return None;
            }
            let chunks = descriptor.chunks.load(Ordering::Relaxed) as usize;
            (
                Home::Large {
                    run: Run {
                        region,
                        index,
                        chunks,
                    },
                },
                state,
            )
        };

        let lives = word.is(State::Private) || word.is(State::Shared) || word.is(State::Queued);
        let data = super::segment::base(offset.segment()).ok()?;
        // SAFETY: the offset was found to lie in a chunk of the segment.
        let data = unsafe { data.add(offset.at() as usize) };
        (lives && word.generation() == id.generation()).then_some(Self { home, data, word })
    }

    fn into_block(self, id: BlockId, word: Word) -> Block {
        let (len, _) = self.home.meta();

        Block {
            data: self.data,
            len,
            offset: id.offset(),
            word,
            home: self.home,
        }
    }
}
