//! [`ThreadPoolBuilder`]: the settings of a pool of threads.

use std::fmt;
use std::sync::Arc;

use super::crew::{Crew, Initializer};
use super::pool::ThreadPool;
use super::target::ThreadTarget;
use crate::error::{Error, ErrorKind, Result};
use crate::panics;
use crate::process::{Outcome, usable_cpu_count};

/// Makes a [`ThreadPool`]; see [`ThreadPool::builder`].
#[must_use = "a pool begins with build()"]
pub struct ThreadPoolBuilder {
    threads: Option<usize>,
    name: String,
    initializer: Option<Initializer>,
}

impl Default for ThreadPoolBuilder {
    fn default() -> Self {
        Self {
            threads: None,
            name: "ThreadPool".to_owned(),
            initializer: None,
        }
    }
}

impl ThreadPoolBuilder {
    /// How many threads; the default is one for each usable processor.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Calls `initializer` on each thread before its first task.
    ///
    /// One that panics or returns an error breaks the pool, which then says
    /// why.
    pub fn initializer<F, Arguments>(mut self, initializer: F, arguments: Arguments) -> Self
    where
        F: ThreadTarget<Arguments>,
        F::Output: Outcome,
        Arguments: Clone + Send + Sync + 'static,
    {
        self.initializer = Some(Arc::new(move || {
            let run = || initializer.call(arguments.clone()).report();
            match panics::catch(run) {
                Ok(0) => Ok(()),
                Ok(_) => Err("it returned an error".to_owned()),
                Err(panic) => Err(format!(
                    "it panicked at {}: {}",
                    panic.location, panic.message
                )),
            }
        }));
        self
    }

    /// What the threads are called after: `name-1`, `name-2` and so on.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Starts the threads.
    ///
    /// # Errors
    /// There are to be no threads at all; the name contains a zero byte; the
    /// system has no thread or memory left.
    pub fn build(self) -> Result<ThreadPool> {
        let threads = self.threads.unwrap_or_else(usable_cpu_count);
        if threads == 0 {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "a thread pool without threads: ask for at least one",
            ));
        }
        if self.name.contains('\0') {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "the name of a thread pool contains a zero byte",
            ));
        }
        panics::note_those_of_tasks();
        let crew = Crew::start(threads, &self.name, self.initializer.as_ref())?;
        Ok(ThreadPool::of(crew))
    }
}

impl fmt::Debug for ThreadPoolBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPoolBuilder")
            .field("threads", &self.threads)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
