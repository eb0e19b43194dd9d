//! The descriptors that wait for their messages to be read.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use crate::shm::{BlockId, block};

/// By block, in the order in which they came; `None` for those that were handed over.
#[derive(Debug, Default)]
pub(super) struct Deposits(HashMap<BlockId, Vec<Option<OwnedFd>>>);

impl Deposits {
    pub(super) fn add(&mut self, block: BlockId, descriptors: Vec<OwnedFd>) {
        let kept = self.0.entry(block).or_default();
        kept.extend(descriptors.into_iter().map(Some));
    }

    /// Hands one over; the last one ends the entry.
    pub(super) fn take(&mut self, block: BlockId, index: u32) -> Option<OwnedFd> {
        let kept = self.0.get_mut(&block)?;
        let taken = kept.get_mut(index as usize)?.take();
        if kept.iter().all(Option::is_none) {
            self.0.remove(&block);
        }
        taken
    }

    pub(super) fn remove(&mut self, block: BlockId) {
        self.0.remove(&block);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Closes what belongs to messages that are gone.
    pub(super) fn sweep(&mut self) {
        self.0.retain(|block, _| block::find(*block).is_some());
    }
}
