//! One task of a thread pool: calls to be made by one thread, and the place where their answers are gathered.
//!
//! A submission has one [`Gather`] and one [`Job`] for each chunk of its items. Each item's place in the gather is filled once: by
//! the thread that made the call, or by whoever withdraws the job. Whoever fills the last place finishes the submission. No lock is
//! held while user code runs or a user's value is dropped.

use std::mem;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::TaskError;
use crate::panics::{self, Panic};

/// What became of one item.
pub(super) type Answer<R> = Result<R, TaskError>;

/// Makes a job's calls in turn and hands out their answers, for as long as
/// somebody wants them.
pub(super) type Calls<R> = Box<dyn FnOnce(&mut dyn FnMut(Result<R, Panic>) -> bool) + Send>;

type Finish<R> = Box<dyn FnOnce(Vec<Answer<R>>) + Send>;

/// A job, to those who do not know what its calls return.
pub(super) trait Work: Send + Sync {
    /// Makes the calls, unless they were withdrawn.
    fn run(&self) -> Counts;

    /// Withdraws calls that have not begun; true if that is so.
    fn cancel(&self) -> bool;

    /// Fails everything that has no answer yet. A call that a thread is in
    /// the middle of goes on, and its result is dropped.
    fn abandon(&self, reason: &Reason);

    /// Whether no thread has begun with it, and it was not withdrawn.
    fn is_waiting(&self) -> bool;
}

/// Why something is never answered.
#[derive(Clone, Debug)]
pub(super) enum Reason {
    Cancelled,
    Terminated,
    Broken(String),
}

impl Reason {
    fn error(&self, task: &str) -> TaskError {
        let task = task.to_owned();
        match self {
            Self::Cancelled => TaskError::Cancelled { task },
            Self::Terminated => TaskError::Terminated { task },
            Self::Broken(reason) => TaskError::BrokenPool {
                reason: reason.clone(),
            },
        }
    }
}

/// What a run did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) items: u64,
    pub(super) failed: u64,
}

/// The answers of one submission.
pub(super) struct Gather<R> {
    state: Mutex<Gathered<R>>,
}

struct Gathered<R> {
    answers: Vec<Option<Answer<R>>>,
    missing: usize,
    finish: Option<Finish<R>>,
}

impl<R> Gather<R> {
    /// A place for `items` answers, at least one; `finish` must not unwind.
    pub(super) fn new(
        items: usize,
        finish: impl FnOnce(Vec<Answer<R>>) + Send + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(Gathered {
                answers: (0..items).map(|_| None).collect(),
                missing: items,
                finish: Some(Box::new(finish)),
            }),
        })
    }

    /// Fills a place; false if it was filled before.
    fn put(&self, index: usize, answer: Answer<R>) -> bool {
        let mut state = lock(&self.state);
        if !matches!(state.answers.get(index), Some(None)) {
            drop(state);
            return false;
        }
        state.answers[index] = Some(answer);
        state.missing -= 1;
        if state.missing == 0
            && let Some(finish) = state.finish.take()
        {
            let answers = mem::take(&mut state.answers);
            drop(state);
            finish(answers.into_iter().flatten().collect());
        }
        true
    }
}

/// Some calls of a submission, for one thread.
pub(super) struct Job<R> {
    task: &'static str,
    gather: Arc<Gather<R>>,
    places: Range<usize>,
    /// Taken by the thread that makes the calls, or by whoever withdraws
    /// them.
    calls: Mutex<Option<Calls<R>>>,
}

impl<R> Job<R> {
    pub(super) fn new(
        task: &'static str,
        gather: Arc<Gather<R>>,
        places: Range<usize>,
        calls: Calls<R>,
    ) -> Self {
        Self {
            task,
            gather,
            places,
            calls: Mutex::new(Some(calls)),
        }
    }

    fn take_calls(&self) -> Option<Calls<R>> {
        lock(&self.calls).take()
    }

    fn fill_all(&self, error: &TaskError) {
        for index in self.places.clone() {
            self.gather.put(index, Err(error.clone()));
        }
    }

    fn panicked(&self, panic: Panic) -> TaskError {
        TaskError::Panicked {
            task: self.task.to_owned(),
            message: panic.message,
            location: panic.location,
            backtrace: panic.backtrace,
        }
    }
}

impl<R: Send> Work for Job<R> {
    fn run(&self) -> Counts {
        let mut counts = Counts::default();
        let Some(calls) = self.take_calls() else {
            return counts;
        };
        let mut places = self.places.clone();
        let mut take = |answer: Result<R, Panic>| {
            counts.items += 1;
            counts.failed += u64::from(answer.is_err());
            let answer = answer.map_err(|panic| self.panicked(panic));
            places
                .next()
                .is_some_and(|index| self.gather.put(index, answer))
        };
        // The calls are caught one by one; this is for arguments and results that panic when they are dropped.
        if let Err(panic) = panics::catch(|| calls(&mut take)) {
            self.fill_all(&self.panicked(panic));
        }
        counts
    }

    fn cancel(&self) -> bool {
        let calls = self.take_calls();
        if calls.is_some() {
            self.fill_all(&Reason::Cancelled.error(self.task));
        }
        calls.is_some()
    }

    fn abandon(&self, reason: &Reason) {
        drop(self.take_calls());
        self.fill_all(&reason.error(self.task));
    }

    fn is_waiting(&self) -> bool {
        lock(&self.calls).is_some()
    }
}

/// A panic elsewhere does not make what the lock protects wrong.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
