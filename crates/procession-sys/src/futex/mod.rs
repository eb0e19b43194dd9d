//! Sleeping on a word of shared memory until another process changes it and wakes the sleepers.
//!
//! Always shared between processes, never private to one. A sleep may end for no reason: callers loop over the state
//! of their word. A process that is killed between its store and its wake leaves sleepers asleep: callers give each
//! sleep a timeout.
//!
//! macOS: `os_sync_wait_on_address` with its shared flag. Windows: named kernel events.

/// Why a sleep ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WaitOutcome {
    /// Somebody woke the word (or it ended for no reason).
    Woken,
    /// The word held another value than expected: there was no sleep.
    Changed,
    /// The timeout has passed.
    TimedOut,
    /// A signal handler ran on this thread.
    Interrupted,
}

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub use linux::{MOST_WORDS, set_wait_any_enabled, wait, wait_any, wait_any_supported, wake};
