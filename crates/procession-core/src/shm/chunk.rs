//! What the heap knows about a chunk and about the small blocks in it, outside the memory that it hands out.
//!
//! Used by the arena (runs of chunks) and the slabs (small blocks). A [`Descriptor`] is the truth about the run that
//! begins at its chunk, an [`Entry`] about one small block. Fields other than the state words are written by whoever
//! holds the memory exclusively, before the store that hands it on; a process that dies leaves them without meaning.

use super::state_word::Word;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The most small blocks a chunk has: of the smallest class.
pub(crate) const ENTRIES: usize = 1024;

/// One chunk. All zero: a chunk that never was part of a run.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Descriptor {
    /// | state | meaning |
    /// |---|---|
    /// | Free | not the first chunk of a run; the generation is kept |
    /// | Private, Shared, Queued | a large block of `chunks` chunks |
    /// | Slab | one chunk of small blocks of class `class` |
    /// | Warm, Cold, Returning | a free run of `chunks` chunks |
    ///
    /// The generation is at least that of every block that ever began in this chunk, unless it is a slab now.
    pub(crate) word: StateWord,
    /// The length of the run; changes under the arena lock.
    pub(crate) chunks: AtomicU32,
    /// The class of a slab.
    pub(crate) class: AtomicU32,
    /// The length of a large block in bytes.
    pub(crate) bytes: AtomicU64,
    /// The kind of a large block.
    pub(crate) kind: AtomicU32,
    /// Hint: how many blocks of the slab were freed that its owner has not seen.
    pub(crate) freed: AtomicU32,
    /// Hint of the slab's owner: the next slab of its ring, as an offset.
    pub(crate) next: AtomicU64,
}

/// One small block.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Entry {
    /// Free, Private, Shared or Queued.
    pub(crate) word: StateWord,
    /// The length in the lower half, the kind in the upper.
    pub(crate) meta: AtomicU64,
}

/// An atomic [`Word`]. Zero bytes are Free.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct StateWord(AtomicU64);

impl StateWord {
    #[inline]
    pub(crate) fn load(&self) -> Word {
        // SYNC: block handed on -> load
        Word::from_bits(self.0.load(Ordering::Acquire))
    }

    /// As [`load`](Self::load), in the one order of all sequentially consistent operations.
    #[inline]
    pub(crate) fn load_in_order(&self) -> Word {
        // SYNC: block freed, then slab looked at -> slab orphaned, then blocks counted
        Word::from_bits(self.0.load(Ordering::SeqCst))
    }

    /// For whoever alone may change the word.
    #[inline]
    pub(crate) fn store(&self, word: Word) {
        // SYNC: block handed on -> load
        self.0.store(word.to_bits(), Ordering::Release);
    }

    /// One change from exactly `from`; false if the word is another.
    #[inline]
    pub(crate) fn change(&self, from: Word, to: Word) -> bool {
        // SYNC: block freed, then slab looked at -> slab orphaned, then blocks counted
        self.0
            .compare_exchange(
                from.to_bits(),
                to.to_bits(),
                Ordering::SeqCst,
                Ordering::Relaxed,
            )
            .is_ok()
    }
}

/// The metadata of a small block in one word.
#[inline]
pub(crate) const fn pack_meta(len: usize, kind: u32) -> u64 {
    len as u64 | (kind as u64) << 32
}

/// Length and kind of a small block.
#[inline]
pub(crate) const fn unpack_meta(meta: u64) -> (usize, u32) {
    (meta as u32 as usize, (meta >> 32) as u32)
}
