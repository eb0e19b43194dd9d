//! One-way byte streams between processes; the read end sees the end once all write ends are closed.

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub use linux::pipe;
