//! Threads and processors: identities, counts, giving way.

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub use linux::{all_cpus, allowed_cpus, count, id, name_this_thread, usable_cpus, yield_now};

#[cfg(target_os = "linux")]
pub(crate) use linux::forget_id_after_fork;
