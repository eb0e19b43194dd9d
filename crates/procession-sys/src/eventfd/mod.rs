//! A descriptor that one side raises and another polls.

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub use linux::EventFd;
