//! Unpredictable bytes, for identities and keys.

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub use linux::bytes;
