//! The workers of a pool: starting them, and settling what a dead one left.
//!
//! Used by the supervisor alone, but for `kill_runner`, which `cancel` calls from the user's threads.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use procession_sync::OwnerId;
use procession_sys::process::ExitStatus;

use super::cell::{Cell, Phase};
use super::config::Config;
use super::fault::Fault;
use super::record::{INITIALIZER_FAILED, READY, Record};
use super::shared::Shared;
use super::table::Table;
use super::task::Task;
use crate::error::Result;
use crate::process::template::Template;
use crate::process::{Child, Launch, Role};
use crate::shm::{BlockId, Message, Wait};

/// After so many workers in a row that never became ready, the pool is broken.
const MOST_FALSE_STARTS: u32 = 3;

/// A pool's workers and what they share.
#[derive(Debug)]
pub(super) struct Crew {
    pub(super) shared: Shared,
    pub(super) table: Table,
    pub(super) config: Config,
    template: Option<Template>,
    workers: Mutex<Vec<Option<Child>>>,
    pub(super) counters: Counters,
    false_starts: Mutex<u32>,
    started: AtomicU64,
    shortest_timeout: AtomicU64,
}

/// What has happened since the pool was made.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) submitted: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) retried: AtomicU64,
}

/// What a dead worker means for its pool.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Burial {
    /// A replacement is due.
    Replace,
    /// Workers cannot be made ready: the pool is broken, and why.
    Broken(Arc<str>),
}

impl Crew {
    pub(super) fn new(config: Config, template: Option<Template>) -> Result<Self> {
        Ok(Self {
            shared: Shared::create(config.processes)?,
            table: Table::default(),
            workers: Mutex::new((0..config.processes).map(|_| None).collect()),
            config,
            template,
            counters: Counters::default(),
            false_starts: Mutex::new(0),
            started: AtomicU64::new(0),
            shortest_timeout: AtomicU64::new(u64::MAX),
        })
    }

    /// Starts a worker in each empty place.
    pub(super) fn fill(&self) -> Result<()> {
        for index in 0..self.config.processes {
            let empty = self.workers()[index as usize].is_none();
            if empty {
                let child = self.start(index)?;
                self.workers()[index as usize] = Some(child);
            }
        }
        Ok(())
    }

    fn start(&self, index: u32) -> Result<Child> {
        self.shared.record(index).reset();
        let mut handles = self.config.handles.try_clone()?;
        let payload = self.shared.worker_payload(
            index,
            self.config.max_tasks_per_child,
            &self.config.prefix,
            &self.config.payload,
            &mut handles,
        );
        let number = self.started.fetch_add(1, Ordering::Relaxed) + 1;
        let launch = Launch {
            method: self.config.method,
            name: format!("{}-{number}", self.config.name),
            daemon: true,
            role: Role::Worker,
            entry: self.config.entry,
            payload,
            handles,
            memory_limit: self.config.memory_limit,
        };
        match &self.template {
            Some(template) => launch.start_from(template),
            None => launch.start(),
        }
    }

    /// The workers that have been started and not buried, by their places.
    pub(super) fn alive(&self) -> Vec<(u32, Child)> {
        let workers = self.workers();
        let places = (0..).zip(workers.iter());
        places
            .filter_map(|(index, child)| Some((index, child.clone()?)))
            .collect()
    }

    /// How many workers were started.
    pub(super) fn started(&self) -> u64 {
        self.started.load(Ordering::Relaxed)
    }

    /// Takes a worker that has ended out of its place, and settles the task
    /// that it held. `expected`: the pool asked its workers to end.
    pub(super) fn bury(
        &self,
        index: u32,
        worker: &Child,
        status: ExitStatus,
        expected: bool,
    ) -> Burial {
        let record = self.shared.record(index);
        self.settle(record, worker, status);
        let ready = record.state.load(Ordering::Acquire);
        self.workers()[index as usize] = None;
        let clean = status == ExitStatus::Exited(0);
        if !(clean || expected) {
            self.counters.lost.fetch_add(1, Ordering::Relaxed);
        }
        tracing::debug!(pid = worker.pid(), ?status, "a pool worker has ended");

        let mut false_starts = self
            .false_starts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if ready == READY {
            *false_starts = 0;
            return Burial::Replace;
        }
        *false_starts += 1;
        if *false_starts < MOST_FALSE_STARTS || expected {
            return Burial::Replace;
        }
        Burial::Broken(Self::why_not_ready(record, ready, status))
    }

    fn why_not_ready(record: &Record, state: u32, status: ExitStatus) -> Arc<str> {
        let text = BlockId::from_bits(record.error.swap(0, Ordering::Relaxed))
            .and_then(Message::claim)
            .map(|message| String::from_utf8_lossy(message.payload()).into_owned());
        match text {
            Some(text) if state == INITIALIZER_FAILED => {
                format!("the pool's initializer failed {MOST_FALSE_STARTS} times in a row: {text}")
                    .into()
            }
            _ => format!(
                "{MOST_FALSE_STARTS} workers in a row ended before they were ready ({status})"
            )
            .into(),
        }
    }

    /// Decides what becomes of the task that a dead worker noted; the cases
    /// are those of the README.
    fn settle(&self, record: &Record, worker: &Child, status: ExitStatus) {
        let current = BlockId::from_bits(record.current.swap(0, Ordering::Acquire));
        let Some(task) = current.and_then(|id| self.table.get(id)) else {
            return;
        };
        // This repairs the queue first, so it knows of the worker's last step.
        if !self
            .shared
            .queue
            .has_taken(record.sequence.load(Ordering::Relaxed))
        {
            return;
        }
        let lost = Fault::WorkerLost {
            pid: worker.pid(),
            status,
        };
        match task.cell().phase() {
            Phase::Pending => self.put_again(&task),
            Phase::Running if task.cell().worker() == Some(worker.owner()) => {
                self.settle_interrupted(&task, Phase::Running, &lost, &lost);
            }
            Phase::Stopped => {
                let reason = task.take_stop().unwrap_or_else(|| lost.clone());
                self.settle_interrupted(&task, Phase::Stopped, &reason, &lost);
            }
            _ => {}
        }
    }

    /// A task that was running: `reason` is the running item's fault, `lost`
    /// that of items which had finished but not been published.
    fn settle_interrupted(&self, task: &Arc<Task>, from: Phase, reason: &Fault, lost: &Fault) {
        let cell = task.cell();
        let wait = Wait::never();
        if matches!(
            reason,
            Fault::Cancelled | Fault::Terminated | Fault::Broken(_)
        ) {
            task.note_failed(reason.clone());
            cell.advance(from, Phase::Failed, &wait);
            self.announce(cell);
            return;
        }
        // 0 = no item had begun; the word holds the index + 1.
        let running = cell.running.load(Ordering::Relaxed).checked_sub(1);
        // SYNC: results published -> supervisor
        let published = cell
            .published
            .load(Ordering::Acquire)
            .max(cell.start.load(Ordering::Relaxed));
        let next = match running {
            Some(running) if running >= published => {
                for index in published..running {
                    task.note_failed_item(index, lost.clone());
                }
                if task.take_retry() {
                    self.counters.retried.fetch_add(1, Ordering::Relaxed);
                    running
                } else {
                    task.note_failed_item(running, reason.clone());
                    running + 1
                }
            }
            _ => published,
        };
        if next < task.items() {
            cell.start.store(next, Ordering::Relaxed);
            cell.published.store(next, Ordering::Relaxed);
            if cell.advance(from, Phase::Pending, &wait) {
                self.put_again(task);
            }
            return;
        }
        cell.advance(from, Phase::Done, &wait);
        self.announce(cell);
    }

    /// Ends a task that is not over and that no worker has.
    pub(super) fn fail(&self, task: &Task, fault: &Fault) {
        let wait = Wait::never();
        task.note_failed(fault.clone());
        for phase in [Phase::Pending, Phase::Running, Phase::Stopped] {
            task.cell().advance(phase, Phase::Failed, &wait);
        }
        self.announce(task.cell());
    }

    fn announce(&self, cell: &Cell) {
        if cell.is_announced() {
            self.shared.state().completed.notify_all(&Wait::never());
        }
    }

    fn put_again(&self, task: &Arc<Task>) {
        if let Err(error) = self.put(task) {
            tracing::error!(%error, task = task.name(), "a task could not be put again");
            self.fail(task, &Fault::Broken(error.to_string().into()));
        }
    }

    /// Puts the id of a task into the queue.
    pub(super) fn put(&self, task: &Task) -> Result<()> {
        let sequence = self.shared.queue.put_word(task.id().to_bits())?;
        self.table.put_as(task, sequence);
        Ok(())
    }

    /// Notes that a task with this timeout was submitted; true if it is the
    /// shortest so far.
    pub(super) fn note_timeout(&self, timeout: Duration) -> bool {
        let nanos = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX).max(1);
        self.shortest_timeout.fetch_min(nanos, Ordering::Relaxed) > nanos
    }

    /// The shortest timeout of any task submitted so far, in nanoseconds.
    pub(super) fn shortest_timeout(&self) -> Option<u64> {
        Some(self.shortest_timeout.load(Ordering::Relaxed)).filter(|nanos| *nanos != u64::MAX)
    }

    /// Kills the worker that runs `task`, if one does.
    pub(super) fn kill_runner(&self, task: &Task) {
        if let Some(runner) = task.cell().worker() {
            self.kill(runner);
        }
    }

    pub(super) fn kill(&self, owner: OwnerId) {
        let worker = self
            .alive()
            .into_iter()
            .find(|(_, child)| child.owner() == owner);
        if let Some((_, child)) = worker
            && let Err(error) = child.kill()
        {
            tracing::error!(pid = child.pid(), %error, "a worker could not be killed");
        }
    }

    /// Lets the table forget what nobody needs any more.
    pub(super) fn tidy(&self) {
        let records: Vec<u64> = (0..self.config.processes)
            .map(|index| self.shared.record(index).current.load(Ordering::Acquire))
            .collect();
        self.table.tidy(|id, number| {
            number.is_none_or(|number| !self.shared.queue.has_taken(number))
                || records.contains(&id.to_bits())
        });
    }

    fn workers(&self) -> MutexGuard<'_, Vec<Option<Child>>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What to poll for a worker's end.
pub(super) fn sentinel(worker: &(u32, Child)) -> BorrowedFd<'_> {
    worker.1.sentinel()
}
