//! [`Pool`]: submitting calls to supervised workers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use procession_core::pool::{Statistics, Task, TaskSpec};
use procession_core::process::image;
use procession_core::shm::Wait;
use procession_core::shm::handles::Collected;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::async_result::AsyncResult;
use super::builder::PoolBuilder;
use super::call::Call;
use super::imap::{IMap, IMapUnordered};
use super::options::Options;
use super::outcome;
use super::watcher::{Action, Watcher};
use super::worker::{TaskTrampoline, run_item};
use crate::codec;
use crate::error::{Error, ErrorKind, Result, TaskError};
use crate::target::{self, Target};

/// A pool of worker processes that run calls.
///
/// Workers are supervised: when one dies, only the call that it was running
/// fails, with [`TaskError::WorkerLost`], and a new worker takes its place. A
/// call that panics fails with [`TaskError::Panicked`], and its worker lives
/// on. Dropping the pool terminates it; [`close`](Self::close) and
/// [`join`](Self::join) let it finish first.
///
/// ```
/// # procession::init();
/// use procession::Pool;
///
/// fn square(n: u64) -> u64 {
///     n * n
/// }
///
/// let pool = Pool::new()?;
/// assert_eq!(pool.map(square, 0..5)?, [0, 1, 4, 9, 16]);
/// assert_eq!(pool.apply(|a: u64, b: u64| a + b, (3, 4))?, 7);
///
/// let answer = pool.apply_async(square, (6,))?;
/// assert_eq!(answer.get()?, 36);
/// # Ok::<(), procession::Error>(())
/// ```
pub struct Pool {
    shared: Arc<Shared>,
}

/// What a pool and its results share.
pub(super) struct Shared {
    pub(super) pool: Arc<procession_core::pool::Pool>,
    pub(super) watcher: Watcher,
}

impl Pool {
    /// A pool with one worker for each usable processor.
    ///
    /// # Errors
    /// As [`PoolBuilder::build`].
    pub fn new() -> Result<Self> {
        Self::builder().build()
    }

    /// The settings of a pool to be made.
    pub fn builder() -> PoolBuilder {
        PoolBuilder::default()
    }

    pub(super) fn of(pool: procession_core::pool::Pool) -> Self {
        Self {
            shared: Arc::new(Shared {
                pool: Arc::new(pool),
                watcher: Watcher::default(),
            }),
        }
    }

    /// Calls `target` with `arguments` (a tuple) in a worker, and waits for
    /// the result.
    ///
    /// # Errors
    /// As [`apply_async`](Self::apply_async) and [`AsyncResult::get`].
    pub fn apply<F, Arguments>(&self, target: F, arguments: Arguments) -> Result<F::Output>
    where
        F: Target<Arguments>,
        F::Output: Serialize + DeserializeOwned + 'static,
        Arguments: Serialize + DeserializeOwned + 'static,
    {
        self.apply_async(target, arguments)?.get()
    }

    /// Has a worker call `target` with `arguments` (a tuple); never blocks.
    ///
    /// # Errors
    /// The arguments cannot be encoded; the pool is closed, terminated or
    /// broken; shared memory is used up.
    pub fn apply_async<F, Arguments>(
        &self,
        target: F,
        arguments: Arguments,
    ) -> Result<AsyncResult<F::Output>>
    where
        F: Target<Arguments>,
        F::Output: Serialize + DeserializeOwned + 'static,
        Arguments: Serialize + DeserializeOwned + 'static,
    {
        self.shared.apply_async(target, arguments, self.options())
    }

    /// A call with a timeout, retries or callbacks of its own.
    ///
    /// ```
    /// # procession::init();
    /// use std::time::Duration;
    ///
    /// let pool = procession::Pool::builder().processes(1).build()?;
    /// let stuck = || -> u8 { loop { std::thread::yield_now() } };
    /// let error = pool.call(stuck, ()).timeout(Duration::from_millis(50)).submit()?.get().unwrap_err();
    /// assert!(matches!(error.task(), Some(procession::TaskError::TimedOut { .. })));
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn call<F, Arguments>(&self, target: F, arguments: Arguments) -> Call<'_, F, Arguments>
    where
        F: Target<Arguments>,
        F::Output: Serialize + DeserializeOwned + Send + 'static,
        Arguments: Serialize + DeserializeOwned + 'static,
    {
        Call::new(&self.shared, target, arguments, self.options())
    }

    /// Calls `target` with each item, and waits for all results, in order.
    ///
    /// Items travel in chunks that get smaller towards the end. For tasks that
    /// take microseconds a plain loop is faster than any pool.
    ///
    /// # Errors
    /// The first failed item's; the others are run all the same. See
    /// [`try_map`](Self::try_map) for a result per item. Otherwise as
    /// [`apply_async`](Self::apply_async).
    pub fn map<F, I>(&self, target: F, items: I) -> Result<Vec<F::Output>>
    where
        I: IntoIterator,
        F: Target<(I::Item,)>,
        F::Output: Serialize + DeserializeOwned + 'static,
        I::Item: Serialize + DeserializeOwned + 'static,
    {
        self.map_async(target, items)?.get()
    }

    /// As [`map`](Self::map), with `chunk` items to a task.
    ///
    /// # Errors
    /// As [`map`](Self::map).
    pub fn map_chunked<F, I>(&self, target: F, items: I, chunk: usize) -> Result<Vec<F::Output>>
    where
        I: IntoIterator,
        F: Target<(I::Item,)>,
        F::Output: Serialize + DeserializeOwned + 'static,
        I::Item: Serialize + DeserializeOwned + 'static,
    {
        let items = items.into_iter().map(|item| (item,));
        self.shared
            .map_async(target, items, Some(chunk), self.options(), decode_all)?
            .get()
    }

    /// As [`map`](Self::map), without waiting.
    ///
    /// # Errors
    /// As [`apply_async`](Self::apply_async).
    pub fn map_async<F, I>(&self, target: F, items: I) -> Result<AsyncResult<Vec<F::Output>>>
    where
        I: IntoIterator,
        F: Target<(I::Item,)>,
        F::Output: Serialize + DeserializeOwned + 'static,
        I::Item: Serialize + DeserializeOwned + 'static,
    {
        let items = items.into_iter().map(|item| (item,));
        self.shared
            .map_async(target, items, None, self.options(), decode_all)
    }

    /// As [`map`](Self::map), with a result for each item.
    ///
    /// # Errors
    /// As [`apply_async`](Self::apply_async); failed items are in the result.
    pub fn try_map<F, I>(&self, target: F, items: I) -> Result<Vec<Result<F::Output, TaskError>>>
    where
        I: IntoIterator,
        F: Target<(I::Item,)>,
        F::Output: Serialize + DeserializeOwned + 'static,
        I::Item: Serialize + DeserializeOwned + 'static,
    {
        let items = items.into_iter().map(|item| (item,));
        self.shared
            .map_async(target, items, None, self.options(), decode_every)?
            .get()
    }

    /// As [`map`](Self::map); each item is the tuple of a call's arguments.
    ///
    /// # Errors
    /// As [`map`](Self::map).
    pub fn starmap<F, I>(&self, target: F, items: I) -> Result<Vec<F::Output>>
    where
        I: IntoIterator,
        F: Target<I::Item>,
        F::Output: Serialize + DeserializeOwned + 'static,
        I::Item: Serialize + DeserializeOwned + 'static,
    {
        self.starmap_async(target, items)?.get()
    }

    /// As [`starmap`](Self::starmap), without waiting.
    ///
    /// # Errors
    /// As [`apply_async`](Self::apply_async).
    pub fn starmap_async<F, I>(&self, target: F, items: I) -> Result<AsyncResult<Vec<F::Output>>>
    where
        I: IntoIterator,
        F: Target<I::Item>,
        F::Output: Serialize + DeserializeOwned + 'static,
        I::Item: Serialize + DeserializeOwned + 'static,
    {
        self.shared
            .map_async(target, items, None, self.options(), decode_all)
    }

    /// As [`starmap`](Self::starmap), with `chunk` items to a task.
    ///
    /// # Errors
    /// As [`map`](Self::map).
    pub fn starmap_chunked<F, I>(&self, target: F, items: I, chunk: usize) -> Result<Vec<F::Output>>
    where
        I: IntoIterator,
        F: Target<I::Item>,
        F::Output: Serialize + DeserializeOwned + 'static,
        I::Item: Serialize + DeserializeOwned + 'static,
    {
        self.shared
            .map_async(target, items, Some(chunk), self.options(), decode_all)?
            .get()
    }

    /// The results of calling `target` with each item, in order, as they come.
    ///
    /// Only so many tasks are under way at a time
    /// ([`look_ahead`](IMap::look_ahead)), so the iterator may be endless. An
    /// item that fails is an `Err`, and the others go on. Dropping the result
    /// cancels what is under way.
    ///
    /// ```
    /// # procession::init();
    /// let pool = procession::Pool::builder().processes(2).build()?;
    /// let squares = pool.imap(|n: u64| n * n, 0..).take(4);
    /// assert_eq!(squares.collect::<procession::Result<Vec<_>>>()?, [0, 1, 4, 9]);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn imap<F, I>(&self, target: F, items: I) -> IMap<F, I::IntoIter, F::Output>
    where
        I: IntoIterator,
        F: Target<(I::Item,)>,
        F::Output: Serialize + DeserializeOwned + 'static,
        I::Item: Serialize + DeserializeOwned + 'static,
    {
        IMap::new(&self.shared, target, items.into_iter(), self.options())
    }

    /// As [`imap`](Self::imap), in the order in which results come.
    pub fn imap_unordered<F, I>(
        &self,
        target: F,
        items: I,
    ) -> IMapUnordered<F, I::IntoIter, F::Output>
    where
        I: IntoIterator,
        F: Target<(I::Item,)>,
        F::Output: Serialize + DeserializeOwned + 'static,
        I::Item: Serialize + DeserializeOwned + 'static,
    {
        let options = Options {
            announced: true,
            ..self.options()
        };
        IMapUnordered::new(&self.shared, target, items.into_iter(), options)
    }

    /// Takes no more calls; workers end when those submitted are done.
    pub fn close(&self) {
        self.shared.pool.close();
    }

    /// Waits until all workers have ended; the pool was closed or terminated
    /// before.
    ///
    /// # Errors
    /// [`ErrorKind::WrongState`] if the pool is still open.
    pub fn join(&self) -> Result<()> {
        self.shared.pool.join(&mut Wait::forever())?;
        Ok(())
    }

    /// As [`join`](Self::join), for at most `timeout`; false if that was too
    /// short.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub fn join_timeout(&self, timeout: Duration) -> Result<bool> {
        Ok(self
            .shared
            .pool
            .join(&mut Wait::for_duration(Some(timeout)))?)
    }

    /// Kills the workers. Calls that are not done fail with
    /// [`TaskError::Terminated`], and everyone who waits for one is woken.
    pub fn terminate(&self) {
        self.shared.pool.terminate();
    }

    /// How the pool is doing.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.shared.pool.statistics()
    }

    /// How many workers the pool keeps.
    #[must_use]
    pub fn processes(&self) -> usize {
        self.shared.pool.processes() as usize
    }

    /// The process ids of the workers that are alive.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        self.shared.pool.pids()
    }

    fn options(&self) -> Options {
        self.shared.options()
    }
}

#[cfg(feature = "progress")]
impl Pool {
    /// As [`map`](Self::map), moving `bar` on as items are done.
    ///
    /// ([`imap`](Self::imap) is an iterator, which indicatif can wrap by
    /// itself.)
    ///
    /// # Errors
    /// As [`map`](Self::map).
    pub fn map_with_progress<F, I>(
        &self,
        target: F,
        items: I,
        bar: &indicatif::ProgressBar,
    ) -> Result<Vec<F::Output>>
    where
        I: IntoIterator,
        F: Target<(I::Item,)>,
        F::Output: Serialize + DeserializeOwned + 'static,
        I::Item: Serialize + DeserializeOwned + 'static,
    {
        let result = self.map_async(target, items)?;
        let total: u64 = result
            .tasks()
            .iter()
            .map(|task| u64::from(task.items()))
            .sum();
        bar.set_length(total);
        for task in result.tasks() {
            task.wait(&mut Wait::forever())?;
            bar.inc(u64::from(task.items()));
        }
        result.get()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Results may outlive the pool; what they wait for fails now.
        self.shared.pool.terminate();
        if let Err(error) = self.join()
            && error.kind() != ErrorKind::WrongState
        {
            tracing::error!(%error, "a pool could not be joined");
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("processes", &self.processes())
            .finish_non_exhaustive()
    }
}

impl Shared {
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

    fn map_async<F, I, T>(
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
fn decode_all<R: DeserializeOwned + 'static>(
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
fn decode_every<R: DeserializeOwned + 'static>(
    tasks: &[Arc<Task>],
    limit: Option<Duration>,
) -> Result<Vec<Result<R, TaskError>>> {
    let mut results = Vec::new();
    for task in tasks {
        decode_each(task, limit, |item| results.push(item));
    }
    Ok(results)
}
