//! The life pipe: how children learn that their parent is gone.
//!
//! A process that starts children keeps the write end of one pipe and never writes. Children that must not outlive it hold the read end
//! with a signal attached (see [`procession_sys::process::die_with_parent_pipe`]); the kernel kills them when the last write end closes,
//! however the parent ended. No other process may keep a write end: it is closed on exec, and an at-fork hook closes it in forked
//! children.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::engine::gate;
use crate::error::{Error, ErrorKind, Result};

/// The write end's number, for the hook in a forked child, which may not take
/// a lock.
static WRITE_END: AtomicI32 = AtomicI32::new(-1);

/// This process's tie to its own parent.
static TIED: Mutex<Option<OwnedFd>> = Mutex::new(None);

static READ_END: Mutex<Option<OwnedFd>> = Mutex::new(None);

/// The read end that children of this process inherit, as a duplicate.
///
/// # Errors
/// No descriptor is left.
pub(crate) fn read_end() -> Result<OwnedFd> {
    let inside = gate::enter();
    let mut read_end = READ_END.lock().unwrap_or_else(PoisonError::into_inner);
    if WRITE_END.load(Ordering::Relaxed) < 0 {
        let (read, write) = procession_sys::pipe::pipe()?;
        gate::in_child(&inside, close_write_end);
        WRITE_END.store(
            std::os::fd::IntoRawFd::into_raw_fd(write),
            Ordering::Relaxed,
        );
        *read_end = Some(read);
    }
    match &*read_end {
        Some(read) => Ok(procession_sys::fd::duplicate(read.as_fd())?),
        None => Err(Error::new(
            ErrorKind::WrongState,
            "start a process: the life pipe of this one was closed",
        )),
    }
}

/// Runs in a forked child, before anything of the user's: atomics and close
/// only.
fn close_write_end() {
    let write_end = WRITE_END.swap(-1, Ordering::Relaxed);
    if write_end >= 0 {
        #[expect(unsafe_code, reason = "the number was leaked to outlive every lock")]
        // SAFETY: the number came from `into_raw_fd` in `read_end`, and the swap gives it to this caller alone.
        drop(unsafe { OwnedFd::from_raw_fd(write_end) });
    }
}

/// A descriptor's number, as the marker and orders name it.
pub(super) fn number(descriptor: BorrowedFd<'_>) -> i32 {
    descriptor.as_raw_fd()
}

/// Keeps the descriptor that ties this process's life to its parent's: the tie
/// ends when it is closed.
pub(super) fn keep(tied: OwnedFd) {
    let _inside = gate::enter();
    *TIED.lock().unwrap_or_else(PoisonError::into_inner) = Some(tied);
}
