//! What must happen around every `fork()` of this process, whoever calls it.
//!
//! Prepare hooks run before the fork, last registered first; parent and child hooks after it, first registered first,
//! all on the forking thread. One thread forks at a time. A child hook may not allocate and may not take a lock that the
//! prepare hook does not hold: the other threads are gone. A child made by a bare `clone` system call or `vfork` runs no
//! hooks.

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub use linux::register;

/// What runs around a fork.
#[derive(Clone, Copy, Debug)]
pub struct Hooks {
    /// Before it.
    pub prepare: fn(),
    /// After it, or after its failure, in the process that forked.
    pub parent: fn(),
    /// After it in the child.
    pub child: fn(),
}
