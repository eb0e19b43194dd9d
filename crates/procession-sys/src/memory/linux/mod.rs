//! Shared memory on Linux.

mod identity;
mod mapping;
pub mod named;
mod object;
mod size;

pub use identity::{FileId, mapped_file};
pub use mapping::{Mapping, wipe_on_fork_page};
pub use object::MemoryObject;
pub use size::{cgroup_memory_limit, page_size, physical_memory};
