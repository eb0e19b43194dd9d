//! procession's engine: shared memory that survives its users, and all that is built on it. It knows bytes, never a
//! user's types.
//!
//! Modules use only those listed above them: `error`, `crash` and `bytes`, `shm`, `engine`, `primitives`, `ipc`, `process`, `pool`, `manager`.
//! [`kinds`] alone points upwards: it lists what shared memory can hold.

mod bytes;
pub mod crash;
mod engine;
pub mod error;
pub mod ipc;
mod kinds;
pub mod pool;
pub mod primitives;
pub mod process;
pub mod shm;

pub use error::{Error, ErrorKind, Result};
pub use procession_sync::{Acquired, OwnerId, Stop};
