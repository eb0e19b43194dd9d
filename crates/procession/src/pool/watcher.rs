//! The thread that runs callbacks and wakes futures: one for each pool that has any, made when the first is asked for.
//!
//! It sleeps until a watched task is over. The thread ends when
//! its pool is dropped and nothing is watched any more.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use procession_core::pool::{Pool, Task};
use procession_core::shm::Wait;

use super::shared::Shared;
use crate::error::{Error, ErrorKind, Result};

/// What to do when tasks are over.
pub(super) enum Action {
    /// Wake a future.
    Wake(Waker),
    /// Run callbacks; must not unwind.
    Call(Box<dyn FnOnce() + Send>),
}

struct Watched {
    tasks: Vec<Arc<Task>>,
    action: Action,
}

/// What is watched for one pool.
#[derive(Default)]
pub(super) struct Watcher(Mutex<State>);

#[derive(Default)]
struct State {
    watched: Vec<Watched>,
    running: bool,
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
        if !state.running {
            let pool = shared.pool.clone();
            let shared = Arc::downgrade(shared);
            std::thread::Builder::new()
                .name("procession-callbacks".to_owned())
                .spawn(move || run(&pool, &shared))
                .map_err(|error| {
                    Error::new(
                        ErrorKind::Os,
                        format!("start the thread for callbacks: {error}"),
                    )
                })?;
            state.running = true;
        }
        drop(state);
        shared.pool.nudge();
        Ok(())
    }

    /// Takes out what is over.
    fn take_over(&self) -> Vec<Action> {
        let mut state = self.lock();
        let over = |watched: &mut Watched| watched.tasks.iter().all(|task| task.is_over());
        state
            .watched
            .extract_if(.., over)
            .map(|watched| watched.action)
            .collect()
    }

    /// Says that the thread ends, unless there is something to watch.
    fn end_if_idle(&self) -> bool {
        let mut state = self.lock();
        state.running = !state.watched.is_empty();
        !state.running
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        }
    }
}

fn perform(action: Action) {
    match action {
        Action::Wake(waker) => waker.wake(),
        Action::Call(callback) => callback(),
    }
}
