//! Descriptors on Linux, by `fcntl`.

use crate::{Error, Result};
use rustix::fs::OFlags;
use rustix::io::FdFlags;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

const FIRST: i32 = 3;

/// Moves a fresh descriptor out of the standard streams' numbers; the result is closed on exec if `fd` was.
///
/// # Errors
/// Too many open descriptors.
#[inline]
pub fn at_least_three(fd: OwnedFd) -> Result<OwnedFd> {
    if fd.as_raw_fd() >= FIRST {
        Ok(fd)
    } else {
        duplicate(std::os::fd::AsFd::as_fd(&fd))
    }
}

/// Another descriptor of the same open file: closed on exec, 3 or above.
///
/// # Errors
/// Too many open descriptors.
pub fn duplicate(fd: BorrowedFd<'_>) -> Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(fd, FIRST).map_err(Error::of("duplicate a descriptor"))
}

/// Makes a descriptor that this process was started with close on exec, so that its own children do not inherit it.
///
/// # Errors
/// The descriptor is not open.
pub fn set_close_on_exec(fd: BorrowedFd<'_>) -> Result<()> {
    rustix::io::fcntl_setfd(fd, FdFlags::CLOEXEC)
        .map_err(Error::of("set close-on-exec of a descriptor"))
}

/// Lets the descriptor survive an exec.
///
/// # Errors
/// The descriptor is not open.
pub fn clear_close_on_exec(fd: BorrowedFd<'_>) -> Result<()> {
    rustix::io::fcntl_setfd(fd, FdFlags::empty())
        .map_err(Error::of("clear close-on-exec of a descriptor"))
}

/// Chooses whether calls on the open file may block; shared by all its descriptors, in every process.
///
/// # Errors
/// The descriptor is not open.
pub fn set_nonblocking(fd: BorrowedFd<'_>, nonblocking: bool) -> Result<()> {
    let mut flags =
        rustix::fs::fcntl_getfl(fd).map_err(Error::of("read the flags of a descriptor"))?;

    flags.set(OFlags::NONBLOCK, nonblocking);
    rustix::fs::fcntl_setfl(fd, flags).map_err(Error::of("set the flags of a descriptor"))
}
