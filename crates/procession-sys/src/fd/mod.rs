//! Descriptors: closed on exec, and never 0, 1 or 2.
//!
//! Used by every wrapper that makes a descriptor. A program that has closed its standard streams gives their numbers to
//! the next descriptor made; the engine's must not be written to by a stray `print`.

#[cfg(target_os = "linux")]
mod launch;
#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub use launch::{inherited, leave_standard_streams, open_null, replace_standard_output};

#[cfg(target_os = "linux")]
pub use linux::{
    at_least_three, clear_close_on_exec, duplicate, set_close_on_exec, set_nonblocking,
};
