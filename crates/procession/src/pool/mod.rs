//! Pools of worker processes.

mod async_result;
mod builder;
mod call;
mod handle;
mod imap;
mod options;
mod outcome;
mod shared;
mod watcher;
mod worker;

pub use async_result::AsyncResult;
pub use builder::PoolBuilder;
pub use call::Call;
pub use handle::Pool;
pub use imap::{IMap, IMapUnordered};
pub use procession_core::pool::Statistics;
