//! [`wait`] and what it waits for.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use procession_core::ipc as engine;
use procession_core::ipc::queue::Readiness;
use procession_core::shm::Wait;

use crate::error::Result;
use crate::joinable::JoinableQueue;
use crate::queue::{Polled, Queue};
use crate::simple::SimpleQueue;

/// One of the things that [`wait`] waits for: made of a reference to a queue,
/// or to anything that has a descriptor (a [`Connection`](crate::Connection), a
/// [`Receiver`](crate::Receiver), a [`Process`](crate::Process), a socket).
#[derive(Clone, Copy)]
pub struct Waitable<'a>(Item<'a>);

#[derive(Clone, Copy)]
enum Item<'a> {
    Descriptor(BorrowedFd<'a>),
    Queue(&'a Polled),
}

impl<'a, T: AsFd> From<&'a T> for Waitable<'a> {
    fn from(thing: &'a T) -> Self {
        Self(Item::Descriptor(thing.as_fd()))
    }
}

impl<'a, T> From<&'a Queue<T>> for Waitable<'a> {
    fn from(queue: &'a Queue<T>) -> Self {
        Self(Item::Queue(queue.polled()))
    }
}

impl<'a, T> From<&'a JoinableQueue<T>> for Waitable<'a> {
    fn from(queue: &'a JoinableQueue<T>) -> Self {
        Self::from(&**queue)
    }
}

impl<'a, T> From<&'a SimpleQueue<T>> for Waitable<'a> {
    fn from(queue: &'a SimpleQueue<T>) -> Self {
        Self::from(queue.queue())
    }
}

impl fmt::Debug for Waitable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Item::Descriptor(fd) => f.debug_tuple("Waitable").field(fd).finish(),
            Item::Queue(_) => f.write_str("Waitable(Queue)"),
        }
    }
}

/// Waits until at least one of the items is ready, and returns the positions of
/// all that are; none if `timeout` came first. `None` waits for as long as it
/// takes.
///
/// A queue is ready when there is something to get, or when it is closed; a
/// connection when there is something to receive, or when the other end is
/// closed; a process when it has ended. Nothing is taken or received: somebody
/// else may be faster, so use `try_get` for queues that others read too.
///
/// The first wait for a queue starts a small thread of procession's own, which
/// ends with the queue's handle.
///
/// # Errors
///
/// No descriptor or thread is left; there are too many items for the system.
///
/// # Examples
///
/// ```
/// use procession::{Queue, channel, wait};
/// use std::time::Duration;
///
/// let queue = Queue::new()?;
/// let (sender, receiver) = channel::<u8>()?;
/// let items = [(&queue).into(), (&receiver).into()];
/// assert!(wait(&items, Some(Duration::ZERO))?.is_empty());
/// sender.send(&1)?;
/// assert_eq!(wait(&items, None)?, [1]);
/// queue.put(&"text".to_string())?;
/// assert_eq!(wait(&items, None)?, [0, 1]);
/// # Ok::<(), procession::Error>(())
/// ```
pub fn wait(items: &[Waitable<'_>], timeout: Option<Duration>) -> Result<Vec<usize>> {
    let mut wait = Wait::for_duration(timeout);
    let kept = items
        .iter()
        .map(|Waitable(item)| match item {
            Item::Descriptor(_) => Ok(None),
            Item::Queue(polled) => polled.readiness().map(Some),
        })
        .collect::<Result<Vec<Option<Arc<Readiness>>>>>()?;
    let items: Vec<engine::Waitable<'_>> = std::iter::zip(items, &kept)
        .filter_map(|(Waitable(item), readiness)| match item {
            Item::Descriptor(fd) => Some(engine::Waitable::Descriptor(*fd)),
            Item::Queue(_) => readiness.as_deref().map(engine::Waitable::Queue),
        })
        .collect();
    Ok(engine::wait(&items, &mut wait)?)
}
