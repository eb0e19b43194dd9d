//! [`JoinableQueue`].

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use procession_core::ipc::queue as engine;
use procession_core::shm::Wait;
use procession_core::shm::handles;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Result;
use crate::handle;
use crate::queue::Queue;
use crate::sync::in_time;

/// A [`Queue`] that knows when all that was put into it has been done.
///
/// It puts and gets as a [`Queue`] does. Whoever has taken a message reports it
/// with [`task_done`](Self::task_done), and [`join`](Self::join) waits until
/// every one was reported.
///
/// A process that ends with messages that it has taken and not reported leaves
/// them undone: `join` says so once and no longer waits for them.
///
/// # Examples
///
/// ```
/// use procession::{JoinableQueue, Process};
///
/// fn work(tasks: JoinableQueue<u32>) -> procession::Result<()> {
///     for task in tasks.iter() {
///         let _ = task?;
///         tasks.task_done()?;
///     }
///     Ok(())
/// }
///
/// # fn main() -> procession::Result<()> {
/// procession::init();
/// let tasks = JoinableQueue::new()?;
/// let child = Process::new(work).args((tasks.clone(),)).start()?;
/// tasks.put_many(0..10)?;
/// tasks.join()?;
/// tasks.close()?;
/// child.join()?;
/// # Ok(())
/// # }
/// ```
pub struct JoinableQueue<T> {
    queue: Queue<T>,
    tasks: engine::JoinableQueue,
}

impl<T> JoinableQueue<T> {
    /// A queue for any number of messages.
    ///
    /// # Errors
    ///
    /// Shared memory is exhausted.
    pub fn new() -> Result<Self> {
        Ok(Self::of(engine::JoinableQueue::new(None)?))
    }

    /// A queue for at most `most` messages at a time: a put waits for room.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) if
    /// `most` is 0; shared memory is exhausted.
    pub fn bounded(most: usize) -> Result<Self> {
        Ok(Self::of(engine::JoinableQueue::new(Some(most))?))
    }

    fn of(tasks: engine::JoinableQueue) -> Self {
        Self {
            queue: Queue::of((*tasks).clone()),
            tasks,
        }
    }

    /// Reports that a message which was taken from the queue has been dealt
    /// with.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WrongState`](crate::ErrorKind::WrongState) if all were
    /// reported already.
    pub fn task_done(&self) -> Result<()> {
        Ok(self.tasks.task_done(&mut Wait::forever())?)
    }

    /// Waits until every message that was put has been reported as done.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::WorkerLost`](crate::ErrorKind::WorkerLost), once, if
    /// processes ended with messages that they had taken and not reported;
    /// another `join` waits for the others.
    pub fn join(&self) -> Result<()> {
        Ok(self.tasks.join(&mut Wait::forever().for_answer())?)
    }

    /// Waits for at most `timeout`, and says whether all was done.
    ///
    /// # Errors
    ///
    /// As for [`join`](Self::join).
    pub fn join_timeout(&self, timeout: Duration) -> Result<bool> {
        let mut wait = Wait::for_duration(Some(timeout)).for_answer();
        Ok(in_time(self.tasks.join(&mut wait))?.is_some())
    }

    /// How many messages were put and not yet reported as done.
    ///
    /// # Errors
    ///
    /// Shared memory cannot be mapped.
    pub fn unfinished(&self) -> Result<usize> {
        Ok(self.tasks.unfinished()?)
    }
}

impl<T> Deref for JoinableQueue<T> {
    type Target = Queue<T>;

    fn deref(&self) -> &Queue<T> {
        &self.queue
    }
}

impl<T> Clone for JoinableQueue<T> {
    fn clone(&self) -> Self {
        Self::of(self.tasks.clone())
    }
}

impl<T> fmt::Debug for JoinableQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinableQueue")
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}

/// Only inside an argument, a result or a message of the same family.
impl<T> Serialize for JoinableQueue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.queue.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for JoinableQueue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let tasks = handle::deserialize(deserializer, |index| {
            engine::JoinableQueue::from_queue(engine::Queue::from_object(handles::resolve(index)?))
        })?;
        Ok(Self::of(tasks))
    }
}
