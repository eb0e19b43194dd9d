//! `Cursor`: where one end of a queue stands, in one word, so that one store moves it.
//!
//! Used by both ends. How many messages have passed and where the next one lies change together; a process that dies
//! has either moved the cursor or not, and there is nothing in between to repair.

const POSITION_BITS: u32 = 14;
const SIDE_BIT: u32 = POSITION_BITS;
const SEQUENCE_SHIFT: u32 = POSITION_BITS + 1;

/// The unit in which positions and records are counted, in bytes.
pub(super) const UNIT: usize = 8;

/// The largest block whose end a position can name.
pub(super) const LARGEST_BLOCK: usize = 1 << 16;

const _: () = assert!(LARGEST_BLOCK / UNIT < 1 << POSITION_BITS);

/// | bits | meaning |
/// |---|---|
/// | 0 to 13 | position inside the current block, in units of 8 bytes |
/// | 14 | side: which of the end's two block entries is the current block |
/// | 15 to 63 | sequence: how many messages have passed, modulo 2^49 |
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Cursor(u64);

impl Cursor {
    pub(super) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(super) const fn to_bits(self) -> u64 {
        self.0
    }

    /// How many messages have passed, modulo 2^49; only differences and equality mean anything.
    pub(super) const fn sequence(self) -> u64 {
        self.0 >> SEQUENCE_SHIFT
    }

    pub(super) const fn side(self) -> usize {
        (self.0 >> SIDE_BIT & 1) as usize
    }

    /// In bytes.
    pub(super) const fn position(self) -> usize {
        (self.0 & ((1 << POSITION_BITS) - 1)) as usize * UNIT
    }

    /// The same number of messages, at the start of the other side's block.
    pub(super) const fn at_other_block(self) -> Self {
        Self::new(self.sequence(), self.side() ^ 1, 0)
    }

    /// After one more message, whose record takes `len` bytes (a multiple of the unit).
    pub(super) const fn past_record(self, len: usize) -> Self {
        Self::new(self.sequence() + 1, self.side(), self.position() + len)
    }

    /// How many messages lie between this cursor and `ahead`.
    pub(super) const fn distance_to(self, ahead: Self) -> u64 {
        distance(self.sequence(), ahead.sequence())
    }

    const fn new(sequence: u64, side: usize, position: usize) -> Self {
        Self(sequence << SEQUENCE_SHIFT | (side as u64) << SIDE_BIT | (position / UNIT) as u64)
    }
}

/// How many steps lead from the sequence `from` to `to`.
pub(super) const fn distance(from: u64, to: u64) -> u64 {
    to.wrapping_sub(from) << SEQUENCE_SHIFT >> SEQUENCE_SHIFT
}

#[cfg(test)]
mod tests {
    use super::{Cursor, LARGEST_BLOCK, distance};

    #[test]
    fn parts_do_not_touch_each_other() {
        let cursor = Cursor::from_bits(0)
            .at_other_block()
            .past_record(LARGEST_BLOCK);

        assert_eq!(
            (cursor.sequence(), cursor.side(), cursor.position()),
            (1, 1, LARGEST_BLOCK)
        );
        assert_eq!(cursor.at_other_block().position(), 0);
        assert_eq!(cursor.at_other_block().side(), 0);
        assert_eq!(cursor.at_other_block().sequence(), 1);
    }

    #[test]
    fn sequences_wrap() {
        let last = Cursor::from_bits(u64::MAX << 15);
        let next = last.past_record(8);

        assert_eq!(next.sequence(), 0);
        assert_eq!(last.distance_to(next), 1);
        assert_eq!(distance(3, 1), (1 << 49) - 2);
    }
}
