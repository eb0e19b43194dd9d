//! Reading and writing a byte stream (socket, pipe, terminal) without ever blocking, whatever mode its open file is in.
//!
//! Other processes may share the open file, so its mode is left alone. "Not now" is [`crate::Error::is_again`]:
//! the caller polls. Writing to a stream that nobody reads is an error; it raises SIGPIPE, too, if that is neither
//! ignored (as Rust and Python programs do) nor the stream a socket.

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub use linux::{StreamKind, read_append_now, read_now, write_now};
