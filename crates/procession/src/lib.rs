//! Process-based parallelism: processes, shared memory, queues and supervised pools.
//!
//! A program starts processes, shares memory with them, passes messages and hands work to pools, with plain functions and typed values. Any
//! process may be killed at any moment, and the others go on.
//!
//! ```
//! use procession::{Array, Pool, Process, Value};
//!
//! fn square(n: u64) -> u64 {
//!     n * n
//! }
//!
//! fn square_all(numbers: Vec<i32>, squares: Array<i32>, sum: Value<i32>) {
//!     for (i, n) in numbers.iter().enumerate() {
//!         squares.set(i, n * n);
//!     }
//!     sum.set(squares.iter().sum());
//! }
//!
//! #[procession::main]
//! fn main() -> procession::Result<()> {
//!     let (squares, sum) = (Array::<i32>::zeroed(4)?, Value::new(0)?);
//!     let child = Process::new(square_all)
//!         .args((vec![1, 2, 3, 4], squares.clone(), sum.clone()))
//!         .start()?;
//!     child.join()?;
//!     assert_eq!((squares.to_vec(), sum.get()), (vec![1, 4, 9, 16], 30));
//!
//!     let pool = Pool::new()?; // one worker per usable CPU
//!     assert_eq!(pool.map(square, 0..4)?, [0, 1, 4, 9]);
//!     let answer = pool.apply_async(square, (7,))?; // AsyncResult: get, wait, ready, and a Future
//!     assert_eq!(answer.get()?, 49);
//!     Ok(())
//! }
//! ```
//!
//! # The entry
//!
//! A child runs the same executable. [`#[procession::main]`](macro@main), [`#[procession::test]`](macro@test) or [`init`] as the first
//! statement of `main` lets it do its work and end there. Without one of them, starting a process is an error, and never a program that starts
//! itself again and again.
//!
//! # What can run elsewhere
//!
//! Functions, generic functions and closures that capture nothing: such a value has no bytes, so its type says what to run. What a closure would
//! capture travels as an argument. A whole value as a process is [`Run`].
//!
//! # What can travel
//!
//! Everything that serde serialises (in postcard's format, which is not self-describing), and every handle of this crate: [`Queue`], [`Lock`],
//! [`Value`], [`Array`] and their kin pass as arguments, inside messages and as results, to any process of the program's family. They lie in one
//! heap that all of the family map; a handle is a place in it. Outside a message of this crate a handle has no serialised form, and says so.
//!
//! # Death
//!
//! A lock whose holder died passes on, and the next holder is told. A queue loses at most the message that the dead process was putting or had just
//! taken. A pool replaces a dead worker; only the call that it was running fails. Memory that a dead process held is given back. Nothing waits for
//! ever for somebody who is gone.
//!
//! # Start methods
//!
//! [`StartMethod::Spawn`] (the default) runs the program afresh: about a millisecond. [`StartMethod::Forkserver`] forks a clean template of it: some
//! hundred microseconds, and as safe. [`StartMethod::Fork`] copies this process with all its memory, and is refused when the program has more than
//! one thread.

mod array;
mod bytes;
mod codec;
mod connection;
mod elements;
mod error;
mod handle;
pub mod heap;
mod joinable;
mod panics;
mod pool;
mod process;
mod queue;
mod raw;
mod runtime;
mod shareable_item;
mod shareable_list;
mod shared;
mod shared_memory;
mod simple;
pub mod sync;
mod target;
mod thread_pool;
mod value;
mod wait;

pub use array::{Array, ArrayGuard};
pub use bytes::Bytes;
pub use connection::{Connection, Messages, Receiver, Sender, channel, duplex, pipe};
pub use error::{Error, ErrorKind, Result, TaskError};
pub use joinable::JoinableQueue;
pub use pool::{AsyncResult, Call, IMap, IMapUnordered, Pool, PoolBuilder, Statistics};
pub use process::{
    Builder, CurrentProcess, ExitStatus, Outcome, ParentProcess, Process, Run, StartMethod,
    TargetBuilder, active_children, cpu_count, current_process, parent_process, usable_cpu_count,
};
pub use procession_macros::{Shared, main, test};
pub use queue::{Batch, Iter, Queue};
pub use raw::{RawArray, RawValue};
pub use runtime::init;
pub use shareable_item::ShareableItem;
pub use shareable_list::ShareableList;
pub use shared::Shared;
pub use shared_memory::SharedMemory;
pub use simple::SimpleQueue;
pub use sync::{Barrier, BoundedSemaphore, Condition, Event, Lock, RLock, Semaphore};
pub use target::Target;
pub use thread_pool::{
    ThreadCall, ThreadIMap, ThreadIMapUnordered, ThreadPool, ThreadPoolBuilder, ThreadResult,
    ThreadTarget,
};
pub use value::{Value, ValueGuard};
pub use wait::{Waitable, wait};

/// What the macros' expansions call; not for direct use.
#[doc(hidden)]
pub mod __private {
    pub use crate::runtime::run_test;
    pub use crate::target::Stateless;
}

/// The README's program is compiled and run like any other example.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
