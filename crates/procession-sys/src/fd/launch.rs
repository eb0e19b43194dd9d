//! Descriptors across a launch on Linux: the null device, the standard output, and what a fresh program inherited.

#![expect(
    unsafe_code,
    reason = "an inherited descriptor is known by its number alone"
)]

use super::{at_least_three, set_close_on_exec};
use crate::{Error, Result};
use rustix::fs::{Mode, OFlags};
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// The null device, for writing.
///
/// # Errors
/// Too many open descriptors.
pub fn open_null() -> Result<OwnedFd> {
    let fd = rustix::fs::open(
        c"/dev/null",
        OFlags::WRONLY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|errno| Error::of("open")(errno).with_subject("/dev/null"))?;
    at_least_three(fd)
}

/// Makes descriptor 1 another name of `fd`.
///
/// # Errors
/// The system's.
pub fn replace_standard_output(fd: BorrowedFd<'_>) -> Result<()> {
    rustix::stdio::dup2_stdout(fd).map_err(Error::of("replace the standard output"))
}

/// Connects descriptors 0, 1 and 2 to the null device: this process neither reads nor holds open what its starter uses.
///
/// # Errors
/// The system's.
pub fn leave_standard_streams() -> Result<()> {
    const OPERATION: &str = "leave the standard streams";
    let null = rustix::fs::open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(Error::of(OPERATION))?;
    let null = at_least_three(null)?;

    rustix::stdio::dup2_stdin(&null).map_err(Error::of(OPERATION))?;
    rustix::stdio::dup2_stdout(&null).map_err(Error::of(OPERATION))?;
    rustix::stdio::dup2_stderr(&null).map_err(Error::of(OPERATION))
}

/// Takes possession of a descriptor that this program was started with, and closes it on exec from now on; `None` if
/// it is not open.
///
/// # Safety
/// Nothing else in this program owns the descriptor of this number.
///
/// # Errors
/// The system's.
pub unsafe fn inherited(number: RawFd) -> Result<Option<OwnedFd>> {
    if number < 0 {
        return Ok(None);
    }
    // SAFETY: the number is not negative; that it may not be open is what the next line finds out.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    if set_close_on_exec(borrowed).is_err() {
        return Ok(None);
    }
    // SAFETY: it is open, and the caller says that nobody else owns it.
    Ok(Some(unsafe { OwnedFd::from_raw_fd(number) }))
}
