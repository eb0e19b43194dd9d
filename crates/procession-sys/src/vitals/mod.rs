//! Can a process still run code? Answered for a pid that was recorded earlier, by somebody who is not its parent.
//!
//! The end of a thread is announced by its life word (see [`crate::life`]), but the other threads of a killed process
//! may run a little longer, and a thread may end while its process goes on. Before anybody takes over what a process
//! held, this tells whether the process is past its last instruction. It is past it long before it is reaped.

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub use linux::{may_run, start_time_of_this_process};
