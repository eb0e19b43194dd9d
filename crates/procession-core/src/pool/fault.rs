//! Why a task, or one item of it, has no result of its own.

use std::sync::Arc;

use procession_sys::process::ExitStatus;

/// What happened to a task that did not finish.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Its worker died while it ran, or before its result was published.
    WorkerLost {
        /// The worker's process id.
        pid: u32,
        /// How it ended.
        status: ExitStatus,
    },
    /// It took longer than it was allowed to; its worker was replaced.
    TimedOut,
    /// It was cancelled.
    Cancelled,
    /// Its result could not be published: shared memory has no room for it.
    NoRoom,
    /// The pool was terminated first.
    Terminated,
    /// The pool cannot work: its initializer keeps failing, or its workers
    /// cannot be started.
    Broken(Arc<str>),
}
