//! Process-based parallelism: processes, shared memory, queues and supervised pools.
#![doc = "(The crate's guide is written below.)"]

mod array;
mod bytes;
mod codec;
mod elements;
mod error;
mod handle;
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
mod value;

pub use array::{Array, ArrayGuard};
pub use error::{Error, ErrorKind, Result, TaskError};
pub use bytes::Bytes;
pub use pool::{AsyncResult, Call, IMap, IMapUnordered, Pool, PoolBuilder, Statistics};
pub use joinable::JoinableQueue;
pub use process::{
    Builder, CurrentProcess, ExitStatus, Outcome, ParentProcess, Process, Run, StartMethod,
    TargetBuilder, active_children, cpu_count, current_process, parent_process, usable_cpu_count,
};
pub use procession_macros::{Shared, main, test};
pub use raw::{RawArray, RawValue};
pub use queue::{Batch, Iter, Queue};
pub use runtime::init;
pub use shareable_item::ShareableItem;
pub use shareable_list::ShareableList;
pub use shared::Shared;
pub use shared_memory::SharedMemory;
pub use sync::{Barrier, BoundedSemaphore, Condition, Event, Lock, RLock, Semaphore};
pub use simple::SimpleQueue;
pub use target::Target;
pub use value::{Value, ValueGuard};

/// What the macros' expansions call; not for direct use.
#[doc(hidden)]
pub mod __private {
    pub use crate::runtime::run_test;
}
