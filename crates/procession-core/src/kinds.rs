//! The list of everything that shared memory can hold: its number, its name, and how it is taken apart.
//!
//! Used by whoever frees a block: its last holder, or the process that recovers a dead one. It must be complete in every
//! process of the family, for a process may have to take apart what it never used itself, so it is a table and not a
//! registration. This is the one place of the crate that names modules above `shm` from below; it only points.
//!
//! A function of this table is called by exactly one process, which holds the block exclusively. If that process dies
//! inside, another calls the function again: each step must be idempotent.

use crate::primitives;
use crate::shm::{Kind, block::Block, message};

struct Entry {
    kind: Kind,
    name: &'static str,
    destroy: fn(&Block),
}

const ENTRIES: &[Entry] = &[
    Entry {
        kind: Kind::RAW,
        name: "bytes",
        destroy: nothing,
    },
    Entry {
        kind: Kind::LEDGER,
        name: "ledger page",
        destroy: nothing,
    },
    Entry {
        kind: Kind::MESSAGE,
        name: "message",
        destroy: message::destroy,
    },
    Entry {
        kind: Kind::LOCK,
        name: "lock",
        destroy: nothing,
    },
    Entry {
        kind: Kind::REENTRANT_LOCK,
        name: "reentrant lock",
        destroy: nothing,
    },
    Entry {
        kind: Kind::SEMAPHORE,
        name: "semaphore",
        destroy: nothing,
    },
    Entry {
        kind: Kind::EVENT,
        name: "event",
        destroy: nothing,
    },
    Entry {
        kind: Kind::CONDITION,
        name: "condition",
        destroy: primitives::destroy_condition,
    },
    Entry {
        kind: Kind::BARRIER,
        name: "barrier",
        destroy: nothing,
    },
    Entry {
        kind: Kind::CELL,
        name: "value",
        destroy: nothing,
    },
    Entry {
        kind: Kind::QUEUE,
        name: "queue",
        destroy: crate::ipc::queue::destroy,
    },
    Entry {
        kind: Kind::DIRECTION,
        name: "direction of a connection",
        destroy: nothing,
    },
    Entry {
        kind: Kind::POOL,
        name: "pool",
        destroy: nothing,
    },
];

/// Gives back what the block's contents hold. The caller holds the block and frees it afterwards.
pub(crate) fn destroy(kind: Kind, block: &Block) {
    if let Some(entry) = find(kind) {
        (entry.destroy)(block);
    }
}

/// What people call the kind.
pub(crate) fn name(kind: Kind) -> &'static str {
    find(kind).map_or("object", |entry| entry.name)
}

fn find(kind: Kind) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.kind == kind)
}

fn nothing(_: &Block) {}
