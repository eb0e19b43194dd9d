//! What the workers of a pool share with its supervisor: one record each, and the word on which completions are announced.
//!
//! A record has one writer, its worker; the supervisor reads it when the worker is dead, and for deadlines.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use procession_sync::RawEventCount;

/// What a worker is doing.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub(super) struct Record {
    /// The id of the task that the worker takes or runs; 0 = none. Stored
    /// after `sequence`, before the task is taken.
    pub(super) current: AtomicU64,
    /// The task's number in the queue.
    pub(super) sequence: AtomicU64,
    /// When the running item began (monotonic nanoseconds); 0 = none runs.
    pub(super) started: AtomicU64,
    /// Tasks that this worker finished.
    pub(super) finished: AtomicU64,
    /// Items among them whose result is an error.
    pub(super) failed_items: AtomicU64,
    /// Items that were run.
    pub(super) items: AtomicU64,
    /// The text of the initializer's error: a message block, 0 = none.
    pub(super) error: AtomicU64,
    /// | value | meaning |
    /// |---|---|
    /// | 0 | starting |
    /// | 1 | the initializer has succeeded |
    /// | 2 | the initializer has failed |
    pub(super) state: AtomicU32,
}

pub(super) const STARTING: u32 = 0;
pub(super) const READY: u32 = 1;
pub(super) const INITIALIZER_FAILED: u32 = 2;

impl Record {
    /// Makes the record that of a worker about to be started.
    pub(super) fn reset(&self) {
        self.current.store(0, Ordering::Relaxed);
        self.sequence.store(0, Ordering::Relaxed);
        self.started.store(0, Ordering::Relaxed);
        self.error.store(0, Ordering::Relaxed);
        // SYNC: record reset -> worker
        self.state.store(STARTING, Ordering::Release);
    }

    /// Notes the task that is about to be taken.
    pub(super) fn note(&self, sequence: u64, task: u64) {
        self.sequence.store(sequence, Ordering::Relaxed);
        // SYNC: task noted -> supervisor
        self.current.store(task, Ordering::Release);
    }
}

/// The object that all processes of a pool share; records of the workers
/// follow it in the same block.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct PoolState {
    /// Completions of announced tasks.
    pub(super) completed: RawEventCount,
    /// How many records follow.
    pub(super) workers: AtomicU32,
}
