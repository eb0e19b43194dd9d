//! The life word: shared memory that tells when the process that holds it ends, in whatever way.
//!
//! A process locks its word once, on the thread that started it up, and never unlocks it. When that thread ends (by
//! exit, `_exit`, exec or SIGKILL) the kernel marks the word dead and wakes *one* sleeper on it; whoever finds a word
//! dead wakes the others ([`LifeWord::wake_all_if_dead`]). A sleeper arms the word first ([`LifeWord::arm`]): the
//! kernel wakes nobody otherwise.
//!
//! The end of the thread is not the end of the process: other threads may still write to shared memory for a moment.

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub use linux::LifeWord;
