//! The engine's own threads.
//!
//! They run no code of the user's, block all signals, and are few: one for each pool, one for pollable queues. They are counted, so that
//! the check before a fork does not take them for the user's. A forked child does not have them: what they served is dead there, and says
//! so.

pub(crate) mod gate;
pub(crate) mod notifier;
mod thread;

pub(crate) use thread::{Thread, threads};
