//! Signals: their numbers, their dispositions, a thread's mask.

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub use linux::{Signal, SignalMask, block_all_on_this_thread, default, ignore};
