//! Pipes on Linux.

use crate::{Error, Result, fd};
use rustix::pipe::PipeFlags;
use std::os::fd::OwnedFd;

/// A pipe: the read end, then the write end. Both block.
///
/// # Errors
/// Too many open descriptors; the user's share of pipe memory is used up.
pub fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    let (read, write) =
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(Error::of("make a pipe"))?;

    Ok((fd::at_least_three(read)?, fd::at_least_three(write)?))
}
