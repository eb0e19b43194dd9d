//! Pools of threads, with the interface of pools of processes.

mod builder;
mod call;
mod crew;
mod delivery;
mod imap;
mod job;
mod pool;
mod result;
mod submit;
mod target;
#[cfg(test)]
mod tests;

pub use builder::ThreadPoolBuilder;
pub use call::ThreadCall;
pub use imap::{ThreadIMap, ThreadIMapUnordered};
pub use pool::ThreadPool;
pub use result::ThreadResult;
pub use target::ThreadTarget;
