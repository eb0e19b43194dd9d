//! [`PoolBuilder`]: the settings of a pool.

use std::time::Duration;

use procession_core::pool::Config;
use procession_core::process::usable_cpus;
use procession_core::shm::handles::Collected;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::handle::Pool;
use super::worker;
use crate::codec;
use crate::error::Result;
use crate::process::{Outcome, StartMethod};
use crate::runtime::{self, Trampoline};
use crate::target::Target;

/// Makes a [`Pool`]; see [`Pool::builder`].
#[derive(Debug)]
#[must_use = "a pool begins with build()"]
pub struct PoolBuilder {
    processes: Option<usize>,
    method: StartMethod,
    name: String,
    initializer: Initializer,
    max_tasks_per_child: u64,
    task_timeout: Option<Duration>,
    retries: u32,
    memory_limit: Option<u64>,
}

#[derive(Debug)]
struct Initializer {
    entry: Trampoline,
    encoded: Result<(Vec<u8>, Collected)>,
}

impl Default for PoolBuilder {
    fn default() -> Self {
        Self {
            processes: None,
            method: StartMethod::Spawn,
            name: "PoolWorker".to_owned(),
            initializer: Initializer {
                entry: worker::enter_plain,
                encoded: Ok((Vec::new(), Collected::none())),
            },
            max_tasks_per_child: 0,
            task_timeout: None,
            retries: 0,
            memory_limit: None,
        }
    }
}

impl PoolBuilder {
    /// How many workers; the default is one for each usable processor.
    pub fn processes(mut self, processes: usize) -> Self {
        self.processes = Some(processes);
        self
    }

    /// Calls `initializer` in each worker before its first task.
    ///
    /// One that panics or returns an error ends its worker; after three in a
    /// row the pool is broken, and says why.
    pub fn initializer<F, Arguments>(mut self, initializer: F, arguments: Arguments) -> Self
    where
        F: Target<Arguments>,
        F::Output: Outcome,
        Arguments: Serialize + DeserializeOwned + 'static,
    {
        let _: F = initializer;
        self.initializer = Initializer {
            entry: worker::enter_with::<F, Arguments>,
            encoded: codec::encode(&arguments),
        };
        self
    }

    /// Replaces a worker after so many tasks (an `apply`, or one chunk of a
    /// `map`); the default is never.
    pub fn max_tasks_per_child(mut self, tasks: u64) -> Self {
        self.max_tasks_per_child = tasks;
        self
    }

    /// How workers are started; the default is [`StartMethod::Spawn`]. Under
    /// [`StartMethod::Fork`] the pool forks one template when it is made,
    /// while the program has one thread, and replacements later from that.
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.method = method;
        self
    }

    /// The most time one call may take. The worker of one that takes longer
    /// is killed and replaced.
    pub fn task_timeout(mut self, timeout: Duration) -> Self {
        self.task_timeout = Some(timeout);
        self
    }

    /// How often a call is run again whose worker died or that took too long.
    /// The function must bear being run twice. The default is 0.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// The most memory a worker may allocate for itself, in bytes; shared
    /// memory does not count. An allocation beyond it fails, which ends the
    /// worker: its task fails with [`TaskError::WorkerLost`](crate::TaskError::WorkerLost).
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.memory_limit = Some(bytes);
        self
    }

    /// What the workers are called after: `name-1`, `name-2` and so on.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Starts the workers.
    ///
    /// # Errors
    /// The program has not called [`init`](crate::init()); the initializer's
    /// arguments cannot be encoded; there are to be no workers at all; the
    /// system has no process, descriptor or memory left; for
    /// [`StartMethod::Fork`], this program has more than one thread.
    pub fn build(self) -> Result<Pool> {
        let (payload, handles) = self.initializer.encoded?;
        let (entry, prefix) = runtime::entry_of(self.initializer.entry)?;
        let processes = self.processes.unwrap_or_else(usable_cpus);
        let pool = procession_core::pool::Pool::start(Config {
            processes: u32::try_from(processes).unwrap_or(u32::MAX),
            method: self.method,
            name: self.name,
            entry,
            prefix,
            payload,
            handles,
            max_tasks_per_child: self.max_tasks_per_child,
            task_timeout: self.task_timeout,
            retries: self.retries,
            memory_limit: self.memory_limit,
        })?;
        Ok(Pool::of(pool))
    }
}
