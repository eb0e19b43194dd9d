//! [`Call`]: one submission with options and callbacks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use procession_core::pool::Task;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::async_result::{AsyncResult, Delivery};
use super::options::Options;
use super::shared::{Shared, decode_one};
use super::watcher::Action;
use crate::error::{Error, Result};
use crate::target::Target;

/// A call to be submitted; see [`Pool::call`](super::Pool::call).
#[must_use = "a call begins with submit()"]
pub struct Call<'a, F: Target<Arguments>, Arguments> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) target: F,
    pub(super) arguments: Arguments,
    pub(super) options: Options,
    callback: Option<Callback<F::Output>>,
    error_callback: Option<ErrorCallback>,
}

type Callback<R> = Box<dyn FnOnce(&R) + Send>;
type ErrorCallback = Box<dyn FnOnce(&Error) + Send>;

impl<F: Target<Arguments>, Arguments> std::fmt::Debug for Call<'_, F, Arguments> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl<'a, F, Arguments> Call<'a, F, Arguments>
where
    F: Target<Arguments>,
    F::Output: Serialize + DeserializeOwned + Send + 'static,
    Arguments: Serialize + DeserializeOwned + 'static,
{
    pub(super) fn new(
        shared: &'a Arc<Shared>,
        target: F,
        arguments: Arguments,
        options: Options,
    ) -> Self {
        Self {
            shared,
            target,
            arguments,
            options,
            callback: None,
            error_callback: None,
        }
    }

    /// The most time the call may take, instead of the pool's
    /// [`task_timeout`](super::PoolBuilder::task_timeout).
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = Some(timeout);
        self
    }

    /// How often the call is run again if its worker dies or it takes too
    /// long, instead of the pool's [`retries`](super::PoolBuilder::retries).
    pub fn retries(mut self, retries: u32) -> Self {
        self.options.retries = retries;
        self
    }

    /// Calls `callback` with the result when it is there, on a thread of this
    /// program that runs the pool's callbacks one after the other. One that
    /// panics is reported and harms nothing else.
    pub fn callback(mut self, callback: impl FnOnce(&F::Output) + Send + 'static) -> Self {
        self.callback = Some(Box::new(callback));
        self
    }

    /// Calls `callback` with the error, if there is one; otherwise as
    /// [`callback`](Self::callback).
    pub fn error_callback(mut self, callback: impl FnOnce(&Error) + Send + 'static) -> Self {
        self.error_callback = Some(Box::new(callback));
        self
    }

    /// Submits the call; never blocks. With callbacks, the result is there
    /// for [`AsyncResult::get`] once they have seen it; the `AsyncResult` may
    /// be dropped, they are called all the same.
    ///
    /// # Errors
    /// As [`Pool::apply_async`](super::Pool::apply_async).
    pub fn submit(self) -> Result<AsyncResult<F::Output>> {
        let Self {
            shared,
            target,
            arguments,
            options,
            callback,
            error_callback,
        } = self;
        let task = shared.submit(target, &arguments, options)?;
        let limit = options.timeout;
        let result = AsyncResult::one(shared.clone(), task.clone(), decode_one::<F::Output>, limit);
        if callback.is_none() && error_callback.is_none() {
            return Ok(result);
        }
        let delivery = Delivery::new();
        let (pool, watched, deliver) = (shared.pool.clone(), vec![task.clone()], delivery.clone());
        let run = move || {
            let result = decode_one::<F::Output>(std::slice::from_ref::<Arc<Task>>(&task), limit);
            pool.release(&task);
            let called = catch_unwind(AssertUnwindSafe(|| {
                match (&result, callback, error_callback) {
                    (Ok(result), Some(callback), _) => callback(result),
                    (Err(error), _, Some(callback)) => callback(error),
                    _ => {}
                }
            }));
            if called.is_err() {
                tracing::error!(task = task.name(), "a task's callback panicked");
            }
            deliver.deliver(result);
        };
        shared.watch(watched, Action::Call(Box::new(run)))?;
        Ok(result.delivered_by(delivery))
    }
}
