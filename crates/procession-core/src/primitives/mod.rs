//! The synchronisation primitives and plain memory as objects of the heap: what the faces' `Lock`, `Event`, `Value` and
//! so on are made of.
//!
//! This module stands between `shm`, whose objects and waits it uses, and `ipc`. Each primitive is a handle to one object;
//! the algorithms and what survives a death are in `procession-sync`. All calls that can block take a
//! [`Wait`](crate::shm::Wait). A handle travels in a message as the index that its `note` returns while the message is
//! serialised, and `from_handle` makes a handle of the index again while it is read.
//!
//! | file | what |
//! |---|---|
//! | `lock`, `rlock`, `any_lock` | mutual exclusion; either kind where both will do |
//! | `semaphore`, `event`, `barrier` | counting, flags, meeting |
//! | `condition`, `overflow` | waiting for a notification, and room for more than a handful of waiters |
//! | `cell`, `copy` | plain memory, and bytes in and out of it while others write |

mod any_lock;
mod barrier;
mod cell;
mod condition;
mod copy;
mod event;
mod lock;
mod overflow;
mod rlock;
mod semaphore;

pub use any_lock::{AnyLock, NotHeld};
pub use barrier::Barrier;
pub use cell::Cell;
pub use condition::Condition;
pub use event::Event;
pub use lock::Lock;
pub use procession_sync::{Acquired, NotAcquired, NotOwner, TooManyReleases, Waited};
pub use rlock::RLock;
pub use semaphore::Semaphore;

pub(crate) use condition::destroy as destroy_condition;
