//! Sleeping until descriptors are ready, under the deadline and the interrupts of a [`Wait`].
//!
//! Used by connections and by [`super::wait`]. No sleep is longer than a second: the callback that knows about signals
//! is asked again at least that often.

use crate::shm::wait::Wait;
use crate::{Error, Result};
use procession_sys::poll::{Interest, PollEntry, PollOutcome, poll};
use std::os::fd::BorrowedFd;
use std::time::Duration;

pub(crate) const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// Why one sleep ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Slept {
    /// Something is ready; broken and closed descriptors are, the next call on them says why.
    Ready,
    /// It is time to look at other things, then to sleep again.
    LookAgain,
    /// The deadline has passed.
    TimedOut,
}

/// Looks at the entries, and sleeps at most for `longest` until one is ready.
///
/// # Errors
/// Interrupted, or the operating system refuses.
pub(crate) fn nap(
    entries: &mut [PollEntry<'_>],
    longest: Duration,
    wait: &mut Wait<'_>,
) -> Result<Slept> {
    let remaining = wait.remaining();
    let outcome = poll(
        entries,
        Some(remaining.map_or(longest, |left| left.min(longest))),
    )?;

    match outcome {
        PollOutcome::Ready(_) => Ok(Slept::Ready),
        PollOutcome::TimedOut if remaining.is_some_and(|left| left <= longest) => {
            Ok(Slept::TimedOut)
        }
        PollOutcome::TimedOut | PollOutcome::Interrupted => {
            wait.check_interrupt().map_err(Error::from)?;
            Ok(Slept::LookAgain)
        }
    }
}

/// Looks at the entries, and sleeps until one is ready; false if the deadline came first.
///
/// # Errors
/// Interrupted, or the operating system refuses.
pub(crate) fn sleep(entries: &mut [PollEntry<'_>], wait: &mut Wait<'_>) -> Result<bool> {
    loop {
        match nap(entries, LONGEST_SLEEP, wait)? {
            Slept::Ready => return Ok(true),
            Slept::TimedOut => return Ok(false),
            Slept::LookAgain => {}
        }
    }
}

/// Is the descriptor ready now?
pub(crate) fn is_ready(fd: BorrowedFd<'_>, interest: Interest) -> bool {
    matches!(
        poll(&mut [PollEntry::new(fd, interest)], Some(Duration::ZERO)),
        Ok(PollOutcome::Ready(_))
    )
}
