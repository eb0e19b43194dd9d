//! Who holds a word: a process, in 31 bits.
//!
//! Used by every word that records its holder. A slot of the process table alone would name the
//! next process that takes the slot; together with the slot's generation it names one process,
//! so a dead holder's word is never mistaken for a live one's.

use core::fmt;
use core::num::NonZeroU32;

const SLOT_BITS: u32 = 11;
const GENERATION_BITS: u32 = 20;

/// A process, as lock words record it.
///
/// | bits | meaning |
/// |---|---|
/// | 0 to 10 | slot in the process table |
/// | 11 to 30 | generation of the slot |
/// | 31 | always 0: words keep a flag there |
///
/// The number as a whole is never 0, which is how a word says "nobody".
#[derive(Copy, Clone, Eq, PartialEq, Hash)]
#[repr(transparent)]
pub struct OwnerId(NonZeroU32);

impl OwnerId {
    /// The bits of a word that hold an owner.
    pub const MASK: u32 = (1 << (SLOT_BITS + GENERATION_BITS)) - 1;

    /// How many slots there can be.
    pub const SLOTS: u16 = 1 << SLOT_BITS;

    /// How many generations a slot can have; they are `0..GENERATIONS`.
    pub const GENERATIONS: u32 = 1 << GENERATION_BITS;

    /// The process of `generation` in `slot`; `None` if one of them is out of range or both
    /// are 0.
    #[must_use]
    pub const fn new(slot: u16, generation: u32) -> Option<Self> {
        if slot >= Self::SLOTS || generation >= Self::GENERATIONS {
            return None;
        }
        Self::from_bits(slot as u32 | generation << SLOT_BITS)
    }

    /// The owner that `bits` name; `None` if they are 0 or have bit 31 set.
    #[inline]
    #[must_use]
    pub const fn from_bits(bits: u32) -> Option<Self> {
        if bits & !Self::MASK != 0 {
            return None;
        }
        match NonZeroU32::new(bits) {
            Some(bits) => Some(Self(bits)),
            None => None,
        }
    }

    /// The owner in the low 31 bits of `word`, whatever its flag.
    #[inline]
    pub(crate) const fn in_word(word: u32) -> Option<Self> {
        Self::from_bits(word & Self::MASK)
    }

    /// As a word records it: never 0, bit 31 clear.
    #[inline]
    #[must_use]
    pub const fn to_bits(self) -> u32 {
        self.0.get()
    }

    /// The slot in the process table.
    #[inline]
    #[must_use]
    pub const fn slot(self) -> u16 {
        (self.to_bits() & (Self::SLOTS as u32 - 1)) as u16
    }

    /// The generation of the slot.
    #[inline]
    #[must_use]
    pub const fn generation(self) -> u32 {
        self.to_bits() >> SLOT_BITS
    }
}

impl fmt::Debug for OwnerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnerId({}.{})", self.slot(), self.generation())
    }
}
