//! Forking through libc, so that everybody's fork hooks run.

#![expect(unsafe_code, reason = "fork is a C function")]

use super::child::ChildProcess;
use crate::{Error, Result};

/// Which of the two processes this is.
#[derive(Debug)]
pub enum Fork {
    /// The one that called.
    Parent(ChildProcess),
    /// The new one, with the calling thread alone.
    Child,
}

/// Makes a copy of this process.
///
/// If the child's pidfd cannot be opened (too many descriptors) the child is killed and collected, and an error returned.
///
/// # Errors
/// [`Error::is_again`] at a limit on processes, no memory, too many open descriptors.
///
/// # Safety
/// Locks that other threads hold now stay locked in the child: until it execs or exits it may use nothing that needs
/// one, unless fork hooks have seen to it.
pub unsafe fn fork() -> Result<Fork> {
    // SAFETY: the caller vouches for what the child does.
    match unsafe { libc::fork() } {
        -1 => Err(Error::last("fork")),
        0 => Ok(Fork::Child),
        pid => ChildProcess::adopt(pid.unsigned_abs())
            .map(Fork::Parent)
            .inspect_err(|_| abandon(pid)),
    }
}

/// Ends and collects a child that cannot be watched.
pub(super) fn abandon(pid: i32) {
    // SAFETY: the child was just made by this call and has not been collected, so the number is its own.
    unsafe { libc::kill(pid, libc::SIGKILL) };

    let mut status = 0;
    // SAFETY: `status` is valid for writes.
    while unsafe { libc::waitpid(pid, &raw mut status, 0) } < 0
        && Error::last("collect").is_interrupted()
    {}
}
