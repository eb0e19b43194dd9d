//! `wait`: which of several things are ready, as `multiprocessing.connection.wait`.
//!
//! Queues, connections, sentinels of processes and any other descriptors can be mixed. Nothing is read or taken.

use super::queue::Readiness;
use super::readiness;
use crate::Result;
use crate::shm::wait::Wait;
use procession_sys::poll::{Interest, PollEntry};
use std::os::fd::{AsFd, BorrowedFd};

/// One thing to wait for.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Waitable<'a> {
    /// A descriptor: ready when it can be read, has come to its end, or is broken.
    Descriptor(BorrowedFd<'a>),
    /// A queue, by the descriptor that it has in this process: ready when a get would not wait.
    Queue(&'a Readiness),
}

impl<'a, T: AsFd> From<&'a T> for Waitable<'a> {
    fn from(thing: &'a T) -> Self {
        Self::Descriptor(thing.as_fd())
    }
}

/// Sleeps until at least one of the items is ready and returns the positions of all that are; none if the deadline came
/// first. With no items it sleeps until the deadline.
///
/// # Errors
/// Interrupted by the callback of `wait`, or the operating system refuses (too many items).
pub fn wait(items: &[Waitable<'_>], wait: &mut Wait<'_>) -> Result<Vec<usize>> {
    let mut entries: Vec<PollEntry<'_>> = items
        .iter()
        .map(|item| match item {
            Waitable::Descriptor(fd) => PollEntry::new(*fd, Interest::READ),
            Waitable::Queue(readiness) => PollEntry::new(readiness.as_fd(), Interest::READ),
        })
        .collect();

    loop {
        let in_time = readiness::sleep(&mut entries, wait)?;
        let ready: Vec<usize> = std::iter::zip(items, &entries)
            .enumerate()
            .filter(|(_, (item, entry))| !entry.ready.is_empty() && item.is_ready_now())
            .map(|(index, _)| index)
            .collect();

        if !ready.is_empty() || !in_time {
            return Ok(ready);
        }
    }
}

impl Waitable<'_> {
    /// Is it, once its descriptor was? Another process may have emptied a queue since.
    fn is_ready_now(&self) -> bool {
        match self {
            Self::Descriptor(_) => true,
            Self::Queue(readiness) => readiness.is_ready(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Waitable, wait};
    use crate::ErrorKind;
    use crate::ipc::connection::pipe;
    use crate::shm::wait::Wait;
    use procession_sys::eventfd::EventFd;
    use std::time::Duration;

    #[test]
    fn tells_all_that_are_ready() {
        let (left, right) = pipe(true).unwrap();
        let (reader, writer) = pipe(false).unwrap();
        let event = EventFd::new().unwrap();
        let items = [
            Waitable::from(&right),
            Waitable::from(&reader),
            Waitable::from(&event),
        ];

        assert!(wait(&items, &mut Wait::never()).unwrap().is_empty());
        assert!(
            wait(
                &items,
                &mut Wait::for_duration(Some(Duration::from_millis(3)))
            )
            .unwrap()
            .is_empty()
        );

        left.send_bytes(&[b"x"], &mut Wait::forever()).unwrap();
        assert_eq!(wait(&items, &mut Wait::forever()).unwrap(), [0]);
        event.signal().unwrap();
        drop(writer);
        assert_eq!(wait(&items, &mut Wait::never()).unwrap(), [0, 1, 2]);
    }

    #[test]
    fn the_callback_ends_it_within_the_slice() {
        let (reader, _writer) = pipe(false).unwrap();
        let mut stop = || false;
        let error = wait(
            &[Waitable::from(&reader)],
            &mut Wait::forever().with_interrupt(&mut stop),
        )
        .unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Interrupted);
    }
}
