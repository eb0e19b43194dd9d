//! The workers of a pool: starting them, and settling what a dead one left.
//!
//! Used by the supervisor alone, but for `kill_all`, which `terminate` calls from the user's threads, and what `submit` needs.

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use procession_sys::process::ExitStatus;
use procession_sys::signal::Signal;

use super::cell::{Cell, Phase};
use super::config::Config;
use super::fault::Fault;
use super::record::{INITIALIZER_FAILED, READY, Record};
use super::results;
use super::shared::Shared;
use super::table::Table;
use super::task::Task;
use crate::error::Result;
use crate::process::template::Template;
use crate::process::{Child, Launch, Role};
use crate::shm::{BlockId, Message, Wait, identity};

/// After so many workers in a row that never became ready, the pool is broken.
const MOST_FALSE_STARTS: u32 = 3;
/// The same for workers that somebody else killed: they might have become ready.
const MOST_KILLED: u32 = 60;

/// After so many refusals to start a worker, a pool without workers is broken: the last retry comes after a second.
const MOST_REFUSALS: u32 = 6;
const FIRST_RETRY: Duration = Duration::from_millis(8);

/// A pool's workers and what they share.
#[derive(Debug)]
pub(super) struct Crew {
    pub(super) shared: Shared,
    pub(super) table: Table,
    pub(super) config: Config,
    template: Option<Template>,
    workers: Mutex<Vec<Option<Child>>>,
    pub(super) counters: Counters,
    /// Counted so that it is [`MOST_KILLED`] when there are too many.
    false_starts: Mutex<u32>,
    /// How often in a row a worker could not be started at all.
    refusals: AtomicU32,
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
            refusals: AtomicU32::new(0),
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

    /// Starts a worker in each empty place, for the supervisor: where the
    /// system refuses, it is tried again a little later, since descriptors,
    /// memory and processes come and go. A pool that has no worker at all for
    /// too long is broken, and why.
    pub(super) fn refill(&self) -> Option<Arc<str>> {
        let Err(error) = self.fill() else {
            self.refusals.store(0, Ordering::Relaxed);
            return None;
        };
        let refusals = self.refusals.fetch_add(1, Ordering::Relaxed) + 1;
        tracing::warn!(%error, refusals, "a pool worker could not be started");
        let broken = refusals >= MOST_REFUSALS && self.alive().is_empty();
        broken.then(|| format!("a worker could not be started: {error}").into())
    }

    /// When workers are to be started that could not be.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        let refusals = self.refusals.load(Ordering::Relaxed);
        (refusals > 0).then(|| FIRST_RETRY * (1 << refusals.min(MOST_REFUSALS)))
    }

    /// Whether no task is queued or with a worker.
    pub(super) fn is_idle(&self) -> bool {
        self.shared.queue.is_empty()
            && (0..self.config.processes)
                .all(|index| self.shared.record(index).current.load(Ordering::SeqCst) == 0)
    }

    fn start(&self, index: u32) -> Result<Child> {
        self.shared.record(index).reset();
        let mut handles = self.config.handles.try_clone()?;
        let payload = self.shared.worker_payload(
            index,
            self.config.max_tasks_per_child,
            identity::me()?,
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

    /// Takes a worker that has ended out of its place; what it held was
    /// [settled](Self::settle). `expected`: the pool asked its workers to end.
    pub(super) fn bury(
        &self,
        index: u32,
        worker: &Child,
        status: ExitStatus,
        expected: bool,
    ) -> Burial {
        let record = self.shared.record(index);
        let ready = record.state.load(Ordering::Acquire);
        self.workers()[index as usize] = None;
        let clean = status == ExitStatus::Exited(0);
        if !(clean || expected) {
            self.counters.lost.fetch_add(1, Ordering::Relaxed);
        }
        tracing::debug!(pid = worker.pid(), ?status, "a pool worker has ended");

        let text = Self::initializer_error(record);
        let mut false_starts = self
            .false_starts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if ready == READY {
            *false_starts = 0;
            return Burial::Replace;
        }
        *false_starts += match status {
            ExitStatus::Signaled(signal) if signal == Signal::KILL.number() => 1,
            _ => MOST_KILLED / MOST_FALSE_STARTS,
        };
        if *false_starts < MOST_KILLED || expected {
            return Burial::Replace;
        }
        Burial::Broken(Self::why_not_ready(text, ready, status))
    }

    /// What a dead worker has left about its initializer; freed.
    fn initializer_error(record: &Record) -> Option<String> {
        BlockId::from_bits(record.error.swap(0, Ordering::Relaxed))
            .and_then(Message::adopt)
            .map(|message| String::from_utf8_lossy(message.payload()).into_owned())
    }

    fn why_not_ready(text: Option<String>, state: u32, status: ExitStatus) -> Arc<str> {
        match text {
            Some(text) if state == INITIALIZER_FAILED => {
                format!("the pool's initializer failed {MOST_FALSE_STARTS} times in a row: {text}")
                    .into()
            }
            _ => format!(
                "too many workers in a row ended before they were ready (the last with {status})"
            )
            .into(),
        }
    }

    /// Decides what becomes of the task that a dead worker noted; the cases
    /// are those of the README.
    pub(super) fn settle(&self, index: u32, worker: &Child, status: ExitStatus) {
        let record = self.shared.record(index);
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
        let cell = task.cell();
        match cell.phase() {
            // It may have been taken by another worker since, or even twice: only one of them will begin it.
            Phase::Pending => self.put_again(&task),
            Phase::Running | Phase::Stopped if cell.place() == Some(index) => {
                // From here on nobody else decides about it.
                let reason = if cell.advance(Phase::Running, Phase::Stopped, &Wait::never()) {
                    lost.clone()
                } else {
                    task.take_stop().unwrap_or_else(|| lost.clone())
                };
                self.settle_stopped(&task, &reason, &lost);
            }
            _ => {}
        }
    }

    /// A task whose worker is dead: `reason` is the running item's fault,
    /// `lost` that of items which had finished but not been published.
    fn settle_stopped(&self, task: &Arc<Task>, reason: &Fault, lost: &Fault) {
        let from = Phase::Stopped;
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
            .max(cell.start.load(Ordering::Relaxed))
            .max(results::end(cell));
        let next = match running {
            Some(running) if running >= published => {
                for index in published..running {
                    task.note_failed_item(index, lost.clone());
                }
                if task.take_retry(running) {
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
            cell.running.store(0, Ordering::Relaxed);
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

    /// Kills every worker.
    pub(super) fn kill_all(&self) {
        for (_, worker) in self.alive() {
            kill(&worker);
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

/// Kills a worker, which is no error if it has ended.
pub(super) fn kill(worker: &Child) {
    if let Err(error) = worker.kill() {
        tracing::error!(pid = worker.pid(), %error, "a worker could not be killed");
    }
}

/// What to poll for a worker's end.
pub(super) fn sentinel(worker: &(u32, Child)) -> BorrowedFd<'_> {
    worker.1.sentinel()
}
