//! The operating system as procession needs it, and the only crate that knows one: safe wrappers without policy.
//!
//! One folder per primitive; its `mod.rs` states the contract and picks the file of the operating system.
//! Linux is implemented (`linux.rs`); `macos.rs` and `windows.rs` have their place beside it.
//!
//! Rules that hold everywhere:
//! - a descriptor made here is closed on exec and numbered 3 or above from birth ([`fd`]);
//! - an interrupted call is reported ([`Error::is_interrupted`]), never silently repeated;
//! - nothing here takes a lock that a fork could leave locked in the child.

mod cgroup;
mod error;

pub mod eventfd;
pub mod fd;
pub mod fork_hooks;
pub mod futex;
pub mod life;
pub mod memory;
pub mod pipe;
pub mod poll;
pub mod process;
pub mod random;
pub mod signal;
pub mod socket;
pub mod stream;
pub mod thread;
pub mod time;
pub mod vitals;

pub use error::{Error, Result};
