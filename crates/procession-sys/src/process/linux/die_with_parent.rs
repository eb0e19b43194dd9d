//! Being killed by the kernel when the parent ends, in any way, whatever this process does at that time.
//!
//! The parent holds the write end of a pipe that nobody else has. The child opens the read end *afresh* and asks for
//! SIGKILL upon input: when the last write end closes, the kernel sends it, to a busy, a stopped or a signal-blocking
//! process alike. Owner and signal belong to the open file, not to the descriptor: an inherited one would serve one
//! child only. `PR_SET_PDEATHSIG` would not do: it fires when the parent's *thread* ends.

#![expect(unsafe_code, reason = "F_SETOWN and F_SETSIG are not in rustix")]

use crate::{Error, Result, fd};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// Makes this process die by SIGKILL when the last write end of the pipe closes. `fd` is a read end; the returned
/// descriptor must stay open. `None`: all write ends are closed already, so the caller ends by itself.
///
/// Anything written into the pipe kills as well. After a fork the child is not covered, after an exec neither.
///
/// # Errors
/// `/proc` is not mounted, too many open descriptors, not a pipe.
pub fn die_with_parent_pipe(fd: BorrowedFd<'_>) -> Result<Option<OwnedFd>> {
    const OPERATION: &str = "tie this process's life to its parent's pipe";

    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let fresh = rustix::fs::open(path, flags, Mode::empty()).map_err(Error::of(OPERATION))?;
    let fresh = fd::at_least_three(fresh)?;
    let number = fresh.as_raw_fd();
    let me = std::process::id().cast_signed();

    // SAFETY: the descriptor is open and the command takes a number.
    check(OPERATION, unsafe {
        libc::fcntl(number, libc::F_SETOWN, me)
    })?;
    // SAFETY: as above.
    check(OPERATION, unsafe {
        libc::fcntl(number, F_SETSIG, libc::SIGKILL)
    })?;
    // SAFETY: as above.
    check(OPERATION, unsafe {
        libc::fcntl(number, libc::F_SETFL, libc::O_ASYNC | libc::O_NONBLOCK)
    })?;

    // The signal is sent for what happens from now on; what happened before shows here.
    let mut entries = [PollFd::new(&fresh, PollFlags::IN)];
    rustix::event::poll(&mut entries, Some(&Timespec::default())).map_err(Error::of(OPERATION))?;

    Ok(if entries[0].revents().is_empty() {
        Some(fresh)
    } else {
        None
    })
}

/// The same on all architectures of Linux.
const F_SETSIG: i32 = 10;

fn check(operation: &'static str, result: i32) -> Result<()> {
    if result < 0 {
        Err(Error::last(operation))
    } else {
        Ok(())
    }
}
