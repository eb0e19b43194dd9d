//! [`IMap`] and [`IMapUnordered`]: results as they come, with a bounded number of tasks under way.
//!
//! Tasks are submitted by the consumer itself, as it asks for results: never more than the look-ahead, so an endless iterator needs no
//! more memory than a short one, and an iterator that blocks keeps nobody but its consumer.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use procession_core::pool::Task;
use procession_core::shm::Wait;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::options::Options;
use super::shared::{Shared, decode_each};
use crate::error::{Error, Result};
use crate::target::Target;

/// How many chunks are under way for each worker, unless the user says
/// otherwise.
const CHUNKS_PER_WORKER: usize = 4;

/// What both iterators share: the source, and the tasks under way.
struct Feed<F, I> {
    shared: Arc<Shared>,
    target: F,
    items: std::iter::Fuse<I>,
    chunk: usize,
    look_ahead: usize,
    options: Options,
    under_way: VecDeque<Arc<Task>>,
    failed: Option<Error>,
}

/// The results of [`Pool::imap`](super::Pool::imap), in the order of the
/// items.
#[must_use = "tasks are submitted as results are asked for"]
pub struct IMap<F, I, R> {
    feed: Feed<F, I>,
    ready: VecDeque<Result<R>>,
}

/// The results of [`Pool::imap_unordered`](super::Pool::imap_unordered), in
/// the order in which they come.
#[must_use = "tasks are submitted as results are asked for"]
pub struct IMapUnordered<F, I, R> {
    feed: Feed<F, I>,
    ready: VecDeque<Result<R>>,
}

macro_rules! both {
    ($name:ident) => {
        impl<F, I: Iterator, R> $name<F, I, R> {
            pub(super) fn new(shared: &Arc<Shared>, target: F, items: I, options: Options) -> Self {
                let look_ahead = shared.pool.processes() as usize * CHUNKS_PER_WORKER;
                Self {
                    feed: Feed {
                        shared: shared.clone(),
                        target,
                        items: items.fuse(),
                        chunk: 1,
                        look_ahead,
                        options,
                        under_way: VecDeque::new(),
                        failed: None,
                    },
                    ready: VecDeque::new(),
                }
            }

            /// How many items make a task; the default is 1.
            pub fn chunk_size(mut self, items: usize) -> Self {
                self.feed.chunk = items.max(1);
                self
            }

            /// How many tasks may be under way at a time; the default is four
            /// for each worker.
            pub fn look_ahead(mut self, tasks: usize) -> Self {
                self.feed.look_ahead = tasks.max(1);
                self
            }
        }

        impl<F, I, R> fmt::Debug for $name<F, I, R> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name))
                    .field("under_way", &self.feed.under_way.len())
                    .finish_non_exhaustive()
            }
        }
    };
}

both!(IMap);
both!(IMapUnordered);

impl<F, I, T> Feed<F, I>
where
    I: Iterator<Item = T>,
    F: Target<(T,)>,
    F::Output: Serialize + DeserializeOwned + 'static,
    T: Serialize + DeserializeOwned + 'static,
{
    /// Submits tasks up to the look-ahead.
    fn top_up(&mut self) {
        while self.failed.is_none() && self.under_way.len() < self.look_ahead {
            let items = self.items.by_ref().take(self.chunk).map(|item| (item,));
            match self.shared.submit_chunk(self.target, items, self.options) {
                Ok(Some(task)) => self.under_way.push_back(task),
                Ok(None) => return,
                Err(error) => self.failed = Some(error),
            }
        }
    }
}

impl<F, I> Feed<F, I> {
    fn decode<R: DeserializeOwned + 'static>(
        &self,
        task: &Arc<Task>,
        ready: &mut VecDeque<Result<R>>,
    ) {
        decode_each(task, self.options.timeout, |result: Result<R, _>| {
            ready.push_back(result.map_err(Into::into))
        });
        self.shared.pool.release(task);
    }
}

impl<F, I> Drop for Feed<F, I> {
    fn drop(&mut self) {
        // Nobody will ask for these any more.
        for task in &self.under_way {
            self.shared.pool.cancel(task);
        }
    }
}

impl<F, I, T> Iterator for IMap<F, I, F::Output>
where
    I: Iterator<Item = T>,
    F: Target<(T,)>,
    F::Output: Serialize + DeserializeOwned + 'static,
    T: Serialize + DeserializeOwned + 'static,
{
    type Item = Result<F::Output>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(result) = self.ready.pop_front() {
                return Some(result);
            }
            self.feed.top_up();
            let Some(task) = self.feed.under_way.pop_front() else {
                return self.feed.failed.take().map(Err);
            };
            if let Err(error) = task.wait(&mut Wait::forever().for_answer()) {
                self.feed.under_way.push_front(task);
                return Some(Err(error.into()));
            }
            self.feed.decode(&task, &mut self.ready);
        }
    }
}

impl<F, I, T> Iterator for IMapUnordered<F, I, F::Output>
where
    I: Iterator<Item = T>,
    F: Target<(T,)>,
    F::Output: Serialize + DeserializeOwned + 'static,
    T: Serialize + DeserializeOwned + 'static,
{
    type Item = Result<F::Output>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(result) = self.ready.pop_front() {
                return Some(result);
            }
            self.feed.top_up();
            if self.feed.under_way.is_empty() {
                return self.feed.failed.take().map(Err);
            }
            let mut over = None;
            let under_way = &self.feed.under_way;
            let look = || {
                over = under_way.iter().position(|task| task.is_over());
                over.is_some()
            };
            let waited = self
                .feed
                .shared
                .pool
                .wait_any(&mut Wait::forever().for_answer(), look);
            if let Err(error) = waited {
                return Some(Err(error.into()));
            }
            if let Some(task) = over.and_then(|index| self.feed.under_way.remove(index)) {
                self.feed.decode(&task, &mut self.ready);
            }
        }
    }
}
