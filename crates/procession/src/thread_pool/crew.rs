//! The threads of a pool, and the queue from which they take jobs.
//!
//! A job is in the queue, or in the place of the thread that runs it, so that terminating the pool finds every job that has not
//! been answered.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::Instant;

use super::job::{Counts, Reason, Work, lock};
use crate::error::{Error, ErrorKind, Result, TaskError};
use crate::pool::Statistics;

/// What each thread runs first; an error breaks the pool.
pub(super) type Initializer = Arc<dyn Fn() -> std::result::Result<(), String> + Send + Sync>;

pub(super) struct Crew {
    state: Mutex<State>,
    /// There is a job, or there will be none any more.
    changed: Condvar,
    /// A thread has ended.
    ended: Condvar,
    size: usize,
}

struct State {
    mode: Mode,
    queue: VecDeque<Arc<dyn Work>>,
    running: Vec<Option<Arc<dyn Work>>>,
    alive: usize,
    members: Vec<ThreadId>,
    handles: Vec<JoinHandle<()>>,
    statistics: Statistics,
}

enum Mode {
    Open,
    Closed,
    Terminated,
    Broken(String),
}

impl Crew {
    pub(super) fn start(
        size: usize,
        name: &str,
        initializer: Option<&Initializer>,
    ) -> Result<Arc<Self>> {
        let crew = Arc::new(Self {
            state: Mutex::new(State {
                mode: Mode::Open,
                queue: VecDeque::new(),
                running: vec![None; size],
                alive: 0,
                members: Vec::new(),
                handles: Vec::new(),
                statistics: Statistics::default(),
            }),
            changed: Condvar::new(),
            ended: Condvar::new(),
            size,
        });
        for index in 0..size {
            let (member, initializer) = (crew.clone(), initializer.cloned());
            let mut state = lock(&crew.state);
            let spawned = thread::Builder::new()
                .name(format!("{name}-{}", index + 1))
                .spawn(move || member.work(index, initializer));
            match spawned {
                Ok(handle) => {
                    state.alive += 1;
                    state.statistics.workers_started += 1;
                    state.members.push(handle.thread().id());
                    state.handles.push(handle);
                }
                Err(error) => {
                    drop(state);
                    crew.terminate();
                    return Err(Error::new(
                        ErrorKind::Os,
                        format!("start thread {} of {size} of a pool: {error}", index + 1),
                    ));
                }
            }
        }
        Ok(crew)
    }

    pub(super) const fn size(&self) -> usize {
        self.size
    }

    pub(super) fn submit(&self, job: Arc<dyn Work>) -> Result<()> {
        let mut state = lock(&self.state);
        match &state.mode {
            Mode::Open => {}
            Mode::Broken(reason) => {
                let reason = reason.clone();
                return Err(TaskError::BrokenPool { reason }.into());
            }
            Mode::Closed | Mode::Terminated => {
                return Err(Error::new(
                    ErrorKind::Closed,
                    "submit to a thread pool that is closed or terminated",
                ));
            }
        }
        state.queue.push_back(job);
        state.statistics.tasks_submitted += 1;
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Takes no more jobs; the threads end when the queue is empty.
    pub(super) fn close(&self) {
        let mut state = lock(&self.state);
        if matches!(state.mode, Mode::Open) {
            state.mode = Mode::Closed;
        }
        drop(state);
        self.changed.notify_all();
    }

    pub(super) fn terminate(&self) {
        self.end(Mode::Terminated, &Reason::Terminated);
    }

    fn end(&self, mode: Mode, reason: &Reason) {
        let mut state = lock(&self.state);
        if matches!(state.mode, Mode::Open | Mode::Closed) {
            state.mode = mode;
        }
        let mut unanswered: Vec<_> = state.queue.drain(..).collect();
        unanswered.extend(state.running.iter().flatten().cloned());
        drop(state);
        self.changed.notify_all();
        for job in unanswered {
            job.abandon(reason);
        }
    }

    /// Waits until all threads have ended; false if the deadline came first.
    pub(super) fn join(&self, deadline: Option<Instant>) -> Result<bool> {
        let mut state = lock(&self.state);
        if matches!(state.mode, Mode::Open) {
            return Err(Error::new(
                ErrorKind::WrongState,
                "join a thread pool that is still open: close or terminate it first",
            ));
        }
        if state.members.contains(&thread::current().id()) {
            return Err(Error::new(
                ErrorKind::WrongState,
                "join a thread pool from one of its own threads: it would wait for itself",
            ));
        }
        while state.alive > 0 {
            let Some(deadline) = deadline else {
                let waited = self.ended.wait(state);
                state = waited.unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let waited = self.ended.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let handles = std::mem::take(&mut state.handles);
        drop(state);
        for handle in handles {
            if handle.join().is_err() {
                tracing::error!("a thread of a pool panicked outside of a task");
            }
        }
        Ok(true)
    }

    pub(super) fn statistics(&self) -> Statistics {
        let state = lock(&self.state);
        let mut statistics = state.statistics;
        statistics.workers = state.alive;
        statistics.tasks_queued = state.queue.iter().filter(|job| job.is_waiting()).count();
        statistics
    }

    fn work(self: Arc<Self>, index: usize, initializer: Option<Initializer>) {
        let _leave = Leave(&self);
        if let Some(initializer) = initializer
            && let Err(text) = initializer()
        {
            let reason = format!("the initializer failed: {text}");
            self.end(Mode::Broken(reason.clone()), &Reason::Broken(reason));
            return;
        }
        let mut counts = None;
        while let Some(job) = self.next(index, counts) {
            counts = Some(job.run());
        }
    }

    /// The next job for a thread, which has done the previous one.
    fn next(&self, index: usize, done: Option<Counts>) -> Option<Arc<dyn Work>> {
        let mut state = lock(&self.state);
        let previous = state.running[index].take();
        if let Some(done) = done {
            state.statistics.tasks_finished += u64::from(done.items > 0);
            state.statistics.items_run += done.items;
            state.statistics.items_failed += done.failed;
        }
        if let Some(previous) = previous {
            // What it owns may be the user's.
            drop(state);
            drop(previous);
            state = lock(&self.state);
        }
        loop {
            if matches!(state.mode, Mode::Terminated | Mode::Broken(_)) {
                return None;
            }
            if let Some(job) = state.queue.pop_front() {
                state.running[index] = Some(job.clone());
                return Some(job);
            }
            if matches!(state.mode, Mode::Closed) {
                return None;
            }
            let waited = self.changed.wait(state);
            state = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Signs a thread off, in whatever way it ends.
struct Leave<'a>(&'a Crew);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).alive -= 1;
        self.0.ended.notify_all();
    }
}
