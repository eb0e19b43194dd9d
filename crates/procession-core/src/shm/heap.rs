//! The heap's front door: allocate, look at it, give back what the dead have left.
//!
//! Used by everything above `shm`. Small blocks come from slabs, others are runs of chunks of their own; neither needs a
//! system call as long as freed memory of the size is there.

use super::block::Block;
use super::family;
use super::kind::Kind;
use super::segment::CHUNK;
use super::{identity, recovery, run, slab};
use crate::error::{Error, ErrorKind, Result};

pub use super::stats::{Stats, stats};

/// A block of `len` bytes that this process alone has. Its contents are whatever was there before.
/// The address is aligned to the block's size rounded up to a power of two, but to 4096 at most.
///
/// Makes the family if this process has none yet. Waits for other processes for short moments only.
/// When the budget is used up, it first gives back what dead processes have left.
///
/// # Errors
/// [`ErrorKind::OverBudget`] when the heap's budget is used up, [`ErrorKind::NoMemory`] when the
/// system's memory is, [`ErrorKind::NotInFamily`] in a process that cannot be a member.
#[inline]
pub fn allocate(len: usize) -> Result<Block> {
    match allocate_once(len) {
        Err(error) => allocate_again(len, error),
        block => block,
    }
}

#[cold]
fn allocate_again(len: usize, error: Error) -> Result<Block> {
    if error.kind() == ErrorKind::OverBudget && recovery::recover() > 0 {
        allocate_once(len)
    } else {
        Err(error)
    }
}

/// As [`allocate`], for a block of `kind`; its first 64 bytes are zero. Never looks for dead
/// processes: recovery itself, and who holds locks that it needs, can use it.
///
/// # Errors
/// As for [`allocate`].
pub fn allocate_kind(len: usize, kind: Kind) -> Result<Block> {
    const HEAD: usize = 64;

    let mut block = allocate_once(len)?;
    let head = len.min(HEAD);
    block.as_mut_slice()[..head].fill(0);
    block.set_kind(kind);
    Ok(block)
}

/// As [`allocate`]; all bytes are zero.
///
/// # Errors
/// As for [`allocate`].
pub fn allocate_zeroed(len: usize) -> Result<Block> {
    let mut block = allocate(len)?;
    block.zero();
    Ok(block)
}

#[inline]
fn allocate_once(len: usize) -> Result<Block> {
    let me = match identity::cached() {
        Some(me) => me,
        None => {
            family::current()?;
            identity::me()?
        }
    };

    if len <= slab::LARGEST {
        return Ok(Block::from_small(slab::allocate(len, me)?, len));
    }
    allocate_large(len)
}

#[inline(never)]
fn allocate_large(len: usize) -> Result<Block> {
    let chunks = len.div_ceil(CHUNK);
    if chunks > u32::MAX as usize {
        return Err(Error::new(
            ErrorKind::TooLarge,
            format!("allocate {len} bytes of shared memory: no block can be as long"),
        ));
    }

    Ok(Block::from_run(run::allocate(chunks)?, len))
}

/// Every place where a test can kill a process that uses the heap.
#[cfg(feature = "crash-points")]
pub const CRASH_POINTS: &[&str] = &[
    "heap.segment.written",
    "heap.segment.added",
    "heap.run.written",
    "heap.run.extended",
    "heap.run.found",
    "heap.run.taken",
    "heap.run.reserved",
    "heap.run.split",
    "heap.run.shortened",
    "heap.run.lengthened",
    "heap.run.merged",
    "heap.run.freed",
    "heap.run.returning",
    "heap.run.punched",
    "heap.slab.written",
    "heap.slab.made",
    "heap.slab.freed",
    "heap.slab.adopted",
    "heap.small.taken",
    "heap.small.freed",
    "heap.block.queued",
    "heap.block.claimed",
];

/// The places in the sweep, where the process dies that recovers another.
#[cfg(feature = "crash-points")]
pub const SWEEP_CRASH_POINTS: &[&str] = &[
    "sweep.looked",
    "sweep.inherited",
    "sweep.destroyed",
    "heap.slab.orphaned",
    "heap.small.freed",
    "heap.run.freed",
];

/// Looks for processes that have died, gives back what they had, and says how many they were.
pub fn recover() -> usize {
    recovery::recover()
}
