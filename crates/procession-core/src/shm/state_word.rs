//! The state word of a block or run of chunks: one `u64` that says whose it is, and the only truth about it.
//!
//! Used by everything that hands out or gives back heap memory. Each change is one store or one compare-and-swap of the
//! whole word, so a process that dies anywhere leaves either the state before or the state after; all lists and counters
//! are hints that a scan of these words rebuilds. Words never lie in memory that is handed out, so a stale
//! [`BlockId`](super::offset::BlockId) can always be checked against one.

use procession_sync::OwnerId;
use std::fmt;

const GENERATION_BITS: u32 = 27;
const OWNER_BITS: u32 = 31;
const CODE_SHIFT: u32 = GENERATION_BITS + OWNER_BITS;

/// The bits of a generation: it counts how often the memory was freed, and wraps.
pub(crate) const GENERATION_MASK: u32 = (1 << GENERATION_BITS) - 1;

/// What a block or a run of chunks is at the moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(crate) enum State {
    /// A small block nobody has; of a chunk: not the first of a run.
    Free = 0,
    /// Exclusively held by the owner, and swept when it dies.
    Private = 1,
    /// An object: it lives by its holders.
    Shared = 2,
    /// It belongs to a queue, or waits for a child to claim it.
    Queued = 3,
    /// A chunk carved into small blocks; only the owner allocates from it, nobody if there is none.
    Slab = 4,
    /// A free run whose pages are resident.
    Warm = 5,
    /// A free run whose pages were given back, or never taken.
    Cold = 6,
    /// A free run whose pages the owner is giving back.
    Returning = 7,
}

/// | bits 58 to 63 | bits 27 to 57 | bits 0 to 26 |
/// |---|---|---|
/// | [`State`] | owner, or 0 | generation |
#[derive(Clone, Copy, Eq, PartialEq)]
#[repr(transparent)]
pub(crate) struct Word(u64);

impl Word {
    #[inline]
    pub(crate) const fn new(state: State, owner: Option<OwnerId>, generation: u32) -> Self {
        let owner = match owner {
            Some(owner) => owner.to_bits() as u64,
            None => 0,
        };

        Self(
            (state as u64) << CODE_SHIFT
                | owner << GENERATION_BITS
                | (generation & GENERATION_MASK) as u64,
        )
    }

    #[inline]
    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    #[inline]
    pub(crate) const fn to_bits(self) -> u64 {
        self.0
    }

    #[inline]
    pub(crate) const fn is(self, state: State) -> bool {
        self.0 >> CODE_SHIFT == state as u64
    }

    /// Is it in `state`, with `owner`?
    #[inline]
    pub(crate) const fn is_of(self, state: State, owner: OwnerId) -> bool {
        self.0 >> GENERATION_BITS == (state as u64) << OWNER_BITS | owner.to_bits() as u64
    }

    #[inline]
    pub(crate) const fn has_owner(self) -> bool {
        (self.0 >> GENERATION_BITS) as u32 & OwnerId::MASK != 0
    }

    #[inline]
    pub(crate) const fn generation(self) -> u32 {
        self.0 as u32 & GENERATION_MASK
    }

    /// The same generation in another state.
    #[inline]
    pub(crate) const fn with(self, state: State, owner: Option<OwnerId>) -> Self {
        Self::new(state, owner, self.generation())
    }

    /// As it becomes when freed: `state` is one of the free ones, and the generation goes up.
    #[inline]
    pub(crate) const fn freed(self, state: State) -> Self {
        Self::new(state, None, self.generation().wrapping_add(1))
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owner = OwnerId::from_bits((self.0 >> GENERATION_BITS) as u32 & OwnerId::MASK);

        write!(
            f,
            "Word({} {owner:?} generation {})",
            self.0 >> CODE_SHIFT,
            self.generation()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::{GENERATION_MASK, State, Word};
    use procession_sync::OwnerId;

    #[test]
    fn zero_is_free_with_nobody() {
        let word = Word::from_bits(0);

        assert!(word.is(State::Free) && !word.has_owner() && word.generation() == 0);
    }

    #[test]
    fn parts_do_not_touch() {
        let owner = OwnerId::new(OwnerId::SLOTS - 1, OwnerId::GENERATIONS - 1).unwrap();
        let word = Word::new(State::Returning, Some(owner), GENERATION_MASK);

        assert!(
            word.is(State::Returning)
                && word.is_of(State::Returning, owner)
                && word.generation() == GENERATION_MASK
        );
        assert!(!word.is_of(State::Private, owner));
        assert_eq!(
            word.with(State::Free, None),
            Word::new(State::Free, None, GENERATION_MASK)
        );
        assert_eq!(word.freed(State::Warm), Word::new(State::Warm, None, 0));
    }
}
