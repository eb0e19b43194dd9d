//! [`Pool`]: submitting calls to supervised workers.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use procession_core::pool::Statistics;
use procession_core::shm::Wait;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::async_result::AsyncResult;
use super::builder::PoolBuilder;
use super::call::Call;
use super::imap::{IMap, IMapUnordered};
use super::options::Options;
use super::shared::{Shared, decode_all, decode_every};
use crate::error::{Result, TaskError};
use crate::target::Target;

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
            shared: Arc::new(Shared::new(pool)),
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
    /// use std::time::{Duration, Instant};
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

    /// Waits until all workers have ended and callbacks have been called; the
    /// pool was closed or terminated before.
    ///
    /// # Errors
    /// [`ErrorKind::WrongState`](crate::ErrorKind::WrongState) if the pool is still open.
    pub fn join(&self) -> Result<()> {
        self.shared.pool.join(&mut Wait::forever())?;
        self.shared.watcher.settle(None);
        Ok(())
    }

    /// As [`join`](Self::join), for at most `timeout`; false if that was too
    /// short.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub fn join_timeout(&self, timeout: Duration) -> Result<bool> {
        let deadline = Instant::now().checked_add(timeout);
        let joined = self
            .shared
            .pool
            .join(&mut Wait::for_duration(Some(timeout)))?;
        Ok(joined && self.shared.watcher.settle(deadline))
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
        if let Err(error) = self.shared.pool.join(&mut Wait::forever())
            && error.kind() != procession_core::ErrorKind::WrongState
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
