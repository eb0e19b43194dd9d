//! The layout of a queue in the heap: two ends, each behind its own robust lock, and the words on which processes sleep.
//!
//! Used by every file of this folder; `README.md` beside it has the protocol and its proof. Messages lie in a chain of
//! blocks. A record is one header word and its payload, in units of 8 bytes:
//!
//! ```text
//! header:  bit 63 LINK   the chain goes on in another block: low 32 bits its capacity, next word its id
//!          bit 62 BLOCK  the message has a heap block of its own: next word its id
//!          else          a message of (low 32 bits) bytes, which follow
//! ```
//!
//! Nothing behind `tail` means anything, so records need no flags that say whether they are complete. Whoever dies
//! inside an end leaves its lock held; the next one to take it completes or undoes from the redo words (`recovery.rs`).

#![expect(unsafe_code, reason = "promises what shared memory needs of a layout")]

use super::cursor::Cursor;
use crate::shm::{Kind, Layout};
use procession_sync::{RawEventCount, RawLock};
use std::ops::Deref;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

pub(super) const LINK: u64 = 1 << 63;
pub(super) const BLOCK: u64 = 1 << 62;
/// The part of a header that is a length.
pub(super) const LEN: u64 = 0xffff_ffff;

/// What a LINK or BLOCK record takes; every block keeps this much for its LINK.
pub(super) const REFERENCE_RECORD: usize = 16;

/// The capacity of a queue's first block.
pub(super) const FIRST_BLOCK: usize = 2 << 10;

/// The capacity of the second block; from there on they double while the consumers lag behind.
pub(super) const SECOND_BLOCK: usize = 4 << 10;

/// Payloads up to this many bytes travel inside the chain, others in a block of their own.
pub(super) const MOST_INLINE: usize = 2 << 10;

/// A queue, as it lies in the heap.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct QueueState {
    pub(super) put: PutEnd,
    pub(super) get: GetEnd,
    pub(super) words: Words,
}

// SAFETY: `repr(C)`, atomics only, no addresses, valid as zeroes (an empty queue that has no block yet), needs no drop.
unsafe impl Layout for QueueState {
    const KIND: Kind = Kind::QUEUE;
}

/// The producers' end. All fields but `tail` are only touched under `lock`.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct PutEnd {
    /// A [`Cursor`]: where the next record goes. Its store publishes a message.
    pub(super) tail: OwnLine,
    pub(super) lock: RawLock,
    _reserved: AtomicU32,
    /// The ids of the current block (the cursor's side) and of the one before or after it.
    pub(super) blocks: [AtomicU64; 2],
    /// Their capacities in bytes.
    pub(super) capacities: [AtomicU32; 2],
    /// What `head`'s sequence was when a bounded queue last looked.
    pub(super) known_head: AtomicU64,
    /// Redo: the message block that is being published, or 0 ...
    pub(super) publishing: AtomicU64,
    /// ... as the message with this sequence.
    pub(super) publishing_sequence: AtomicU64,
    /// Redo: the block that the chain is being continued in, or 0.
    pub(super) linking: AtomicU64,
}

/// The consumers' end. All fields but `head` and `known_tail` are only touched under `lock`.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct GetEnd {
    /// A [`Cursor`]: where the next message lies. Its store delivers a message.
    pub(super) head: OwnLine,
    pub(super) lock: RawLock,
    _reserved: AtomicU32,
    /// The ids of the current block (the cursor's side) and of the one before or after it.
    pub(super) blocks: [AtomicU64; 2],
    /// Their capacities in bytes.
    pub(super) capacities: [AtomicU32; 2],
    /// What `tail`'s sequence was when a consumer last looked: saves a look at the producers' cache line.
    pub(super) known_tail: AtomicU64,
    /// Redo: the message block that is being delivered, or 0.
    pub(super) taking: AtomicU64,
    /// The sequence of the message that `taking` and `counting` are about.
    pub(super) taking_sequence: AtomicU64,
    /// Redo: the block that is being left behind, or 0.
    pub(super) retiring: AtomicU64,
    /// Redo of a joinable queue: whose count of taken tasks goes up with this message (its slot + 1), or 0 ...
    pub(super) counting: AtomicU64,
    /// ... and to what.
    pub(super) counting_value: AtomicU64,
}

/// A word that the other end looks at again and again while it waits: alone on its cache line, so that looking does not take
/// the lock and all else away from this end.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct OwnLine(AtomicU64);

impl Deref for OwnLine {
    type Target = AtomicU64;

    #[inline]
    fn deref(&self) -> &AtomicU64 {
        &self.0
    }
}

/// What both ends read at each message and write only when somebody sleeps.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Words {
    /// Consumers sleep here for a message.
    pub(super) ready: RawEventCount,
    /// Notifier threads sleep here for the first message (see `engine::notifier`).
    pub(super) polled: RawEventCount,
    /// 1 once no more messages are accepted; changed under the put lock. Not beside that lock: who waits for a message looks
    /// here again and again.
    pub(super) closed: AtomicU32,
    /// 1 once any process has asked for a pollable descriptor.
    pub(super) is_polled: AtomicU32,
    /// Producers sleep here for room in a bounded queue.
    pub(super) space: RawEventCount,
    /// The most messages that may wait, or 0.
    pub(super) maxsize: AtomicU64,
    /// The id of a joinable queue's task table, or 0.
    pub(super) tasks: AtomicU64,
}

impl QueueState {
    pub(super) fn tail(&self) -> Cursor {
        // SYNC: message published -> get
        Cursor::from_bits(self.put.tail.load(Ordering::Acquire))
    }

    pub(super) fn head(&self) -> Cursor {
        // SYNC: message delivered -> put
        Cursor::from_bits(self.get.head.load(Ordering::Acquire))
    }

    /// How many messages wait: a number that was exact at one instant during the call.
    pub(super) fn len(&self) -> u64 {
        let mut head = self.head();
        loop {
            let tail = self.tail();
            let again = self.head();
            if again == head {
                return head.distance_to(tail);
            }
            head = again;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn is_closed(&self) -> bool {
        // SYNC: queue closed -> get
        self.words.closed.load(Ordering::Acquire) != 0
    }

    pub(super) fn maxsize(&self) -> Option<u64> {
        match self.words.maxsize.load(Ordering::Relaxed) {
            0 => None,
            maxsize => Some(maxsize),
        }
    }
}
