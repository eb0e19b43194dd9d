//! What a pool is made from.

use std::time::Duration;

use crate::process::StartMethod;
use crate::shm::handles::Collected;

/// The settings of a pool.
#[derive(Debug)]
pub struct Config {
    /// How many workers; at least one.
    pub processes: u32,
    /// How workers are started.
    pub method: StartMethod,
    /// The pool's name, which its workers are called after.
    pub name: String,
    /// The position of the face's trampoline for workers.
    pub entry: u64,
    /// The face's bytes for the front of every launch, before the pool's.
    pub prefix: Vec<u8>,
    /// The face's bytes for every worker: its initializer.
    pub payload: Vec<u8>,
    /// The handles that `payload` refers to.
    pub handles: Collected,
    /// After how many tasks a worker is replaced; 0 = never.
    pub max_tasks_per_child: u64,
    /// The most time one item may take, unless its task says otherwise.
    pub task_timeout: Option<Duration>,
    /// How often an item is run again whose worker died or that took too
    /// long, unless its task says otherwise.
    pub retries: u32,
    /// The most memory a worker may allocate for itself, in bytes.
    pub memory_limit: Option<u64>,
}

/// How a pool is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Workers that are alive.
    pub workers: usize,
    /// Workers started since the pool was made.
    pub workers_started: u64,
    /// Workers that died in the middle of a task, or outside of one without
    /// being told to.
    pub workers_lost: u64,
    /// Tasks submitted (an `apply`, or one chunk of a `map`).
    pub tasks_submitted: u64,
    /// Tasks that workers finished.
    pub tasks_finished: u64,
    /// Items run: calls of the users' functions.
    pub items_run: u64,
    /// Items among them whose result is an error.
    pub items_failed: u64,
    /// Items put again after their worker died or they took too long.
    pub items_retried: u64,
    /// Tasks waiting in the queue.
    pub tasks_queued: usize,
}
