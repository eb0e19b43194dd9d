//! [`ThreadCall`]: one submission with callbacks.

use super::crew::Crew;
use super::result::ThreadResult;
use super::submit;
use super::target::ThreadTarget;
use crate::error::{Error, Result};

/// A call to be submitted; see [`ThreadPool::call`](super::ThreadPool::call).
///
/// Unlike a [`Call`](crate::Call) it has neither a timeout nor retries: a
/// thread cannot be stopped, and does not die alone.
#[must_use = "a call begins with submit()"]
pub struct ThreadCall<'a, F: ThreadTarget<Arguments>, Arguments> {
    crew: &'a Crew,
    target: F,
    arguments: Arguments,
    callback: Option<Callback<F::Output>>,
    error_callback: Option<ErrorCallback>,
}

type Callback<R> = Box<dyn FnOnce(&R) + Send>;
type ErrorCallback = Box<dyn FnOnce(&Error) + Send>;

impl<'a, F, Arguments> ThreadCall<'a, F, Arguments>
where
    F: ThreadTarget<Arguments>,
    F::Output: Send + 'static,
    Arguments: Send + 'static,
{
    pub(super) fn new(crew: &'a Crew, target: F, arguments: Arguments) -> Self {
        Self {
            crew,
            target,
            arguments,
            callback: None,
            error_callback: None,
        }
    }

    /// Calls `callback` with the result when it is there, on the thread that
    /// made the call. One that panics is reported and harms nothing else.
    pub fn callback(mut self, callback: impl FnOnce(&F::Output) + Send + 'static) -> Self {
        self.callback = Some(Box::new(callback));
        self
    }

    /// Calls `callback` with the error, if there is one: on the thread that
    /// made the call, or on the one that cancelled it or terminated the pool.
    /// One that panics is reported and harms nothing else.
    pub fn error_callback(mut self, callback: impl FnOnce(&Error) + Send + 'static) -> Self {
        self.error_callback = Some(Box::new(callback));
        self
    }

    /// Submits the call; never blocks. The result is there for
    /// [`ThreadResult::get`] once the callbacks have seen it; the
    /// `ThreadResult` may be dropped, they are called all the same.
    ///
    /// # Errors
    /// As [`ThreadPool::apply_async`](super::ThreadPool::apply_async).
    pub fn submit(self) -> Result<ThreadResult<F::Output>> {
        let Self {
            crew,
            target,
            arguments,
            callback,
            error_callback,
        } = self;
        submit::call(crew, target, arguments, |result| {
            match (result, callback, error_callback) {
                (Ok(result), Some(callback), _) => callback(result),
                (Err(error), _, Some(callback)) => callback(error),
                _ => {}
            }
        })
    }
}

impl<F: ThreadTarget<Arguments>, Arguments> std::fmt::Debug for ThreadCall<'_, F, Arguments> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ThreadCall").finish_non_exhaustive()
    }
}
