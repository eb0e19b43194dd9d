//! The monotonic clock, comparable between all processes of a machine.

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub use linux::monotonic_nanos;
