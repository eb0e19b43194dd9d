//! [`AsyncResult`]: the result of tasks that run elsewhere.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use procession_core::pool::Task;
use procession_core::shm::Wait;

use super::shared::Shared;
use super::watcher::Action;
use crate::error::{Error, ErrorKind, Result};

/// Turns finished tasks into their result.
pub(super) type Collect<T> = fn(&[Arc<Task>], Option<Duration>) -> Result<T>;

/// The result of an `apply_async`, `map_async` or `starmap_async`.
///
/// It is a [`Future`] too, for any executor. Dropping it does not cancel the
/// work; [`cancel`](Self::cancel) does.
#[must_use = "a result that nobody asks for is lost"]
pub struct AsyncResult<T> {
    pub(super) shared: Arc<Shared>,
    tasks: Tasks,
    collect: Collect<T>,
    limit: Option<Duration>,
    /// Where the callbacks' thread leaves the result, if there are callbacks.
    delivery: Option<Arc<Delivery<T>>>,
    taken: bool,
    /// Who is to be woken, once somebody has asked.
    waker: Option<Arc<Mutex<Waker>>>,
}

/// A result that callbacks have seen first.
pub(super) struct Delivery<T> {
    result: Mutex<Option<Result<T>>>,
    delivered: Condvar,
}

impl<T> Delivery<T> {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            result: Mutex::new(None),
            delivered: Condvar::new(),
        })
    }

    pub(super) fn deliver(&self, result: Result<T>) {
        *self.lock() = Some(result);
        self.delivered.notify_all();
    }

    /// Waits until it is delivered; false if the deadline came first.
    fn wait(&self, deadline: Option<Instant>) -> bool {
        let mut result = self.lock();
        while result.is_none() {
            let Some(deadline) = deadline else {
                result = self
                    .delivered
                    .wait(result)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.delivered.wait_timeout(result, left);
            result = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, Option<Result<T>>> {
        self.result.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One task has no list: `apply_async` is the common case.
enum Tasks {
    One([Arc<Task>; 1]),
    Many(Vec<Arc<Task>>),
}

impl Tasks {
    fn as_slice(&self) -> &[Arc<Task>] {
        match self {
            Self::One(one) => one,
            Self::Many(many) => many,
        }
    }
}

impl<T> AsyncResult<T> {
    pub(super) fn one(
        shared: Arc<Shared>,
        task: Arc<Task>,
        collect: Collect<T>,
        limit: Option<Duration>,
    ) -> Self {
        Self {
            shared,
            tasks: Tasks::One([task]),
            collect,
            limit,
            delivery: None,
            taken: false,
            waker: None,
        }
    }

    pub(super) fn many(
        shared: Arc<Shared>,
        tasks: Vec<Arc<Task>>,
        collect: Collect<T>,
        limit: Option<Duration>,
    ) -> Self {
        Self {
            shared,
            tasks: Tasks::Many(tasks),
            collect,
            limit,
            delivery: None,
            taken: false,
            waker: None,
        }
    }

    /// The result comes through the thread that runs its callbacks.
    pub(super) fn delivered_by(mut self, delivery: Arc<Delivery<T>>) -> Self {
        self.delivery = Some(delivery);
        self
    }

    /// Waits for the result and takes it.
    ///
    /// # Errors
    /// The [task's error](Error::task); for several tasks, the first in their
    /// order.
    pub fn get(mut self) -> Result<T> {
        self.wait()?;
        self.take()
    }

    /// Waits for at most `timeout`, and takes the result.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`] if it was not there in time: it can be asked
    /// for again. [`ErrorKind::WrongState`] if it was taken before. Otherwise
    /// as [`get`](Self::get).
    pub fn get_timeout(&mut self, timeout: Duration) -> Result<T> {
        if !self.wait_timeout(timeout)? {
            return Err(Error::new(
                ErrorKind::TimedOut,
                "get the result of a task: it was not there in time",
            ));
        }
        self.take()
    }

    /// Waits until the result, or the error in its place, is there.
    ///
    /// # Errors
    /// The wait was interrupted.
    pub fn wait(&self) -> Result<()> {
        // The last tasks finish last, so one sleep is mostly enough.
        for task in self.tasks().iter().rev() {
            task.wait(&mut Wait::forever().for_answer())?;
        }
        if let Some(delivery) = &self.delivery
            && !self.taken
        {
            delivery.wait(None);
        }
        Ok(())
    }

    /// Waits for at most `timeout`; false if the result is not there yet.
    ///
    /// # Errors
    /// The wait was interrupted.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool> {
        let deadline = Instant::now().checked_add(timeout);
        for task in self.tasks().iter().rev() {
            let mut wait = deadline
                .map_or_else(Wait::forever, Wait::until)
                .for_answer();
            match task.wait(&mut wait) {
                Ok(()) => {}
                Err(error) if error.is_timeout() => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.taken
            || self
                .delivery
                .as_ref()
                .is_none_or(|delivery| delivery.wait(deadline)))
    }

    /// Whether the result, or the error in its place, is there.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.tasks().iter().all(|task| task.is_over())
            && (self.taken
                || self
                    .delivery
                    .as_ref()
                    .is_none_or(|delivery| delivery.lock().is_some()))
    }

    /// Whether the work was done without error; `None` while it is not done,
    /// and after the result was taken.
    #[must_use]
    pub fn successful(&self) -> Option<bool> {
        if self.taken || !self.ready() {
            return None;
        }
        if let Some(delivery) = &self.delivery {
            return delivery.lock().as_ref().map(Result::is_ok);
        }
        Some(
            self.tasks()
                .iter()
                .all(|task| task.succeeded(super::outcome::is_finished)),
        )
    }

    /// Withdraws the work: what waits is never run, what runs is stopped by
    /// ending its worker, which is replaced. True if anything was withdrawn.
    pub fn cancel(&self) -> bool {
        let cancelled = self
            .tasks()
            .iter()
            .filter(|task| self.shared.pool.cancel(task));
        cancelled.count() > 0
    }

    pub(super) fn tasks(&self) -> &[Arc<Task>] {
        self.tasks.as_slice()
    }

    pub(super) fn take(&mut self) -> Result<T> {
        if std::mem::replace(&mut self.taken, true) {
            return Err(Error::new(
                ErrorKind::WrongState,
                "get the result of a task: it was taken before",
            ));
        }
        if let Some(delivery) = &self.delivery {
            let missing = || {
                Error::new(
                    ErrorKind::TimedOut,
                    "get the result of a task: its callback has not seen it yet",
                )
            };
            return delivery.lock().take().ok_or_else(missing)?;
        }
        (self.collect)(self.tasks.as_slice(), self.limit)
    }
}

impl<T> Future for AsyncResult<T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.ready() {
            return Poll::Ready(self.take());
        }
        if let Some(waker) = &self.waker {
            waker
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone_from(context.waker());
            // The watcher may have woken the one before.
            return if self.ready() {
                Poll::Ready(self.take())
            } else {
                Poll::Pending
            };
        }
        let waker = Arc::new(Mutex::new(context.waker().clone()));
        self.waker = Some(waker.clone());
        // The watcher looks again once it has the waker, so nothing that finishes meanwhile is missed.
        match self
            .shared
            .watch(self.tasks().to_vec(), Action::Wake(waker))
        {
            Ok(()) => Poll::Pending,
            Err(error) => Poll::Ready(Err(error)),
        }
    }
}

impl<T> Unpin for AsyncResult<T> {}

impl<T> Drop for AsyncResult<T> {
    fn drop(&mut self) {
        for task in self.tasks.as_slice() {
            self.shared.pool.release(task);
        }
    }
}

impl<T> fmt::Debug for AsyncResult<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncResult")
            .field("tasks", &self.tasks().len())
            .field("ready", &self.ready())
            .finish()
    }
}
