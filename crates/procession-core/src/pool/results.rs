//! Result blocks: what a worker publishes while it runs a task, and how the program reads it.
//!
//! ```text
//! cell.results ──▶ [next | first item | count | (length, bytes)*count] ──next──▶ [ … ] ──▶ 0
//! ```
//!
//! The worker links a block before it hands it over, which makes it private to the program (see the README); a reader trusts only blocks
//! that are its own. So they are swept with the program, as its tasks are. The bytes of an item are the face's.

#![expect(
    unsafe_code,
    reason = "the link of a block that was handed over is changed in place"
)]

use std::sync::atomic::{AtomicU64, Ordering};

use procession_sync::OwnerId;

use super::cell::Cell;
use crate::bytes::Reader;
use crate::crash::crash_point;
use crate::error::Result;
use crate::shm::handles::Collected;
use crate::shm::message::View;
use crate::shm::{BlockId, Message, block, identity};

const HEADER: usize = 8 + 4 + 4;

/// Where a worker appends the next result block of the task that it runs.
#[derive(Debug)]
pub(super) struct Chain {
    /// The last block that was handed over, or none yet.
    last: Option<BlockId>,
    /// Whose the blocks become.
    program: OwnerId,
}

impl Chain {
    /// The chain of a task that may have been begun by a worker that died:
    /// behind its last block that was handed over.
    pub(super) fn of(cell: &Cell, program: OwnerId) -> Self {
        let last = handed_over(cell, program).last().map(|(id, _)| id);
        Self { last, program }
    }

    /// Publishes the results of `count` items from `first` on; `items` is
    /// their bytes, each behind its length.
    pub(super) fn publish(
        &mut self,
        cell: &Cell,
        first: u32,
        count: u32,
        items: &[u8],
        handles: &Collected,
    ) -> Result<()> {
        let mut message = Message::create(handles, HEADER + items.len())?;
        let payload = message.payload_mut();
        payload[..8].fill(0);
        payload[8..12].copy_from_slice(&first.to_le_bytes());
        payload[12..HEADER].copy_from_slice(&count.to_le_bytes());
        payload[HEADER..].copy_from_slice(items);
        let id = message.id();
        let link = match self.last {
            Some(last) => link_of(last),
            None => Some(&cell.results),
        };
        if let Some(link) = link {
            link.store(id.to_bits(), Ordering::Relaxed);
        }
        crash_point!("pool.result.linked");
        let _ = message.give(self.program);
        crash_point!("pool.result.handed_over");
        self.last = Some(id);
        Ok(())
    }
}

/// The blocks of a task that were handed over to `program`, in order.
fn handed_over(cell: &Cell, program: OwnerId) -> impl Iterator<Item = (BlockId, View)> {
    let mut next = BlockId::from_bits(cell.results.load(Ordering::Relaxed));
    std::iter::from_fn(move || {
        let id =
            next.filter(|id| block::find(*id).is_some_and(|found| found.is_private_to(program)))?;
        next = link_of(id).and_then(|link| BlockId::from_bits(link.load(Ordering::Relaxed)));
        Some((id, View::of(id)?))
    })
}

/// Items before this one have results that were handed over to this process. To be asked when no worker runs the task.
pub(super) fn end(cell: &Cell) -> u32 {
    if cell.inline_length.load(Ordering::Relaxed) != 0 {
        return cell.items.load(Ordering::Relaxed);
    }
    let Some(me) = identity::cached() else {
        return 0;
    };
    handed_over(cell, me)
        .map(|(_, view)| {
            let (first, count) = range(view.payload_behind(0));
            first.saturating_add(count)
        })
        .max()
        .unwrap_or(0)
}

/// The word of a result block that names the next one.
fn link_of(id: BlockId) -> Option<&'static AtomicU64> {
    let start = View::of(id)?.payload_start();
    // SAFETY: a result block's payload is at least `HEADER` long and aligned to 16; its memory is never unmapped, and the word is only
    // ever used as an atomic until the block is claimed.
    Some(unsafe { start.cast::<AtomicU64>().as_ref() })
}

/// One published block, taken by the program.
#[derive(Debug)]
pub(super) struct Results {
    message: Message,
}

impl Results {
    /// Takes all result blocks of a task that is over, in order.
    pub(super) fn take(cell: &Cell) -> Vec<Self> {
        let mut taken = Vec::new();
        let mut next = BlockId::from_bits(cell.results.swap(0, Ordering::Relaxed));
        while let Some(message) = next.and_then(Message::adopt) {
            next = Reader::new(message.payload())
                .u64()
                .and_then(BlockId::from_bits);
            taken.push(Self { message });
        }
        taken
    }

    /// The message, whose handles the items may refer to.
    pub(super) fn message(&self) -> &Message {
        &self.message
    }

    /// The items: their index in the task, and the face's bytes.
    pub(super) fn items(&self) -> impl Iterator<Item = (u32, &[u8])> {
        items(self.message.payload())
    }
}

/// Whether every item of a task that is over has a result which `accepts`
/// likes; takes nothing.
pub(super) fn all(cell: &Cell, accepts: fn(&[u8]) -> bool) -> bool {
    let Some(me) = identity::cached() else {
        return false;
    };
    let mut found = 0;
    for (_, view) in handed_over(cell, me) {
        for (_, result) in items(view.payload_behind(0)) {
            found += 1;
            if !accepts(result) {
                return false;
            }
        }
    }
    found == cell.items.load(Ordering::Relaxed)
}

fn items(payload: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    let (first, count) = range(payload);
    let mut reader = Reader::new(payload.get(HEADER..).unwrap_or_default());
    (first..first.saturating_add(count)).map_while(move |index| Some((index, reader.bytes()?)))
}

/// The first item of a result block, and how many there are.
fn range(payload: &[u8]) -> (u32, u32) {
    let mut reader = Reader::new(payload);
    reader.u64();
    (reader.u32().unwrap_or(0), reader.u32().unwrap_or(0))
}
