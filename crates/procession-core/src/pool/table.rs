//! The tasks of a pool that are not forgotten yet, by the id of their block.
//!
//! It keeps a task's block alive as long as a worker may touch it: until the task is over, and for a cancelled task until its id has left
//! the queue and no worker's record names it. The supervisor finds a dead worker's task here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::cell::Phase;
use super::task::Task;
use crate::shm::BlockId;

#[derive(Debug)]
struct Entry {
    task: Arc<Task>,
    /// The number of its id in the queue, the last time it was put.
    number: Option<u64>,
}

/// The table.
#[derive(Debug, Default)]
pub(super) struct Table(Mutex<Tasks>);

#[derive(Debug, Default)]
struct Tasks {
    entries: HashMap<u64, Entry>,
    /// Tidied when the table has grown to this many entries.
    tidy_at: usize,
}

/// The fewest entries worth tidying for.
const TIDY_FROM: usize = 256;

impl Table {
    pub(super) fn insert(&self, task: &Arc<Task>) {
        let entry = Entry {
            task: task.clone(),
            number: None,
        };
        self.lock().entries.insert(task.id().to_bits(), entry);
    }

    pub(super) fn put_as(&self, task: &Task, number: u64) {
        if let Some(entry) = self.lock().entries.get_mut(&task.id().to_bits()) {
            entry.number = Some(number);
        }
    }

    pub(super) fn get(&self, task: BlockId) -> Option<Arc<Task>> {
        let tasks = self.lock();
        tasks
            .entries
            .get(&task.to_bits())
            .map(|entry| entry.task.clone())
    }

    /// Forgets a task that its holder has done with, if nobody else needs it.
    pub(super) fn release(&self, task: &Task) {
        if matches!(task.cell().phase(), Phase::Done | Phase::Failed) {
            let removed = self.lock().entries.remove(&task.id().to_bits());
            drop(removed);
        }
    }

    /// All tasks that are not over.
    pub(super) fn unfinished(&self) -> Vec<Arc<Task>> {
        let tasks = self.lock();
        let unfinished = tasks.entries.values().filter(|entry| !entry.task.is_over());
        unfinished.map(|entry| entry.task.clone()).collect()
    }

    /// Whether the table has grown enough since the last time to be tidied.
    pub(super) fn wants_tidying(&self) -> bool {
        let tasks = self.lock();
        tasks.entries.len() >= tasks.tidy_at.max(TIDY_FROM)
    }

    /// Forgets tasks that nobody holds any more and that are over; `touched`
    /// tells whether a worker may still come upon a cancelled one.
    pub(super) fn tidy(&self, touched: impl Fn(BlockId, Option<u64>) -> bool) {
        let mut tasks = self.lock();
        let mut forgotten = Vec::new();
        tasks.entries.retain(|_, entry| {
            let keep = Arc::strong_count(&entry.task) > 1
                || match entry.task.cell().phase() {
                    Phase::Done | Phase::Failed => false,
                    Phase::Cancelled => touched(entry.task.id(), entry.number),
                    _ => true,
                };
            if !keep {
                forgotten.push(entry.task.clone());
            }
            keep
        });
        tasks.tidy_at = tasks.entries.len() * 2;
        drop(tasks);
        drop(forgotten);
    }

    fn lock(&self) -> MutexGuard<'_, Tasks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
