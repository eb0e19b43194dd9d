//! [`ThreadResult`]: the result of calls that threads of a pool make.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::delivery::Delivery;
use super::job::Work;
use crate::error::{Error, ErrorKind, Result};

/// The result of an `apply_async`, `map_async` or `starmap_async` of a
/// [`ThreadPool`](crate::ThreadPool).
///
/// It is a [`Future`] too, for any executor. Dropping it does not cancel the
/// work; [`cancel`](Self::cancel) does.
#[must_use = "a result that nobody asks for is lost"]
pub struct ThreadResult<T> {
    delivery: Arc<Delivery<T>>,
    jobs: Vec<Arc<dyn Work>>,
}

impl<T> ThreadResult<T> {
    pub(super) fn new(delivery: Arc<Delivery<T>>, jobs: Vec<Arc<dyn Work>>) -> Self {
        Self { delivery, jobs }
    }

    /// Waits for the result and takes it.
    ///
    /// # Errors
    /// The [task's error](Error::task); for several tasks, the first in their
    /// order.
    pub fn get(self) -> Result<T> {
        self.delivery.wait(None);
        self.take()
    }

    /// Waits for at most `timeout`, and takes the result.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`] if it was not there in time: it can be asked
    /// for again. [`ErrorKind::WrongState`] if it was taken before. Otherwise
    /// as [`get`](Self::get).
    pub fn get_timeout(&mut self, timeout: Duration) -> Result<T> {
        if !self.wait_timeout(timeout) {
            return Err(Error::new(
                ErrorKind::TimedOut,
                "get the result of a task: it was not there in time",
            ));
        }
        self.take()
    }

    /// Waits until the result, or the error in its place, is there.
    pub fn wait(&self) {
        self.delivery.wait(None);
    }

    /// Waits for at most `timeout`; false if the result is not there yet.
    #[must_use]
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        // A deadline beyond the end of time is none.
        self.delivery.wait(Instant::now().checked_add(timeout))
    }

    /// Whether the result, or the error in its place, is there.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.delivery.is_over()
    }

    /// Whether the work was done without error; `None` while it is not done,
    /// and after the result was taken.
    #[must_use]
    pub fn successful(&self) -> Option<bool> {
        self.delivery.is_ok()
    }

    /// Withdraws what no thread has begun with; it fails with
    /// [`TaskError::Cancelled`](crate::TaskError::Cancelled). True if there
    /// was any.
    ///
    /// A thread cannot be stopped: what runs goes on, and has its result.
    /// (A [`Pool`](crate::Pool) ends the worker.)
    pub fn cancel(&self) -> bool {
        let withdrawn = self.jobs.iter().filter(|job| job.cancel()).count();
        withdrawn > 0
    }

    fn take(&self) -> Result<T> {
        let taken = || {
            Error::new(
                ErrorKind::WrongState,
                "get the result of a task: it was taken before",
            )
        };
        self.delivery.take().ok_or_else(taken)?
    }
}

impl<T> Future for ThreadResult<T> {
    type Output = Result<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.delivery.register(context.waker()) {
            return Poll::Pending;
        }
        Poll::Ready(self.take())
    }
}

impl<T> fmt::Debug for ThreadResult<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadResult")
            .field("tasks", &self.jobs.len())
            .field("ready", &self.ready())
            .finish()
    }
}
