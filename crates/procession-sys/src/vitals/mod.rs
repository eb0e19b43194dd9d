//! Can a process still run code? Answered for a pid that was recorded earlier, by somebody who is not its parent.
//!
//! The end of a thread is announced by its life word (see [`crate::life`]), but the other threads of a killed process
//! may run a little longer, and a thread may end while its process goes on. Before anybody takes over what a process
//! held, this tells whether the process is past its last instruction. It is past it long before it is reaped.

/// How far a process has got towards its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Vitals {
    /// It runs (or there is no telling).
    Runs,
    /// Its first thread has ended, others run on.
    FirstThreadEnded,
    /// None of its threads can return to user code, or it does not exist any more.
    Over,
}

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub(crate) use linux::thread_runs;

#[cfg(target_os = "linux")]
pub use linux::{of, start_time_of_this_process};
