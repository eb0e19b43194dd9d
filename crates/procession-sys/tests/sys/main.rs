//! The wrappers against the real kernel, with real children.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
mod futex;
mod life;
mod process;
