//! The thread that runs callbacks and wakes futures: one for each pool that has any, made when the first is asked for.
//!
//! It sleeps until a watched task is over. The thread ends when
//! its pool is dropped and nothing is watched any more.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use procession_core::pool::{Pool, Task};
use procession_core::shm::Wait;

use super::shared::Shared;
use crate::error::{Error, ErrorKind, Result};

/// What to do when tasks are over.
pub(super) enum Action {
    /// Wake whoever asked last for a future.
    Wake(Arc<Mutex<Waker>>),
    /// Run callbacks; must not unwind.
    Call(Box<dyn FnOnce() + Send>),
}

struct Watched {
    tasks: Vec<Arc<Task>>,
    action: Action,
}

/// What is watched for one pool.
#[derive(Default)]
pub(super) struct Watcher {
    state: Mutex<State>,
    settled: Condvar,
}

#[derive(Default)]
struct State {
    watched: Vec<Watched>,
    /// The thread, while there is one.
    thread: Option<ThreadId>,
    /// Actions that it is about to do.
    under_way: usize,
}

impl Watcher {
    /// Has `action` done once all of `tasks` are over.
    pub(super) fn watch(
        &self,
        shared: &Arc<Shared>,
        tasks: Vec<Arc<Task>>,
        action: Action,
    ) -> Result<()> {
        for task in &tasks {
            task.announce();
        }
        let mut state = self.lock();
        state.watched.push(Watched { tasks, action });
        if state.thread.is_none() {
            let pool = shared.pool.clone();
            let shared = Arc::downgrade(shared);
            let thread = std::thread::Builder::new()
                .name("procession-callbacks".to_owned())
                .spawn(move || run(&pool, &shared))
                .map_err(|error| {
                    Error::new(
                        ErrorKind::Os,
                        format!("start the thread for callbacks: {error}"),
                    )
                })?;
            state.thread = Some(thread.thread().id());
        }
        drop(state);
        shared.pool.nudge();
        Ok(())
    }

    /// Takes out what is over.
    fn take_over(&self) -> Vec<Action> {
        let mut state = self.lock();
        let over = |watched: &mut Watched| watched.tasks.iter().all(|task| task.is_over());
        let actions: Vec<_> = state
            .watched
            .extract_if(.., over)
            .map(|watched| watched.action)
            .collect();
        state.under_way += actions.len();
        actions
    }

    /// An action was done.
    fn done(&self) {
        self.lock().under_way -= 1;
        self.settled.notify_all();
    }

    /// Waits until everything watched was over and its actions were done;
    /// false if the deadline came first. An action itself does not wait.
    pub(super) fn settle(&self, deadline: Option<Instant>) -> bool {
        let mut state = self.lock();
        while !(state.watched.is_empty() && state.under_way == 0) {
            if state.thread == Some(std::thread::current().id()) {
                return true;
            }
            let left = deadline.map_or(LINGER, |deadline| {
                deadline.saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                return false;
            }
            let waited = self.settled.wait_timeout(state, left.min(LINGER));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Says that the thread ends, unless there is something to watch.
    fn end_if_idle(&self) -> bool {
        let mut state = self.lock();
        if state.watched.is_empty() {
            state.thread = None;
        }
        state.thread.is_none()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long the thread stays when nothing is watched.
const LINGER: Duration = Duration::from_secs(1);

fn run(pool: &Pool, shared: &Weak<Shared>) {
    // Only the watcher is needed meanwhile; the pool itself may go.
    while let Some(shared) = shared.upgrade() {
        let mut over = Vec::new();
        let mut look = || {
            over = shared.watcher.take_over();
            !over.is_empty()
        };
        // A timeout is a chance to see that the pool has gone.
        let waited = pool.wait_any(&mut Wait::for_duration(Some(LINGER)), &mut look);
        if waited.is_err() && shared.watcher.end_if_idle() {
            return;
        }
        for action in over {
            perform(action);
            shared.watcher.done();
        }
    }
}

fn perform(action: Action) {
    match action {
        Action::Wake(waker) => {
            let waker = waker.lock().unwrap_or_else(PoisonError::into_inner).clone();
            waker.wake();
        }
        Action::Call(callback) => callback(),
    }
}
