//! A task as the program that submitted it holds it.
//!
//! The task block stays the program's from submission to the last look at the results, so a task can be put again when its worker dies,
//! and a task whose program dies goes with it. Whoever drops the last reference to a task that is not over leaves it in the pool's table, which
//! keeps the block alive for the worker.

use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use procession_sync::{OwnerId, Waiter};

use super::cell::{Cell, INLINE, Phase};
use super::fault::Fault;
use super::results::{self, Results};
use crate::error::Result;
use crate::shm::handles::Collected;
use crate::shm::{BlockId, Message, identity};

/// What to submit: one call, or several of the same entry (a chunk).
#[derive(Debug)]
pub struct TaskSpec<'a> {
    /// The position of the face's trampoline.
    pub entry: u64,
    /// What to call it in errors.
    pub name: &'static str,
    /// How many items `payload` holds.
    pub items: u32,
    /// The items, each behind its length (8 bytes, little-endian).
    pub payload: &'a [u8],
    /// The handles that the items refer to.
    pub handles: Collected,
    /// The most time that one item may take.
    pub timeout: Option<Duration>,
    /// How often an item whose worker died, or that took too long, is run
    /// again.
    pub retries: u32,
    /// Announce completion on the pool's word, for [`super::Pool::wait_any`].
    pub announced: bool,
}

/// A submitted task.
#[derive(Debug)]
pub struct Task {
    /// Who submitted it: a fork of that process has a copy that it must not touch.
    creator: Option<OwnerId>,
    message: Message,
    name: &'static str,
    items: u32,
    /// How often each item may be run again.
    retries: u32,
    verdicts: Mutex<Verdicts>,
}

#[derive(Debug, Default)]
struct Verdicts {
    /// Why it was stopped while running.
    stopped: Option<Fault>,
    /// Why the whole task failed.
    whole: Option<Fault>,
    /// The item that was run again last, and how often: items fail in order.
    retried: Option<(u32, u32)>,
    /// Items without a result, by index.
    items: Vec<(u32, Fault)>,
}

/// What became of one item.
#[derive(Debug)]
pub enum ItemOutcome<'a> {
    /// The face's bytes, written by its executor in the worker.
    Finished(&'a [u8]),
    /// No result.
    Failed(Fault),
}

impl Task {
    pub(super) fn new(spec: TaskSpec<'_>) -> Result<Self> {
        let mut message = Message::create(&spec.handles, size_of::<Cell>() + spec.payload.len())?;
        let (cell, items) = message.payload_mut().split_at_mut(size_of::<Cell>());
        cell.fill(0);
        items.copy_from_slice(spec.payload);
        let task = Self {
            creator: identity::cached(),
            message,
            name: spec.name,
            items: spec.items,
            retries: spec.retries,
            verdicts: Mutex::default(),
        };
        let cell = task.cell();
        let timeout = spec.timeout.map_or(0, |timeout| {
            u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX).max(1)
        });
        cell.entry.store(spec.entry, Ordering::Relaxed);
        cell.timeout.store(timeout, Ordering::Relaxed);
        cell.items.store(spec.items, Ordering::Relaxed);
        if spec.announced {
            cell.announce();
        }
        Ok(task)
    }

    /// What it is called in errors.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How many items it has.
    #[must_use]
    pub fn items(&self) -> u32 {
        self.items
    }

    /// Whether it is over; for a fork of its program it is.
    #[must_use]
    pub fn is_over(&self) -> bool {
        !self.is_ours() || self.cell().phase().is_final()
    }

    /// Has its completion announced to [`super::Pool::wait_any`]; look at
    /// [`is_over`](Self::is_over) afterwards.
    pub fn announce(&self) {
        if self.is_ours() {
            self.cell().announce();
        }
    }

    /// Waits until it is over, for as long as `waiter` allows.
    ///
    /// # Errors
    /// The deadline passed or the wait was interrupted.
    pub fn wait(&self, waiter: &mut impl Waiter) -> Result<()> {
        // Its program may have freed the cell since it forked.
        if self.is_ours() {
            self.cell().wait(waiter)?;
        }
        Ok(())
    }

    /// Whether the task is over and every item has a result that `accepts`
    /// likes. Takes nothing; false after [`take_outcomes`](Self::take_outcomes).
    #[must_use]
    pub fn succeeded(&self, accepts: fn(&[u8]) -> bool) -> bool {
        if !self.is_ours() {
            return false;
        }
        let cell = self.cell();
        let mut buffer = [0; INLINE];
        match cell.phase() {
            Phase::Done => cell
                .load_inline(&mut buffer)
                .map_or_else(|| results::all(cell, accepts), accepts),
            _ => false,
        }
    }

    /// Calls `each` for every item in order, with the message that its
    /// handles come from. To be called once, when the task is over: results
    /// are taken out of the Heap.
    pub fn take_outcomes(&self, mut each: impl FnMut(u32, ItemOutcome<'_>, Option<&Message>)) {
        if !self.is_ours() {
            for index in 0..self.items {
                each(index, ItemOutcome::Failed(Fault::Terminated), None);
            }
            return;
        }
        let cell = self.cell();
        let whole = match cell.phase() {
            Phase::Cancelled => Some(Fault::Cancelled),
            Phase::Failed => self.verdicts().whole.clone(),
            _ => None,
        };
        let mut buffer = [0; INLINE];
        if whole.is_none()
            && let Some(result) = cell.load_inline(&mut buffer)
        {
            each(0, ItemOutcome::Finished(result), None);
            return;
        }
        let failures = std::mem::take(&mut self.verdicts().items);
        let mut failures = failures.into_iter().peekable();
        let unpublished = cell.unpublished.load(Ordering::Relaxed) != 0;
        let whole = whole.or_else(|| unpublished.then_some(Fault::NoRoom));
        let mut next = 0;
        for results in Results::take(cell) {
            for (index, bytes) in results.items() {
                while next < index {
                    each(
                        next,
                        ItemOutcome::Failed(fault(&mut failures, next, whole.as_ref())),
                        None,
                    );
                    next += 1;
                }
                each(index, ItemOutcome::Finished(bytes), Some(results.message()));
                next = index + 1;
            }
        }
        while next < self.items {
            each(
                next,
                ItemOutcome::Failed(fault(&mut failures, next, whole.as_ref())),
                None,
            );
            next += 1;
        }
    }

    fn is_ours(&self) -> bool {
        self.creator == identity::cached()
    }

    pub(super) fn id(&self) -> BlockId {
        self.message.id()
    }

    pub(super) fn cell(&self) -> &Cell {
        Cell::of(&self.message.view())
    }

    /// Takes one of the item's retries, if there is one left.
    pub(super) fn take_retry(&self, item: u32) -> bool {
        let mut verdicts = self.verdicts();
        let used = match verdicts.retried {
            Some((retried, used)) if retried == item => used,
            _ => 0,
        };
        let left = used < self.retries;
        if left {
            verdicts.retried = Some((item, used + 1));
        }
        left
    }

    /// Notes why the running item is being stopped.
    pub(super) fn note_stop(&self, fault: Fault) {
        self.verdicts().stopped = Some(fault);
    }

    pub(super) fn take_stop(&self) -> Option<Fault> {
        self.verdicts().stopped.take()
    }

    pub(super) fn note_failed_item(&self, index: u32, fault: Fault) {
        self.verdicts().items.push((index, fault));
    }

    pub(super) fn note_failed(&self, fault: Fault) {
        self.verdicts().whole.get_or_insert(fault);
    }

    fn verdicts(&self) -> std::sync::MutexGuard<'_, Verdicts> {
        self.verdicts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Task {
    /// Frees the results that nobody took.
    fn drop(&mut self) {
        if self.is_ours() && self.is_over() {
            drop(Results::take(self.cell()));
        }
    }
}

/// The reason noted for item `index`; the list is in order of items.
fn fault(
    failures: &mut std::iter::Peekable<std::vec::IntoIter<(u32, Fault)>>,
    index: u32,
    whole: Option<&Fault>,
) -> Fault {
    while failures.next_if(|(item, _)| *item < index).is_some() {}
    failures
        .next_if(|(item, _)| *item == index)
        .map(|(_, fault)| fault)
        .or_else(|| whole.cloned())
        .unwrap_or(Fault::Cancelled)
}
