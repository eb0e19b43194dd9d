//! `wait`: which of several things are ready, as `multiprocessing.connection.wait`.
//!
//! Connections, sentinels of processes and any other descriptors can be mixed. Nothing is read.

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
        .map(|Waitable::Descriptor(fd)| PollEntry::new(*fd, Interest::READ))
        .collect();

    readiness::sleep(&mut entries, wait)?;
    Ok(entries
        .iter()
        .enumerate()
        .filter(|(_, entry)| !entry.ready.is_empty())
        .map(|(index, _)| index)
        .collect())
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
