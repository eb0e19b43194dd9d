//! What must happen around every `fork()` of this process, whoever calls it.
//!
//! Prepare hooks run before the fork, last registered first; parent and child hooks after it, first registered first,
//! all on the forking thread. A child hook may not allocate and may not take a lock that the prepare hook does not
//! hold: the other threads are gone. A child made by a bare `clone` system call or `vfork` runs no hooks.

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub use linux::register;
