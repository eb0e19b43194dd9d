//! What a pool and its results share: encoding calls into tasks, and decoding what became of them.

use std::sync::Arc;
use std::time::Duration;

use procession_core::pool::{Task, TaskSpec};
use procession_core::process::image;
use procession_core::shm::handles::Collected;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::async_result::AsyncResult;
use super::options::Options;
use super::outcome;
use super::watcher::{Action, Watcher};
use super::worker::{TaskTrampoline, run_item};
use crate::codec;
use crate::error::{Error, ErrorKind, Result, TaskError};
use crate::target::{self, Target};

/// What a pool and its results share.
pub(super) struct Shared {
    pub(super) pool: Arc<procession_core::pool::Pool>,
    pub(super) watcher: Watcher,
}

impl Shared {
    pub(super) fn new(pool: procession_core::pool::Pool) -> Self {
        Self {
            pool: Arc::new(pool),
            watcher: Watcher::default(),
        }
    }

    /// The pool's own limits.
    pub(super) fn options(&self) -> Options {
        let config = self.pool.config();
        Options {
            timeout: config.task_timeout,
            retries: config.retries,
            announced: false,
        }
    }

    pub(super) fn apply_async<F, Arguments>(
        self: &Arc<Self>,
        target: F,
        arguments: Arguments,
        options: Options,
    ) -> Result<AsyncResult<F::Output>>
    where
        F: Target<Arguments>,
        F::Output: Serialize + DeserializeOwned + 'static,
        Arguments: Serialize + DeserializeOwned + 'static,
    {
        let task = self.submit(target, &arguments, options)?;
        Ok(AsyncResult::one(
            self.clone(),
            task,
            decode_one,
            options.timeout,
        ))
    }

    /// Submits one call.
    pub(super) fn submit<F, Arguments>(
        &self,
        target: F,
        arguments: &Arguments,
        options: Options,
    ) -> Result<Arc<Task>>
    where
        F: Target<Arguments>,
        F::Output: Serialize + 'static,
        Arguments: Serialize + DeserializeOwned + 'static,
    {
        let mut chunk = Chunk::default();
        chunk.add(arguments)?;
        self.submit_encoded::<F, Arguments>(target, chunk, options)
    }

    /// Submits one task with all of `items`; `None` if there are none.
    pub(super) fn submit_chunk<F, Arguments>(
        &self,
        target: F,
        items: impl Iterator<Item = Arguments>,
        options: Options,
    ) -> Result<Option<Arc<Task>>>
    where
        F: Target<Arguments>,
        F::Output: Serialize + 'static,
        Arguments: Serialize + DeserializeOwned + 'static,
    {
        let mut chunk = Chunk::default();
        for item in items {
            chunk.add(&item)?;
        }
        if chunk.items == 0 {
            return Ok(None);
        }
        self.submit_encoded::<F, Arguments>(target, chunk, options)
            .map(Some)
    }

    /// Submits tasks of `chunk` items, or of sizes that shrink towards the end.
    pub(super) fn map_async<F, I, T>(
        self: &Arc<Self>,
        target: F,
        items: I,
        chunk: Option<usize>,
        options: Options,
        collect: fn(&[Arc<Task>], Option<Duration>) -> Result<T>,
    ) -> Result<AsyncResult<T>>
    where
        I: IntoIterator,
        F: Target<I::Item>,
        F::Output: Serialize + 'static,
        I::Item: Serialize + DeserializeOwned + 'static,
    {
        if chunk == Some(0) {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                "map with chunks of 0 items",
            ));
        }
        // How many are left decides the size of the next chunk.
        let items: Vec<I::Item> = items.into_iter().collect();
        let mut left = items.len();
        let mut items = items.into_iter();
        let mut tasks = Vec::new();
        while left > 0 {
            let size = chunk
                .unwrap_or_else(|| left.div_ceil(self.pool.processes() as usize * 4))
                .min(left);
            let submitted = self.submit_chunk(target, items.by_ref().take(size), options);
            match submitted {
                Ok(task) => tasks.extend(task),
                Err(error) => {
                    for task in tasks {
                        self.pool.cancel(&task);
                    }
                    return Err(error);
                }
            }
            left -= size;
        }
        Ok(AsyncResult::many(
            self.clone(),
            tasks,
            collect,
            options.timeout,
        ))
    }

    fn submit_encoded<F, Arguments>(
        &self,
        target: F,
        chunk: Chunk,
        options: Options,
    ) -> Result<Arc<Task>>
    where
        F: Target<Arguments>,
        F::Output: Serialize + 'static,
        Arguments: DeserializeOwned + 'static,
    {
        let _: F = target;
        let trampoline: TaskTrampoline = run_item::<F, Arguments>;
        let task = self.pool.submit(TaskSpec {
            entry: image::position_of(trampoline as usize)?,
            name: target::name_of::<F>(),
            items: chunk.items,
            payload: &chunk.bytes,
            handles: chunk.handles,
            timeout: options.timeout,
            retries: options.retries,
            announced: options.announced,
        })?;
        Ok(task)
    }

    pub(super) fn watch(self: &Arc<Self>, tasks: Vec<Arc<Task>>, action: Action) -> Result<()> {
        self.watcher.watch(self, tasks, action)
    }
}

/// Encoded items, each behind its length.
#[derive(Default)]
struct Chunk {
    bytes: Vec<u8>,
    handles: Collected,
    items: u32,
}

impl Chunk {
    fn add<A: Serialize + 'static>(&mut self, arguments: &A) -> Result<()> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 8]);
        codec::encode_into(arguments, &mut self.bytes, &mut self.handles)?;
        let length = (self.bytes.len() - start - 8) as u64;
        self.bytes[start..start + 8].copy_from_slice(&length.to_le_bytes());
        self.items += 1;
        Ok(())
    }
}

/// The result of a task of one item.
pub(super) fn decode_one<R: DeserializeOwned + 'static>(
    tasks: &[Arc<Task>],
    limit: Option<Duration>,
) -> Result<R> {
    let mut result = Err(Error::new(
        ErrorKind::Other,
        "get the result of a task: it has none",
    ));
    for task in tasks {
        decode_each(task, limit, |item| result = item.map_err(Into::into));
    }
    result
}

/// Calls `each` with the result of every item of a task, in order.
pub(super) fn decode_each<R: DeserializeOwned + 'static>(
    task: &Arc<Task>,
    limit: Option<Duration>,
    mut each: impl FnMut(Result<R, TaskError>),
) {
    task.take_outcomes(|_, outcome, message| each(outcome::read(task, outcome, message, limit)));
}

/// All results, or the first error.
pub(super) fn decode_all<R: DeserializeOwned + 'static>(
    tasks: &[Arc<Task>],
    limit: Option<Duration>,
) -> Result<Vec<R>> {
    let mut results = Vec::new();
    let mut first_error = None;
    for task in tasks {
        decode_each(task, limit, |item| match item {
            Ok(result) => results.push(result),
            Err(error) => {
                first_error.get_or_insert(error);
            }
        });
    }
    match first_error {
        Some(error) => Err(error.into()),
        None => Ok(results),
    }
}

/// Every item's own result.
#[expect(
    clippy::unnecessary_wraps,
    reason = "it is collected as other results are"
)]
pub(super) fn decode_every<R: DeserializeOwned + 'static>(
    tasks: &[Arc<Task>],
    limit: Option<Duration>,
) -> Result<Vec<Result<R, TaskError>>> {
    let mut results = Vec::new();
    for task in tasks {
        decode_each(task, limit, |item| results.push(item));
    }
    Ok(results)
}
