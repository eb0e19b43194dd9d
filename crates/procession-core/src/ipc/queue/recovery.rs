//! What the next owner of an end does after the one before died with the lock.
//!
//! Used by `put.rs`, `get.rs` and whoever destroys a queue. Each end has at most one step in the making, which its redo
//! words name; the cursor says whether the step has happened. A block that belongs to nobody any more is claimed before
//! its redo word is cleared, so whoever dies *here* leaves either the redo word or a block that goes with its process.
//! Everything here can be done again by the next one.

use super::cursor::Cursor;
use super::state::QueueState;
use super::tasks;
use crate::kinds;
use crate::shm::{Block, BlockId};
use std::sync::atomic::{AtomicU64, Ordering};

/// Completes or undoes what the dead owner of the put lock was at. The caller holds that lock.
#[cold]
pub(super) fn put_end(state: &QueueState) {
    let end = &state.put;
    let tail = Cursor::from_bits(end.tail.load(Ordering::Relaxed));

    let was_published = end.publishing_sequence.load(Ordering::Relaxed) != tail.sequence();
    settle(&end.publishing, was_published);

    let is_linked =
        end.blocks[tail.side()].load(Ordering::Relaxed) == end.linking.load(Ordering::Relaxed);
    settle(&end.linking, is_linked);
}

/// Completes or undoes what the dead owner of the get lock was at. The caller holds that lock.
#[cold]
pub(super) fn get_end(state: &QueueState) {
    let end = &state.get;
    let head = Cursor::from_bits(end.head.load(Ordering::Relaxed));

    let was_delivered = end.taking_sequence.load(Ordering::Relaxed) != head.sequence();
    if was_delivered {
        tasks::redo_count(state);
    }
    end.counting.store(0, Ordering::Release);
    settle(&end.taking, !was_delivered);

    let is_current =
        end.blocks[head.side()].load(Ordering::Relaxed) == end.retiring.load(Ordering::Relaxed);
    settle(&end.retiring, is_current);
}

/// Frees the block that `redo` names, unless the queue (still or already) needs it or it has gone its way, and clears `redo`.
pub(super) fn settle(redo: &AtomicU64, is_needed: bool) {
    let block = match BlockId::from_bits(redo.load(Ordering::Relaxed)) {
        // It may have gone its way, or the way of its process, already.
        Some(id) if !is_needed => Block::claim(id),
        _ => None,
    };

    redo.store(0, Ordering::Release);
    if let Some(block) = block {
        kinds::destroy(block.kind(), &block);
    }
}
