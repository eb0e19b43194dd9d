//! The shared heap of the program's family: what it holds, and how much it may.

use crate::error::Result;

pub use procession_core::shm::Stats;

/// What the heap holds now. Gives back first what dead processes have left.
///
/// Takes time in proportion to the number of blocks: for tests and monitoring.
///
/// # Errors
/// This process cannot make or map the heap.
pub fn stats() -> Result<Stats> {
    Ok(procession_core::shm::heap::stats()?)
}

/// How many bytes the heap may take, from now on, in all processes of the
/// family. The default is half of the machine's memory, or of the control
/// group's limit if that is smaller. What would go beyond it fails with
/// [`ErrorKind::OutOfMemory`](crate::ErrorKind::OutOfMemory).
pub fn set_budget(bytes: u64) {
    procession_core::shm::family::set_budget(bytes);
}
