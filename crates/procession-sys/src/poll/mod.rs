//! Waiting for descriptors to become ready.

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub use linux::{Interest, PollEntry, PollOutcome, poll};
