//! Readiness on Linux, by `poll`.

use crate::{Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use std::os::fd::BorrowedFd;
use std::time::Duration;

bitflags::bitflags! {
    /// What a descriptor is watched for, or found to be.
    #[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
    pub struct Interest: u8 {
        /// Reading would not block: there are bytes, a connection to accept, or the end.
        const READ = 1;
        /// Writing would not block.
        const WRITE = 2;
        /// The other end is closed. Always reported.
        const HANGUP = 4;
        /// Broken, or not open. Always reported.
        const ERROR = 8;
    }
}

/// One descriptor to watch.
#[derive(Clone, Copy, Debug)]
pub struct PollEntry<'fd> {
    /// The descriptor.
    pub fd: BorrowedFd<'fd>,
    /// What to watch it for.
    pub interest: Interest,
    /// What it was found to be by the last call.
    pub ready: Interest,
}

impl<'fd> PollEntry<'fd> {
    /// Watches `fd` for `interest`.
    #[must_use]
    pub const fn new(fd: BorrowedFd<'fd>, interest: Interest) -> Self {
        Self {
            fd,
            interest,
            ready: Interest::empty(),
        }
    }
}

/// How a poll ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PollOutcome {
    /// So many entries are ready, one at least.
    Ready(usize),
    /// The timeout has passed.
    TimedOut,
    /// A signal handler ran.
    Interrupted,
}

/// Sleeps until an entry is ready, at most for `timeout` (zero looks only), and fills in every `ready`.
///
/// # Errors
/// No memory, more entries than descriptors allowed.
pub fn poll(entries: &mut [PollEntry<'_>], timeout: Option<Duration>) -> Result<PollOutcome> {
    const FEW: usize = 8;

    // A timeout too long for the kernel is none.
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());

    if let [entry] = entries {
        return poll_with(&mut [as_poll_fd(entry)], entries, timeout.as_ref());
    }
    if entries.len() <= FEW
        && let Some(first) = entries.first()
    {
        let mut list: [PollFd<'_>; FEW] = std::array::from_fn(|_| as_poll_fd(first));
        for (slot, entry) in list.iter_mut().zip(entries.iter()) {
            *slot = as_poll_fd(entry);
        }
        return poll_with(&mut list[..entries.len()], entries, timeout.as_ref());
    }

    let mut list: Vec<_> = entries.iter().map(as_poll_fd).collect();
    poll_with(&mut list, entries, timeout.as_ref())
}

fn poll_with(
    list: &mut [PollFd<'_>],
    entries: &mut [PollEntry<'_>],
    timeout: Option<&Timespec>,
) -> Result<PollOutcome> {
    let outcome = match rustix::event::poll(list, timeout) {
        Ok(0) => PollOutcome::TimedOut,
        Ok(count) => PollOutcome::Ready(count),
        Err(Errno::INTR) => PollOutcome::Interrupted,
        Err(errno) => return Err(Error::of("poll descriptors")(errno)),
    };

    for (entry, polled) in entries.iter_mut().zip(list) {
        entry.ready = match outcome {
            PollOutcome::Ready(_) => from_flags(polled.revents()),
            PollOutcome::TimedOut | PollOutcome::Interrupted => Interest::empty(),
        };
    }

    Ok(outcome)
}

fn as_poll_fd<'fd>(entry: &PollEntry<'fd>) -> PollFd<'fd> {
    let mut flags = PollFlags::empty();

    flags.set(PollFlags::IN, entry.interest.contains(Interest::READ));
    flags.set(PollFlags::OUT, entry.interest.contains(Interest::WRITE));
    PollFd::from_borrowed_fd(entry.fd, flags)
}

fn from_flags(flags: PollFlags) -> Interest {
    let mut ready = Interest::empty();

    ready.set(Interest::READ, flags.contains(PollFlags::IN));
    ready.set(Interest::WRITE, flags.contains(PollFlags::OUT));
    ready.set(Interest::HANGUP, flags.contains(PollFlags::HUP));
    ready.set(
        Interest::ERROR,
        flags.intersects(PollFlags::ERR | PollFlags::NVAL),
    );
    ready
}
