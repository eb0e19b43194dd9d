//! The pool as the program holds it: submit, wait, close, join, terminate.

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use procession_sync::OwnerId;

use super::cell::Phase;
use super::config::{Config, Statistics};
use super::crew::Crew;
use super::fault::Fault;
use super::supervisor::{self, Control, Mode};
use super::task::{Task, TaskSpec};
use crate::engine;
use crate::error::{Error, ErrorKind, Result};
use crate::process::StartMethod;
use crate::process::template::Template;
use crate::shm::{Wait, identity};

/// A supervised pool of worker processes.
///
/// Dropping it terminates it. In a fork of the program that made it, it is a
/// name without workers: every call reports that, and dropping it does
/// nothing.
#[derive(Debug)]
pub struct Pool {
    control: Arc<Control>,
    supervisor: engine::Thread,
    creator: Option<OwnerId>,
}

impl Pool {
    /// Starts the workers.
    ///
    /// # Errors
    /// No process can be started, the Heap is exhausted, or (for
    /// [`StartMethod::Fork`]) this process has more than one thread.
    pub fn start(config: Config) -> Result<Self> {
        crate::process::bootstrap::require_init()?;
        if config.processes == 0 {
            return Err(Error::new(
                ErrorKind::Invalid,
                "a pool needs at least one process",
            ));
        }
        let template = match config.method {
            StartMethod::Fork => Some(Template::fork()?),
            StartMethod::Spawn | StartMethod::Forkserver => None,
        };
        let control = Arc::new(Control::new(Crew::new(config, template)?)?);
        let filled = control.crew.fill();
        let supervisor = filled.and_then(|()| supervisor::start(&control));
        match supervisor {
            Ok(supervisor) => Ok(Self {
                control,
                supervisor,
                creator: identity::cached(),
            }),
            Err(error) => {
                for (_, worker) in control.crew.alive() {
                    worker.kill()?;
                    worker.join(&mut Wait::forever())?;
                }
                Err(error)
            }
        }
    }

    /// How many workers the pool keeps.
    #[must_use]
    pub fn processes(&self) -> u32 {
        self.control.crew.config.processes
    }

    /// The settings it was made from.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.control.crew.config
    }

    /// Submits a task; never blocks.
    ///
    /// # Errors
    /// The pool is closed, terminated or broken, this process is a fork of
    /// the pool's program, or the Heap is exhausted.
    pub fn submit(&self, spec: TaskSpec<'_>) -> Result<Arc<Task>> {
        self.check_usable()?;
        let timeout = spec.timeout;
        let task = Arc::new(Task::new(spec)?);
        let crew = &self.control.crew;
        crew.counters.submitted.fetch_add(1, Ordering::Relaxed);
        crew.table.insert(&task);
        if let Some(timeout) = timeout
            && crew.note_timeout(timeout)
        {
            self.control.alert();
        }
        let put = crew.put(&task);
        if let Err(error) = put {
            crew.fail(&task, &Fault::Terminated);
            crew.table.release(&task);
            return Err(error);
        }
        if crew.table.wants_tidying() {
            self.control.alert();
        }
        if timeout.is_some() {
            self.control.watch_deadlines();
        }
        // A pool that ended meanwhile has not seen the task.
        if let Some(fault) = self.control.missed() {
            crew.fail(&task, &fault);
        }
        Ok(task)
    }

    /// Forgets a task whose holder is done with it.
    pub fn release(&self, task: &Task) {
        if self.is_ours() {
            self.control.crew.table.release(task);
        }
    }

    /// Withdraws a task: one that waits is never run; one that runs has its
    /// worker killed and replaced. False if it was over, and in a fork of the
    /// program.
    pub fn cancel(&self, task: &Task) -> bool {
        if !self.is_ours() {
            return false;
        }
        let wait = Wait::never();
        let cell = task.cell();
        loop {
            match cell.phase() {
                Phase::Pending => {
                    if cell.advance(Phase::Pending, Phase::Cancelled, &wait) {
                        self.nudge();
                        return true;
                    }
                }
                Phase::Running => {
                    task.note_stop(Fault::Cancelled);
                    if cell.advance(Phase::Running, Phase::Stopped, &wait) {
                        self.control.alert();
                        return true;
                    }
                }
                Phase::Stopped | Phase::Done | Phase::Failed | Phase::Cancelled => return false,
            }
        }
    }

    /// Waits until one of several announced tasks is over; `look` says
    /// whether one is.
    ///
    /// # Errors
    /// The deadline passed or the wait was interrupted.
    pub fn wait_any(&self, wait: &mut Wait<'_>, mut look: impl FnMut() -> bool) -> Result<()> {
        let completed = &self.control.crew.shared.state().completed;
        loop {
            if look() {
                return Ok(());
            }
            if procession_sync::Waiter::spin(wait) {
                continue;
            }
            let ticket = completed.prepare();
            if look() {
                return Ok(());
            }
            completed.wait(ticket, wait, None)?;
        }
    }

    /// Has everyone in [`Pool::wait_any`] look again.
    pub fn nudge(&self) {
        self.control
            .crew
            .shared
            .state()
            .completed
            .notify_all(&Wait::never());
    }

    /// Takes no more tasks; workers end when those submitted are done.
    pub fn close(&self) {
        if self.is_ours() {
            self.control.advance(Mode::Closed);
        }
    }

    /// Waits until all workers have ended, which takes a [`Pool::close`] or
    /// [`Pool::terminate`] before; false if `wait` was too short.
    ///
    /// # Errors
    /// The pool is still open, or the wait was interrupted.
    pub fn join(&self, wait: &mut Wait<'_>) -> Result<bool> {
        self.check_ours()?;
        if self.control.mode() == Mode::Open {
            return Err(Error::new(
                ErrorKind::WrongState,
                "join a pool that is still open: call close() or terminate() first",
            ));
        }
        if self.control.mode() == Mode::Closed {
            // The supervisor sleeps on descriptors: it is told when the last task is over.
            for task in self.control.crew.table.unfinished() {
                match task.wait(wait) {
                    Ok(()) => {}
                    Err(error) if error.is_timeout() => return Ok(false),
                    Err(error) => return Err(error),
                }
            }
            self.control.alert();
        }
        self.supervisor.wait(wait)
    }

    /// Kills the workers; tasks that are not over fail, and everyone who
    /// waits for one is woken.
    pub fn terminate(&self) {
        if self.is_ours() {
            self.control.advance(Mode::Terminated);
            // The supervisor does so too, but it may be waiting for one of them.
            self.control.crew.kill_all();
        }
    }

    /// How the pool is doing; all zero in a fork of the program.
    #[must_use]
    pub fn statistics(&self) -> Statistics {
        if !self.is_ours() {
            return Statistics::default();
        }
        let crew = &self.control.crew;
        let sum = |field: fn(&super::record::Record) -> &AtomicU64| {
            (0..crew.config.processes)
                .map(|index| field(crew.shared.record(index)).load(Ordering::Relaxed))
                .sum()
        };
        Statistics {
            workers: crew.alive().len(),
            workers_started: crew.started(),
            workers_lost: crew.counters.lost.load(Ordering::Relaxed),
            tasks_submitted: crew.counters.submitted.load(Ordering::Relaxed),
            tasks_finished: sum(|record| &record.finished),
            items_run: sum(|record| &record.items),
            items_failed: sum(|record| &record.failed_items),
            items_retried: crew.counters.retried.load(Ordering::Relaxed),
            tasks_queued: crew.shared.queue.len(),
        }
    }

    /// The workers' process ids; none in a fork of the program.
    #[must_use]
    pub fn pids(&self) -> Vec<u32> {
        // Another thread may have had the list when this process was forked.
        if !self.is_ours() {
            return Vec::new();
        }
        self.control
            .crew
            .alive()
            .iter()
            .map(|(_, worker)| worker.pid())
            .collect()
    }

    fn is_ours(&self) -> bool {
        self.creator == identity::cached()
    }

    fn check_ours(&self) -> Result<()> {
        if self.is_ours() {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::WrongState,
            "use a pool in a fork of the program that made it: make a pool of its own there",
        ))
    }

    fn check_usable(&self) -> Result<()> {
        self.check_ours()?;
        match (self.control.mode(), self.control.verdict()) {
            (Mode::Open, _) => Ok(()),
            (_, Some(Fault::Broken(reason))) => Err(Error::new(
                ErrorKind::Broken,
                format!("submit to a broken pool: {reason}"),
            )),
            _ => Err(Error::new(
                ErrorKind::Closed,
                "submit to a pool that is closed or terminated",
            )),
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if !self.is_ours() {
            // Other threads may have been changing it when this process was forked: it must not be taken apart.
            let _ = ManuallyDrop::new(Arc::clone(&self.control));
            return;
        }
        self.terminate();
        // The workers were sent SIGKILL, so this ends soon; it makes sure that they are reaped and nobody writes into the tasks.
        if let Err(error) = self.join(&mut Wait::forever()) {
            tracing::error!(%error, "a pool could not be joined");
        }
    }
}
