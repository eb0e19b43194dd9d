//! Memory that processes share: anonymous objects, named objects, mappings, and how much of it there is.
//!
//! Contents are bytes that other processes may change at any moment: only raw pointers and atomics ever reach them.
//! An anonymous object lives while any process has a descriptor or a mapping of it, so nothing is left behind when all
//! processes are killed at once. A named object lives until it is unlinked.

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub use linux::{
    FileId, Mapping, MemoryObject, cgroup_memory_limit, mapped_file, named, page_size,
    physical_memory, wipe_on_fork_page,
};
