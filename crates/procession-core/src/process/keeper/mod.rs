//! The keeper: a process that keeps for the family what shared memory cannot hold.
//!
//! There is one, started when it is first needed, by whichever process needs it:
//!
//! - **Descriptors in messages** wait with it under the name of the message's block, until the message is read
//!   ([`handles::take_descriptor`](crate::shm::handles::take_descriptor)) or gone.
//! - **Names of shared memory** are told to it before they exist; when the family has ended it removes those that were
//!   left.
//!
//! It belongs to nobody: it lives in a session of its own, ignores the signals that end programs, is nobody's child to be
//! joined, and ends when no other member of the family is left. Members reach it through a socket in the abstract
//! namespace, whose number is in the family's header ([`KeeperPlace`](crate::shm::family::KeeperPlace)); each exchange is a
//! connection, a request and an answer. Either end talks only to a process of its own user.
//!
//! If the keeper is killed, what it kept is lost: reading such a message is an error that says so, and names that it knew
//! stay when the family ends. The next use starts another one.

mod client;
mod deposits;
mod server;
mod wire;

pub(super) use client::{attach, reap};
pub(super) use server::serve;
