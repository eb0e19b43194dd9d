//! The engine thread of a pool: it sleeps until a worker ends, a deadline passes or the pool wants something.
//!
//! It runs no code of the user's, blocks all signals, and is woken by the workers' pidfds and by a private eventfd; an idle pool uses no
//! processor time. It sleeps outside the
//! engine's gate, so the program can fork. A fork does not have the thread: the pool there is only a name (see [`super::Pool`]).

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use procession_sys::eventfd::EventFd;
use procession_sys::poll::{Interest, PollEntry, poll};
use procession_sys::process::ExitStatus;
use procession_sys::time::monotonic_nanos;

use super::cell::Phase;
use super::crew::{Burial, Crew, kill, sentinel};
use super::fault::Fault;
use super::task::Task;
use crate::engine::{self, gate};
use crate::error::Result;
use crate::process::Child;
use crate::shm::{BlockId, Wait};

/// What the pool wants of its workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub(super) enum Mode {
    /// Workers are replaced when they end.
    Open = 0,
    /// No more tasks come; workers end when none is left.
    Closed = 1,
    /// The queue is closed behind the last task; workers are not replaced.
    Drained = 2,
    /// All workers are killed, all tasks failed.
    Terminated = 3,
    /// As terminated, because workers cannot be made.
    Broken = 4,
}

/// What the program's threads and the supervisor share.
#[derive(Debug)]
pub(super) struct Control {
    pub(super) crew: Crew,
    mode: AtomicU32,
    broken: Mutex<Option<Arc<str>>>,
    /// The supervisor sleeps without a deadline although tasks may have timeouts: none is queued or runs.
    dozing: AtomicBool,
    /// The supervisor has looked at the tasks for the last time.
    over: AtomicBool,
    wake: EventFd,
}

impl Control {
    pub(super) fn new(crew: Crew) -> Result<Self> {
        Ok(Self {
            crew,
            mode: AtomicU32::new(Mode::Open as u32),
            broken: Mutex::default(),
            dozing: AtomicBool::new(false),
            over: AtomicBool::new(false),
            wake: EventFd::new()?,
        })
    }

    pub(super) fn mode(&self) -> Mode {
        // SYNC: mode advanced -> submit, supervisor
        match self.mode.load(Ordering::SeqCst) {
            0 => Mode::Open,
            1 => Mode::Closed,
            2 => Mode::Drained,
            3 => Mode::Terminated,
            _ => Mode::Broken,
        }
    }

    /// Moves on to `mode`, never back, and wakes the supervisor.
    pub(super) fn advance(&self, mode: Mode) {
        // SYNC: mode advanced -> submit, supervisor
        self.mode.fetch_max(mode as u32, Ordering::SeqCst);
        self.alert();
    }

    pub(super) fn alert(&self) {
        if let Err(error) = self.wake.signal() {
            tracing::error!(%error, "the pool's supervisor could not be woken");
        }
    }

    /// A task with a timeout was put into the queue.
    pub(super) fn watch_deadlines(&self) {
        // SYNC: task put, then dozing? -> dozing, then tasks?
        if self.dozing.swap(false, Ordering::SeqCst) {
            self.alert();
        }
    }

    /// Why a task that was just put will not be looked at by anybody, if so.
    pub(super) fn missed(&self) -> Option<Fault> {
        // SYNC: task put, then over? -> over, then tasks?
        self.over.load(Ordering::SeqCst).then(|| self.verdict())?
    }

    /// Why tasks cannot be run any more, if they cannot.
    pub(super) fn verdict(&self) -> Option<Fault> {
        match self.mode() {
            Mode::Terminated => Some(Fault::Terminated),
            Mode::Broken => {
                let text = self
                    .broken
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone();
                Some(Fault::Broken(text.unwrap_or_else(|| "unknown".into())))
            }
            _ => None,
        }
    }

    fn break_down(&self, reason: Arc<str>) {
        tracing::error!(%reason, "a pool is broken");
        self.broken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(reason);
        self.advance(Mode::Broken);
    }
}

/// Starts the thread.
pub(super) fn start(control: &Arc<Control>) -> Result<engine::Thread> {
    let control = control.clone();
    engine::Thread::start("procession-pool", move || run(&control))
}

fn run(control: &Control) {
    let mut inside = gate::enter();
    loop {
        let workers = control.crew.alive();
        if workers.is_empty() && control.mode() >= Mode::Drained {
            break;
        }
        let timeout = next_look(control, &workers);
        let mut entries: Vec<_> = workers
            .iter()
            .map(|worker| PollEntry::new(sentinel(worker), Interest::READ))
            .chain([PollEntry::new(control.wake.as_fd(), Interest::READ)])
            .collect();
        drop(inside);
        let polled = poll(&mut entries, timeout);
        inside = gate::enter();
        match polled {
            Ok(_) => {}
            Err(error) => {
                control.break_down(format!("the pool's supervisor cannot wait: {error}").into());
            }
        }
        drop(entries);
        if let Err(error) = control.wake.drain() {
            tracing::error!(%error, "the pool's supervisor cannot take its wake-ups");
        }
        bury_the_dead(control, &workers);
        stop_tasks(control, &workers);
        match control.mode() {
            Mode::Open | Mode::Closed => maintain(control),
            Mode::Drained => {}
            // Their tasks are settled when they are dead: until then they may write into them.
            Mode::Terminated | Mode::Broken => control.crew.kill_all(),
        }
    }
    // SYNC: task put, then over? -> over, then tasks?
    control.over.store(true, Ordering::SeqCst);
    settle_leftovers(control);
    drop(inside);
}

/// When the supervisor must look again by itself; `None` = when woken.
fn next_look(control: &Control, workers: &[(u32, Child)]) -> Option<Duration> {
    let mut soonest = match control.mode() {
        Mode::Closed => Some(Duration::from_millis(50)),
        _ => None,
    };
    let crew = &control.crew;
    soonest = soonest.into_iter().chain(crew.retry_after()).min();
    let Some(timeout) = crew.shortest_timeout() else {
        return soonest;
    };
    // SYNC: task put, then dozing? -> dozing, then tasks?
    control.dozing.store(true, Ordering::SeqCst);
    if crew.is_idle() {
        return soonest;
    }
    control.dozing.store(false, Ordering::SeqCst);
    let now = monotonic_nanos();
    let mut shorten = |nanos: u64| {
        let candidate = Duration::from_nanos(nanos);
        soonest = Some(soonest.map_or(candidate, |soonest| soonest.min(candidate)));
    };
    // A task that begins while the supervisor sleeps cannot be due before this.
    shorten(timeout);
    for (index, _) in workers {
        if let Some((_, due)) = deadline(control, *index) {
            shorten(due.saturating_sub(now));
        }
    }
    soonest
}

/// The task of a worker, and when its running item began; 0 = none has.
fn running(control: &Control, index: u32) -> Option<(Arc<Task>, u64)> {
    let record = control.crew.shared.record(index);
    let current = record.current.load(Ordering::Acquire);
    let started = record.started.load(Ordering::Acquire);
    // What lies between is of this task: a worker clears the time before it notes the next task.
    if record.current.load(Ordering::Relaxed) != current {
        return None;
    }
    let task = control.crew.table.get(BlockId::from_bits(current)?)?;
    (task.cell().place() == Some(index)).then_some((task, started))
}

/// The running task of a worker and when it must be over.
fn deadline(control: &Control, index: u32) -> Option<(Arc<Task>, u64)> {
    let (task, started) = running(control, index)?;
    let timeout = task.cell().timeout.load(Ordering::Relaxed);
    let limited = timeout != 0 && started != 0 && task.cell().phase() == Phase::Running;
    limited.then(|| (task, started.saturating_add(timeout)))
}

/// Kills the workers whose tasks take too long or were cancelled. Only here, where workers are buried and replaced too: so a kill
/// never meets the next worker in the same place.
fn stop_tasks(control: &Control, workers: &[(u32, Child)]) {
    let now = monotonic_nanos();
    let timed = control.crew.shortest_timeout().is_some();
    for (index, worker) in workers {
        let due = if timed {
            deadline(control, *index)
        } else {
            None
        };
        if let Some((task, due)) = due
            && due <= now
        {
            task.note_stop(Fault::TimedOut);
            if task
                .cell()
                .advance(Phase::Running, Phase::Stopped, &Wait::never())
            {
                tracing::warn!(
                    pid = worker.pid(),
                    task = task.name(),
                    "a task took too long; its worker is replaced"
                );
            }
        }
        if running(control, *index).is_some_and(|(task, _)| task.cell().phase() == Phase::Stopped) {
            kill(worker);
        }
    }
}

fn bury_the_dead(control: &Control, workers: &[(u32, Child)]) {
    for (index, worker) in workers {
        let status = match worker.try_join() {
            Ok(None) => continue,
            Ok(Some(status)) => status,
            Err(error) => {
                tracing::error!(pid = worker.pid(), %error, "a worker's end could not be read");
                kill(worker);
                ExitStatus::Exited(255)
            }
        };
        let expected = control.mode() >= Mode::Drained;
        if control.verdict().is_none() {
            control.crew.settle(*index, worker, status);
        }
        if let Burial::Broken(reason) = control.crew.bury(*index, worker, status, expected) {
            control.break_down(reason);
        }
    }
}

/// Replaces workers; drains the pool when it is closed and nothing is left.
fn maintain(control: &Control) {
    if control.mode() == Mode::Closed && control.crew.table.unfinished().is_empty() {
        control.advance(Mode::Drained);
        close_queue(control);
        return;
    }
    if control.crew.table.wants_tidying() {
        control.crew.tidy();
    }
    if let Some(reason) = control.crew.refill() {
        control.break_down(reason);
    }
}

/// Lets the workers end once the queue is empty.
fn close_queue(control: &Control) {
    // Without a deadline and a callback it always succeeds.
    if let Err(error) = control.crew.shared.queue.close(&mut Wait::forever()) {
        tracing::error!(%error, "the pool's task queue could not be closed");
    }
}

/// After the workers have ended, nobody else would finish what is left.
fn settle_leftovers(control: &Control) {
    if let Some(fault) = control.verdict() {
        for task in control.crew.table.unfinished() {
            control.crew.fail(&task, &fault);
        }
    }
}
