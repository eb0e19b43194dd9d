//! The bounds that the process's control groups set, on itself or any group above it.
//!
//! Used by `thread` and `memory`. Answers are the state of now; nothing is cached.

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub(crate) use linux::{cpu_quota, memory_limit};
