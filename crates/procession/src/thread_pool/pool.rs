//! [`ThreadPool`]: the interface of [`Pool`](crate::Pool) on threads of this process.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::builder::ThreadPoolBuilder;
use super::call::ThreadCall;
use super::crew::Crew;
use super::imap::{ThreadIMap, ThreadIMapUnordered};
use super::result::ThreadResult;
use super::submit;
use super::target::ThreadTarget;
use crate::error::{Result, TaskError};
use crate::pool::Statistics;

/// A pool of threads that run calls, with the interface of a
/// [`Pool`](crate::Pool).
///
/// Nothing is serialised: targets may be closures that capture state, and
/// arguments and results any `Send` values. A call that panics fails with
/// [`TaskError::Panicked`], and its thread lives on. (The first pool installs
/// a panic hook in front of the program's own, so that such panics are not
/// printed as well.)
///
/// A thread cannot be stopped from outside, so this pool has no timeouts for
/// tasks, no memory limit and no retries; cancelling and terminating reach
/// what no thread has begun with, and let go of what runs. For that, and for
/// crashes to be survived, take a [`Pool`](crate::Pool).
///
/// A task that waits for another task of the same pool waits for ever if all
/// threads do so.
///
/// Dropping the pool terminates it, without waiting for calls that threads
/// are in the middle of; [`close`](Self::close) and [`join`](Self::join) let
/// it finish first.
///
/// ```
/// use procession::ThreadPool;
///
/// let pool = ThreadPool::new()?;
/// let greeting = String::from("hello");
/// let greet = move |name: &str| format!("{greeting}, {name}");
/// assert_eq!(pool.map(greet, ["Ann", "Bob"])?, ["hello, Ann", "hello, Bob"]);
///
/// let answer = pool.apply_async(|a: u64, b: u64| a * b, (6, 7))?;
/// assert_eq!(answer.get()?, 42);
/// # Ok::<(), procession::Error>(())
/// ```
pub struct ThreadPool {
    crew: Arc<Crew>,
}

impl ThreadPool {
    /// A pool with one thread for each usable processor.
    ///
    /// # Errors
    /// As [`ThreadPoolBuilder::build`].
    pub fn new() -> Result<Self> {
        Self::builder().build()
    }

    /// The settings of a pool to be made.
    pub fn builder() -> ThreadPoolBuilder {
        ThreadPoolBuilder::default()
    }

    pub(super) const fn of(crew: Arc<Crew>) -> Self {
        Self { crew }
    }

    /// Calls `target` with `arguments` (a tuple) on a thread, and waits for
    /// the result.
    ///
    /// # Errors
    /// As [`apply_async`](Self::apply_async) and [`ThreadResult::get`].
    pub fn apply<F, Arguments>(&self, target: F, arguments: Arguments) -> Result<F::Output>
    where
        F: ThreadTarget<Arguments>,
        F::Output: Send + 'static,
        Arguments: Send + 'static,
    {
        self.apply_async(target, arguments)?.get()
    }

    /// Has a thread call `target` with `arguments` (a tuple); never blocks.
    ///
    /// # Errors
    /// The pool is closed, terminated or broken.
    pub fn apply_async<F, Arguments>(
        &self,
        target: F,
        arguments: Arguments,
    ) -> Result<ThreadResult<F::Output>>
    where
        F: ThreadTarget<Arguments>,
        F::Output: Send + 'static,
        Arguments: Send + 'static,
    {
        submit::call(&self.crew, target, arguments, |_| {})
    }

    /// A call with callbacks.
    ///
    /// ```
    /// use std::sync::mpsc;
    ///
    /// let pool = procession::ThreadPool::new()?;
    /// let (sender, receiver) = mpsc::channel();
    /// let call = pool.call(|n: u32| n * n, (12,));
    /// let result = call.callback(move |square| sender.send(*square).unwrap()).submit()?;
    /// assert_eq!((result.get()?, receiver.recv().unwrap()), (144, 144));
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn call<F, Arguments>(
        &self,
        target: F,
        arguments: Arguments,
    ) -> ThreadCall<'_, F, Arguments>
    where
        F: ThreadTarget<Arguments>,
        F::Output: Send + 'static,
        Arguments: Send + 'static,
    {
        ThreadCall::new(&self.crew, target, arguments)
    }

    /// Calls `target` with each item, and waits for all results, in order.
    ///
    /// # Errors
    /// The first failed item's; the others are run all the same. See
    /// [`try_map`](Self::try_map) for a result per item. Otherwise as
    /// [`apply_async`](Self::apply_async).
    pub fn map<F, I>(&self, target: F, items: I) -> Result<Vec<F::Output>>
    where
        I: IntoIterator,
        F: ThreadTarget<(I::Item,)>,
        F::Output: Send + 'static,
        I::Item: Send + 'static,
    {
        self.map_async(target, items)?.get()
    }

    /// As [`map`](Self::map), with `chunk` items to a task.
    ///
    /// # Errors
    /// As [`map`](Self::map); `chunk` is 0.
    pub fn map_chunked<F, I>(&self, target: F, items: I, chunk: usize) -> Result<Vec<F::Output>>
    where
        I: IntoIterator,
        F: ThreadTarget<(I::Item,)>,
        F::Output: Send + 'static,
        I::Item: Send + 'static,
    {
        let items = singly(items);
        submit::map(&self.crew, target, items, Some(chunk), submit::all)?.get()
    }

    /// As [`map`](Self::map), without waiting.
    ///
    /// # Errors
    /// As [`apply_async`](Self::apply_async).
    pub fn map_async<F, I>(&self, target: F, items: I) -> Result<ThreadResult<Vec<F::Output>>>
    where
        I: IntoIterator,
        F: ThreadTarget<(I::Item,)>,
        F::Output: Send + 'static,
        I::Item: Send + 'static,
    {
        submit::map(&self.crew, target, singly(items), None, submit::all)
    }

    /// As [`map`](Self::map), with a result for each item.
    ///
    /// # Errors
    /// As [`apply_async`](Self::apply_async); failed items are in the result.
    pub fn try_map<F, I>(&self, target: F, items: I) -> Result<Vec<Result<F::Output, TaskError>>>
    where
        I: IntoIterator,
        F: ThreadTarget<(I::Item,)>,
        F::Output: Send + 'static,
        I::Item: Send + 'static,
    {
        submit::map(&self.crew, target, singly(items), None, submit::every)?.get()
    }

    /// As [`map`](Self::map); each item is the tuple of a call's arguments.
    ///
    /// # Errors
    /// As [`map`](Self::map).
    pub fn starmap<F, I>(&self, target: F, items: I) -> Result<Vec<F::Output>>
    where
        I: IntoIterator,
        F: ThreadTarget<I::Item>,
        F::Output: Send + 'static,
        I::Item: Send + 'static,
    {
        self.starmap_async(target, items)?.get()
    }

    /// As [`starmap`](Self::starmap), without waiting.
    ///
    /// # Errors
    /// As [`apply_async`](Self::apply_async).
    pub fn starmap_async<F, I>(&self, target: F, items: I) -> Result<ThreadResult<Vec<F::Output>>>
    where
        I: IntoIterator,
        F: ThreadTarget<I::Item>,
        F::Output: Send + 'static,
        I::Item: Send + 'static,
    {
        let items = items.into_iter().collect();
        submit::map(&self.crew, target, items, None, submit::all)
    }

    /// As [`starmap`](Self::starmap), with `chunk` items to a task.
    ///
    /// # Errors
    /// As [`map_chunked`](Self::map_chunked).
    pub fn starmap_chunked<F, I>(&self, target: F, items: I, chunk: usize) -> Result<Vec<F::Output>>
    where
        I: IntoIterator,
        F: ThreadTarget<I::Item>,
        F::Output: Send + 'static,
        I::Item: Send + 'static,
    {
        let items = items.into_iter().collect();
        submit::map(&self.crew, target, items, Some(chunk), submit::all)?.get()
    }

    /// The results of calling `target` with each item, in order, as they come.
    ///
    /// Only so many tasks are under way at a time
    /// ([`look_ahead`](ThreadIMap::look_ahead)), so the iterator may be
    /// endless. An item that fails is an `Err`, and the others go on. Dropping
    /// the result cancels what no thread has begun with.
    ///
    /// ```
    /// let pool = procession::ThreadPool::new()?;
    /// let squares = pool.imap(|n: u64| n * n, 0..).take(4);
    /// assert_eq!(squares.collect::<procession::Result<Vec<_>>>()?, [0, 1, 4, 9]);
    /// # Ok::<(), procession::Error>(())
    /// ```
    pub fn imap<F, I>(&self, target: F, items: I) -> ThreadIMap<F, I::IntoIter, F::Output>
    where
        I: IntoIterator,
        F: ThreadTarget<(I::Item,)>,
        F::Output: Send + 'static,
        I::Item: Send + 'static,
    {
        ThreadIMap::new(&self.crew, target, items.into_iter())
    }

    /// As [`imap`](Self::imap), in the order in which results come.
    pub fn imap_unordered<F, I>(
        &self,
        target: F,
        items: I,
    ) -> ThreadIMapUnordered<F, I::IntoIter, F::Output>
    where
        I: IntoIterator,
        F: ThreadTarget<(I::Item,)>,
        F::Output: Send + 'static,
        I::Item: Send + 'static,
    {
        ThreadIMapUnordered::new(&self.crew, target, items.into_iter())
    }

    /// Takes no more calls; threads end when those submitted are done.
    pub fn close(&self) {
        self.crew.close();
    }

    /// Waits until all threads have ended; the pool was closed or terminated
    /// before.
    ///
    /// # Errors
    /// [`ErrorKind::WrongState`](crate::ErrorKind::WrongState) if the pool is
    /// still open, or this is one of its own threads.
    pub fn join(&self) -> Result<()> {
        self.crew.join(None).map(|_| ())
    }

    /// As [`join`](Self::join), for at most `timeout`; false if that was too
    /// short.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub fn join_timeout(&self, timeout: Duration) -> Result<bool> {
        self.crew.join(Instant::now().checked_add(timeout))
    }

    /// Lets go of everything: calls that are not done fail with
    /// [`TaskError::Terminated`], and everyone who waits for one is woken. A
    /// thread that is in the middle of a call ends after it.
    pub fn terminate(&self) {
        self.crew.terminate();
    }

    /// How the pool is doing. Threads are not lost and calls are not retried,
    /// so those counts are 0.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        self.crew.statistics()
    }

    /// How many threads the pool was made with.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.crew.size()
    }
}

impl Drop for ThreadPool {
    fn drop(&mut self) {
        // Results may outlive the pool; what they wait for fails now.
        self.terminate();
    }
}

impl fmt::Debug for ThreadPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThreadPool")
            .field("threads", &self.threads())
            .finish_non_exhaustive()
    }
}

/// Each item as the only argument of its call.
fn singly<I: IntoIterator>(items: I) -> Vec<(I::Item,)> {
    items.into_iter().map(|item| (item,)).collect()
}
