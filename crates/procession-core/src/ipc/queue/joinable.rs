//! `JoinableQueue`: a queue that knows when all that was put into it has been done.
//!
//! Used by the faces. Counting is in `tasks.rs`.

use super::handle::Queue;
use super::tasks::{Progress, TaskTable, Tasks};
use crate::error::{Error, ErrorKind, Result};
use crate::shm::{BlockId, Wait, heap};
use procession_sync::Waiter;
use std::ops::Deref;

/// A [`Queue`] whose messages are tasks: whoever has taken one reports it as done.
///
/// A process that dies with tasks that it has taken and not reported leaves them undone for ever: [`join`](Self::join)
/// then reports how many, once, and no longer waits for them.
#[derive(Clone, Debug)]
pub struct JoinableQueue {
    queue: Queue,
}

impl JoinableQueue {
    /// Makes a queue for at most `maxsize` messages at a time, or for any number.
    ///
    /// # Errors
    /// As [`Queue::new`].
    pub fn new(maxsize: Option<usize>) -> Result<Self> {
        let tasks = heap::allocate_zeroed(size_of::<TaskTable>())?;

        Ok(Self {
            queue: Queue::create(maxsize, Some(tasks))?,
        })
    }

    /// The joinable queue with the name; see [`Queue::attach`].
    ///
    /// # Errors
    /// It is gone, or something else, or not joinable.
    pub fn attach(id: BlockId) -> Result<Self> {
        Self::from_queue(Queue::attach(id)?)
    }

    /// The same queue, if it was made as a joinable one.
    ///
    /// # Errors
    /// It was not.
    pub fn from_queue(queue: Queue) -> Result<Self> {
        let this = Self { queue };

        this.tasks()?;
        Ok(this)
    }

    /// Reports that a task which was taken from the queue is done.
    ///
    /// # Errors
    /// [`ErrorKind::WrongState`] if every task was reported already; [`ErrorKind::Interrupted`].
    pub fn task_done(&self, wait: &mut Wait<'_>) -> Result<()> {
        let tasks = self.tasks()?;

        if tasks.done(wait)? {
            tasks.table.finished.notify_all(wait);
        }
        Ok(())
    }

    /// Waits until every task that was put has been reported as done.
    ///
    /// # Errors
    /// [`ErrorKind::WorkerLost`], once, if processes died with tasks: those are no longer waited for, and another `join`
    /// waits for the others. [`ErrorKind::TimedOut`], [`ErrorKind::Interrupted`].
    pub fn join(&self, wait: &mut Wait<'_>) -> Result<()> {
        let tasks = self.tasks()?;
        loop {
            if tasks.progress(wait)?.over()? {
                return Ok(());
            }
            if !wait.is_never() {
                while wait.spin() && tasks.unfinished() != 0 {}
            }

            let ticket = tasks.table.finished.prepare();
            let holder = match tasks.progress(wait)? {
                Progress::Waiting(holder) => holder,
                other => return other.over().map(drop),
            };
            tasks.table.finished.wait(ticket, wait, holder)?;
        }
    }

    /// How many tasks were put and not yet reported as done.
    ///
    /// # Errors
    /// The heap's segment cannot be mapped.
    pub fn unfinished(&self) -> Result<usize> {
        Ok(self.tasks()?.unfinished() as usize)
    }

    fn tasks(&self) -> Result<Tasks<'_>> {
        Tasks::of(self.queue.state())?.ok_or_else(|| {
            Error::new(
                ErrorKind::WrongKind,
                "count a queue's tasks: it was not made as a joinable queue",
            )
        })
    }
}

impl Deref for JoinableQueue {
    type Target = Queue;

    fn deref(&self) -> &Queue {
        &self.queue
    }
}

impl Progress {
    /// Whether nothing is left to wait for.
    fn over(self) -> Result<bool> {
        match self {
            Self::Finished => Ok(true),
            Self::Waiting(_) => Ok(false),
            Self::Lost(lost) => Err(Error::new(
                ErrorKind::WorkerLost,
                format!(
                    "join the queue: processes died with {lost} tasks that they had taken and not reported as done"
                ),
            )),
        }
    }
}
