//! Locks, semaphores, conditions, events and barriers between processes.
//!
//! Each is a handle: clone it, pass it as an argument to a process or task, or
//! send it in a message; all copies are the same thing. Acquiring returns a
//! guard that releases when it is dropped. Uncontended use makes no system
//! call.
//!
//! Nothing here hangs because a process died. Who acquires a lock whose holder
//! has died gets it within milliseconds, and is told by the guard
//! (`owner_died`), once for each such death: what the lock protects may be
//! half changed. A waiter that is killed never takes a `release`, `notify` or
//! `set` with it.

mod barrier;
mod condition;
mod event;
mod in_time;
mod lock;
mod rlock;
mod semaphore;

pub use barrier::Barrier;
pub use condition::{AnyLock, Condition, ConditionGuard};
pub use event::Event;
pub use lock::{Lock, LockGuard};
pub use rlock::{RLock, RLockGuard};
pub use semaphore::{BoundedSemaphore, Semaphore, SemaphoreGuard};

pub(crate) use in_time::in_time;
