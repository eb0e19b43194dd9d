//! [`ThreadIMap`] and [`ThreadIMapUnordered`]: results as they come, with a bounded number of jobs under way.
//!
//! Jobs are submitted by the consumer itself, as it asks for results: never more than the look-ahead, so an endless iterator needs
//! no more memory than a short one, and an iterator that blocks keeps nobody but its consumer.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

use super::crew::Crew;
use super::job::{Answer, Work};
use super::submit;
use super::target::ThreadTarget;
use crate::error::{Error, Result};

/// How many jobs are under way for each thread, unless the user says
/// otherwise.
const JOBS_PER_THREAD: usize = 4;

/// What became of a job's items.
type Answers<R> = Vec<Answer<R>>;

/// What both iterators share: the source, and what becomes of it.
struct Feed<F, I, R> {
    crew: Arc<Crew>,
    target: Arc<F>,
    items: std::iter::Fuse<I>,
    chunk: usize,
    look_ahead: usize,
    failed: Option<Error>,
    ready: VecDeque<Answer<R>>,
}

/// The results of [`ThreadPool::imap`](super::ThreadPool::imap), in the order
/// of the items.
#[must_use = "tasks are submitted as results are asked for"]
pub struct ThreadIMap<F, I, R> {
    feed: Feed<F, I, R>,
    under_way: VecDeque<UnderWay<R>>,
}

struct UnderWay<R> {
    job: Arc<dyn Work>,
    answers: Receiver<Answers<R>>,
}

/// The results of
/// [`ThreadPool::imap_unordered`](super::ThreadPool::imap_unordered), in the
/// order in which they come.
#[must_use = "tasks are submitted as results are asked for"]
pub struct ThreadIMapUnordered<F, I, R> {
    feed: Feed<F, I, R>,
    /// By number, so that the one that is done can be crossed out.
    under_way: VecDeque<(u64, Arc<dyn Work>)>,
    submitted: u64,
    sender: Sender<(u64, Answers<R>)>,
    receiver: Receiver<(u64, Answers<R>)>,
}

impl<F, I: Iterator, R> Feed<F, I, R> {
    fn new(crew: &Arc<Crew>, target: F, items: I) -> Self {
        Self {
            crew: crew.clone(),
            target: Arc::new(target),
            items: items.fuse(),
            chunk: 1,
            look_ahead: crew.size() * JOBS_PER_THREAD,
            failed: None,
            ready: VecDeque::new(),
        }
    }

    /// Submits the next items; `None` if there are none, or no more can be
    /// submitted.
    fn submit(&mut self, finish: impl FnOnce(Answers<R>) + Send + 'static) -> Option<Arc<dyn Work>>
    where
        F: ThreadTarget<(I::Item,), Output = R>,
        I::Item: Send + 'static,
        R: Send + 'static,
    {
        if self.failed.is_some() {
            return None;
        }
        let items = self.items.by_ref().take(self.chunk);
        let items: Vec<_> = items.map(|item| (item,)).collect();
        if items.is_empty() {
            return None;
        }
        match submit::chunk(&self.crew, &self.target, items, finish) {
            Ok(job) => Some(job),
            Err(error) => {
                self.failed = Some(error);
                None
            }
        }
    }
}

impl<F, I: Iterator, R> ThreadIMap<F, I, R> {
    pub(super) fn new(crew: &Arc<Crew>, target: F, items: I) -> Self {
        Self {
            feed: Feed::new(crew, target, items),
            under_way: VecDeque::new(),
        }
    }
}

impl<F, I: Iterator, R> ThreadIMapUnordered<F, I, R> {
    pub(super) fn new(crew: &Arc<Crew>, target: F, items: I) -> Self {
        let (sender, receiver) = mpsc::channel();
        Self {
            feed: Feed::new(crew, target, items),
            under_way: VecDeque::new(),
            submitted: 0,
            sender,
            receiver,
        }
    }
}

impl<F, I, T> Iterator for ThreadIMap<F, I, F::Output>
where
    I: Iterator<Item = T>,
    F: ThreadTarget<(T,)>,
    F::Output: Send + 'static,
    T: Send + 'static,
{
    type Item = Result<F::Output>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(answer) = self.feed.ready.pop_front() {
                return Some(answer.map_err(Into::into));
            }
            while self.under_way.len() < self.feed.look_ahead {
                let (sender, answers) = mpsc::sync_channel(1);
                let finish = move |answers| {
                    // An iterator that was dropped does not want it.
                    let _ = sender.send(answers);
                };
                let Some(job) = self.feed.submit(finish) else {
                    break;
                };
                self.under_way.push_back(UnderWay { job, answers });
            }
            let Some(UnderWay { answers, .. }) = self.under_way.pop_front() else {
                return self.feed.failed.take().map(Err);
            };
            // Every job is finished by the thread that runs it or by whoever withdraws it.
            self.feed.ready.extend(answers.recv().into_iter().flatten());
        }
    }
}

impl<F, I, T> Iterator for ThreadIMapUnordered<F, I, F::Output>
where
    I: Iterator<Item = T>,
    F: ThreadTarget<(T,)>,
    F::Output: Send + 'static,
    T: Send + 'static,
{
    type Item = Result<F::Output>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(answer) = self.feed.ready.pop_front() {
                return Some(answer.map_err(Into::into));
            }
            while self.under_way.len() < self.feed.look_ahead {
                let (number, sender) = (self.submitted, self.sender.clone());
                let finish = move |answers| {
                    // An iterator that was dropped does not want it.
                    let _ = sender.send((number, answers));
                };
                let Some(job) = self.feed.submit(finish) else {
                    break;
                };
                self.under_way.push_back((number, job));
                self.submitted += 1;
            }
            if self.under_way.is_empty() {
                return self.feed.failed.take().map(Err);
            }
            // This end holds a sender too, so there is always an answer to wait for.
            let (done, answers) = self.receiver.recv().ok()?;
            self.under_way.retain(|(number, _)| *number != done);
            self.feed.ready.extend(answers);
        }
    }
}

impl<F, I, R> Drop for ThreadIMap<F, I, R> {
    fn drop(&mut self) {
        for under_way in &self.under_way {
            under_way.job.cancel();
        }
    }
}

impl<F, I, R> Drop for ThreadIMapUnordered<F, I, R> {
    fn drop(&mut self) {
        for (_, job) in &self.under_way {
            job.cancel();
        }
    }
}

macro_rules! both {
    ($name:ident) => {
        impl<F, I, R> $name<F, I, R> {
            /// How many items make a task; the default is 1.
            pub fn chunk_size(mut self, items: usize) -> Self {
                self.feed.chunk = items.max(1);
                self
            }

            /// How many tasks may be under way at a time; the default is four
            /// for each thread.
            pub fn look_ahead(mut self, tasks: usize) -> Self {
                self.feed.look_ahead = tasks.max(1);
                self
            }
        }

        impl<F, I, R> fmt::Debug for $name<F, I, R> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name))
                    .field("under_way", &self.under_way.len())
                    .finish_non_exhaustive()
            }
        }
    };
}

both!(ThreadIMap);
both!(ThreadIMapUnordered);
