//! Sleeping until descriptors are ready, under the deadline and the interrupts of a [`Wait`].
//!
//! Used by connections and by [`super::wait`]. No sleep is longer than a second: the callback that knows about signals
//! is asked again at least that often.

use crate::shm::wait::Wait;
use crate::{Error, Result};
use procession_sync::Stop;
use procession_sys::poll::{Interest, PollEntry, PollOutcome, poll};
use std::os::fd::BorrowedFd;
use std::time::Duration;

const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// Sleeps until the descriptor is ready; broken and closed ones count as ready, the next call on them says why.
///
/// # Errors
/// Timed out or interrupted.
pub(crate) fn until_ready(
    fd: BorrowedFd<'_>,
    interest: Interest,
    wait: &mut Wait<'_>,
) -> Result<()> {
    if wait.is_never() {
        return Err(Stop::TimedOut.into());
    }
    if sleep(&mut [PollEntry::new(fd, interest)], wait)? {
        Ok(())
    } else {
        Err(Stop::TimedOut.into())
    }
}

/// Looks at the entries, and sleeps until one is ready; false if the deadline came first.
///
/// # Errors
/// Interrupted, or the operating system refuses.
pub(crate) fn sleep(entries: &mut [PollEntry<'_>], wait: &mut Wait<'_>) -> Result<bool> {
    loop {
        let remaining = wait.remaining();
        let outcome = poll(
            entries,
            Some(remaining.unwrap_or(LONGEST_SLEEP).min(LONGEST_SLEEP)),
        )?;

        match outcome {
            PollOutcome::Ready(_) => return Ok(true),
            PollOutcome::TimedOut
                if remaining.is_some_and(|remaining| remaining <= LONGEST_SLEEP) =>
            {
                return Ok(false);
            }
            PollOutcome::TimedOut | PollOutcome::Interrupted => {
                wait.check_interrupt().map_err(Error::from)?
            }
        }
    }
}
