//! [`SimpleQueue`].

use std::fmt;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::queue::Queue;

/// A queue without bound, timeouts or batches: what Python's `SimpleQueue` is.
///
/// It is as quick and as safe as a [`Queue`], only smaller.
///
/// # Examples
///
/// ```
/// use procession::SimpleQueue;
///
/// let queue = SimpleQueue::new()?;
/// queue.put(&("answer".to_string(), 42))?;
/// assert_eq!(queue.get()?, ("answer".to_string(), 42));
/// assert!(queue.is_empty());
/// # Ok::<(), procession::Error>(())
/// ```
#[derive(Serialize, Deserialize)]
#[serde(bound(serialize = "", deserialize = ""), transparent)]
pub struct SimpleQueue<T> {
    queue: Queue<T>,
}

impl<T> SimpleQueue<T> {
    /// An empty queue.
    ///
    /// # Errors
    ///
    /// Shared memory is exhausted.
    pub fn new() -> Result<Self> {
        Ok(Self {
            queue: Queue::new()?,
        })
    }

    /// Whether no message waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Ends the queue for all processes: nothing can be put any more, and who
    /// gets is told once all messages have been taken.
    ///
    /// # Errors
    ///
    /// As for [`Queue::close`].
    pub fn close(&self) -> Result<()> {
        self.queue.close()
    }

    pub(crate) const fn queue(&self) -> &Queue<T> {
        &self.queue
    }
}

impl<T: Serialize + 'static> SimpleQueue<T> {
    /// Puts a value; never blocks.
    ///
    /// # Errors
    ///
    /// As for [`Queue::put`].
    pub fn put(&self, value: &T) -> Result<()> {
        self.queue.put(value)
    }
}

impl<T: DeserializeOwned + 'static> SimpleQueue<T> {
    /// Takes the oldest message, waiting for one.
    ///
    /// # Errors
    ///
    /// As for [`Queue::get`].
    pub fn get(&self) -> Result<T> {
        self.queue.get()
    }
}

impl<T> Clone for SimpleQueue<T> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
        }
    }
}

impl<T> fmt::Debug for SimpleQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SimpleQueue").field(&self.queue).finish()
    }
}
