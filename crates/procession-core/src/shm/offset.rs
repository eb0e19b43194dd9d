//! Names of places in the heap that mean the same in every process: [`Offset`], and [`BlockId`] with a generation.
//!
//! Used by every structure that points into shared memory. An offset is resolved through the table of segments, which
//! maps a segment when it is first touched. A process that dies changes nothing here.

#![expect(unsafe_code, reason = "an offset becomes an address")]

use super::segment;
use super::state_word::GENERATION_MASK;
use crate::error::Result;
use std::num::NonZeroU64;
use std::ptr::NonNull;

const SEGMENT_SHIFT: u32 = 56;
const GENERATION_BITS: u32 = GENERATION_MASK.count_ones();
/// Blocks are aligned to this many bits at least, which an id therefore leaves out.
const ALIGN_BITS: u32 = 6;
const GRANULE_BITS: u32 = 32;

/// The longest a segment may be for its blocks to have ids.
pub(crate) const SEGMENT_LIMIT: u64 = 1 << (ALIGN_BITS + GRANULE_BITS);

/// A place in the heap; 0 is nowhere. Bits 56 and up name the segment, the others the byte in it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(transparent)]
pub struct Offset(u64);

impl Offset {
    /// Nowhere.
    pub const NULL: Self = Self(0);

    #[inline]
    pub(crate) const fn new(segment: usize, at: u64) -> Self {
        Self((segment as u64) << SEGMENT_SHIFT | at)
    }

    /// As a word of shared memory holds it.
    #[inline]
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// What a word of shared memory holds.
    #[inline]
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Is it nowhere?
    #[inline]
    #[must_use]
    pub const fn is_null(self) -> bool {
        self.0 == 0
    }

    #[inline]
    pub(crate) const fn segment(self) -> usize {
        (self.0 >> SEGMENT_SHIFT) as usize
    }

    #[inline]
    pub(crate) const fn at(self) -> u64 {
        self.0 & ((1 << SEGMENT_SHIFT) - 1)
    }

    /// The place `bytes` further on in the same block.
    #[inline]
    #[must_use]
    pub const fn plus(self, bytes: u64) -> Self {
        Self(self.0 + bytes)
    }

    /// The address in this process. The caller sees to it that the offset lies in a live block, or in the header.
    ///
    /// # Errors
    /// The segment does not exist, or cannot be mapped: no address space, or the family's descriptor was closed.
    #[inline]
    pub fn resolve(self) -> Result<NonNull<u8>> {
        let base = segment::base(self.segment())?;

        // SAFETY: an offset in use lies inside its segment, which is mapped as a whole.
        Ok(unsafe { base.add(self.at() as usize) })
    }
}

/// One life of one block: where it is and the generation it has until it is freed. Never 0, so 0 is none.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(transparent)]
pub struct BlockId(NonZeroU64);

impl BlockId {
    /// Segment in the upper 5 bits, then the offset in units of 64 bytes, then the generation.
    pub(crate) fn new(offset: Offset, generation: u32) -> Option<Self> {
        debug_assert!(
            offset.at() < SEGMENT_LIMIT && offset.at().is_multiple_of(1 << ALIGN_BITS),
            "{offset:?} cannot be a block"
        );
        let place = (offset.segment() as u64) << GRANULE_BITS | offset.at() >> ALIGN_BITS;

        Self::from_bits(place << GENERATION_BITS | u64::from(generation & GENERATION_MASK))
    }

    /// As a word of shared memory holds it.
    #[inline]
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        self.0.get()
    }

    /// What a word of shared memory holds; `None` if that is 0.
    #[inline]
    #[must_use]
    pub const fn from_bits(bits: u64) -> Option<Self> {
        match NonZeroU64::new(bits) {
            Some(bits) => Some(Self(bits)),
            None => None,
        }
    }

    /// Where the block's bytes begin.
    #[inline]
    #[must_use]
    pub const fn offset(self) -> Offset {
        let place = self.to_bits() >> GENERATION_BITS;
        let granule = place & ((1 << GRANULE_BITS) - 1);

        Offset::new((place >> GRANULE_BITS) as usize, granule << ALIGN_BITS)
    }

    /// Which of the lives of its memory it is.
    #[inline]
    #[must_use]
    pub const fn generation(self) -> u32 {
        self.to_bits() as u32 & GENERATION_MASK
    }
}

#[cfg(test)]
mod tests {
    use super::{BlockId, GENERATION_MASK, Offset, SEGMENT_LIMIT};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ids_keep_their_parts(segment in 0usize..32, granule in 1u64..SEGMENT_LIMIT / 64, generation in 0..=GENERATION_MASK) {
            let offset = Offset::new(segment, granule * 64);
            let id = BlockId::new(offset, generation).unwrap();

            prop_assert_eq!((id.offset(), id.generation()), (offset, generation));
            prop_assert_eq!(BlockId::from_bits(id.to_bits()), Some(id));
        }
    }

    #[test]
    fn zero_names_nothing() {
        assert!(BlockId::from_bits(0).is_none() && Offset::NULL.is_null());
    }
}
