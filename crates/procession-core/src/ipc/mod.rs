//! Communication: messages over byte streams, and waiting for several things at once.

mod connection;
#[cfg(test)]
mod connection_tests;
mod direction;
mod frame;
pub(crate) mod local_lock;
pub mod queue;
pub(crate) mod readiness;
mod wait;

pub use connection::{Access, Connection, ReceiveIntoError, pipe, shared_pipe};
pub use direction::DirectionState;
pub use wait::{Waitable, wait};
