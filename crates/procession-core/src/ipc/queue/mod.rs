//! Queues between the processes of a family. The protocol and its proof are in `README.md` beside this file.

mod cursor;
mod get;
mod handle;
mod held;
mod joinable;
mod message;
mod points;
mod put;
mod recovery;
mod state;
mod tasks;
#[cfg(test)]
mod tests;
mod word;

pub use crate::engine::notifier::Readiness;
pub use get::Received;
pub use handle::Queue;
pub use joinable::JoinableQueue;
pub use message::Message;
pub use points::CRASH_POINTS;
pub use state::QueueState;

pub(crate) use handle::destroy;
