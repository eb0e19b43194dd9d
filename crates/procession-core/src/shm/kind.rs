//! What a block of the heap holds.
//!
//! Written beside the block's state word, so that whoever recovers a dead process's block knows how to take it apart
//! (see [`crate::kinds`]) and whoever is given a handle can refuse one of the wrong kind.

use std::fmt;

/// The kind of a block. Numbers are part of the layout of shared memory: they are never reused.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(transparent)]
pub struct Kind(pub u32);

impl Kind {
    /// Bytes without structure: freed as they are.
    pub const RAW: Self = Self(0);
    /// A page of a process's ledger.
    pub const LEDGER: Self = Self(1);
    /// A message with a table of handles.
    pub const MESSAGE: Self = Self(2);

    /// A lock.
    pub const LOCK: Self = Self(32);
    /// A lock that its thread may acquire again.
    pub const REENTRANT_LOCK: Self = Self(33);
    /// A semaphore.
    pub const SEMAPHORE: Self = Self(34);
    /// An event.
    pub const EVENT: Self = Self(35);
    /// A condition.
    pub const CONDITION: Self = Self(36);
    /// A barrier.
    pub const BARRIER: Self = Self(37);
    /// Plain memory with a header.
    pub const CELL: Self = Self(38);

    /// The first kind that is an object, that is, counted by its holders.
    pub const FIRST_OBJECT: Self = Self(16);

    /// A queue.
    pub const QUEUE: Self = Self(48);
    /// One direction of a stream that several processes use.
    pub const DIRECTION: Self = Self(49);
    /// The state of a pool, with its workers' records.
    pub const POOL: Self = Self(64);

    /// Is it counted by its holders?
    #[must_use]
    pub const fn is_object(self) -> bool {
        self.0 >= Self::FIRST_OBJECT.0
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(crate::kinds::name(*self))
    }
}
