//! procession's synchronisation algorithms, without an operating system and without allocation.
//!
//! The words live in memory that processes share; how to sleep and wake is injected through
//! [`Waiter`]. States, steps, hazards and proofs are in the `README.md` beside this crate.

#![no_std]

mod barrier;
mod condition;
mod event;
mod event_count;
mod lock;
mod owner;
pub mod primitive;
mod reentrant;
mod semaphore;
mod waiter;

pub use barrier::{BarrierError, RawBarrier};
pub use condition::{
    INLINE_ENTRIES, Monitor, NoOverflow, Overflow, RawCondition, TableFull, Waited, WaiterEntry,
};
pub use event::RawEvent;
pub use event_count::{RawEventCount, Ticket};
pub use lock::{NotAcquired, RawLock};
pub use owner::OwnerId;
pub use reentrant::{NotOwner, RawReentrantLock};
pub use semaphore::{RawSemaphore, TooManyReleases};
pub use waiter::{Acquired, Stop, Waiter};
