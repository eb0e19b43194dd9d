//! A [`Waiter`] for loom: a futex whose sleepers are loom threads, and processes that can die.
//!
//! Used by the `loom_*` tests. As in the kernel, a lock makes one step of the comparison of the
//! word and the entry into the list, and orders what a waker did before it woke. No wait ends by
//! itself: a lost wake-up is a deadlock, which loom reports.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(
    clippy::allow_attributes,
    reason = "what is unused differs from file to file"
)]
#![allow(unreachable_pub, reason = "a module shared by test crates")]

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use loom::sync::Mutex;
use loom::thread::{self, Thread};
use procession_sync::primitive::{AtomicU32, Ordering};
use procession_sync::{OwnerId, Stop, Waiter};

/// How many processes a model can have.
const PROCESSES: usize = 4;

/// Runs `model` in all its schedules, or in those with up to `preemptions` preemptions.
pub fn check(preemptions: Option<usize>, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.max_branches = 10_000;
    builder.check(model);
}

/// All who sleep, and who is dead. One per run of a model.
#[derive(Debug)]
pub struct Machine {
    sleepers: Mutex<Vec<Arc<Sleeper>>>,
    dead: [AtomicU32; PROCESSES],
}

#[derive(Debug)]
struct Sleeper {
    word: usize,
    watched: Option<OwnerId>,
    thread: Thread,
    /// Whether it parks until woken, or looks once and leaves.
    parks: bool,
    /// Changed with the list locked.
    woken: AtomicBool,
}

impl Machine {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            sleepers: Mutex::new(Vec::new()),
            dead: std::array::from_fn(|_| AtomicU32::new(0)),
        })
    }

    /// A waiter for the calling thread, in process number `process`.
    pub fn waiter(self: &Arc<Self>, process: u16, thread: u32) -> LoomWaiter {
        LoomWaiter {
            machine: Arc::clone(self),
            owner: OwnerId::new(process, 1).unwrap(),
            thread,
            patience: Patience::Endless,
            announce: None,
        }
    }

    /// Ends process number `process`, and wakes those who watch it.
    pub fn die(&self, process: u16) {
        self.dead[usize::from(process)].swap(1, Ordering::Release);
        self.pop(usize::MAX, |sleeper| {
            sleeper.watched.is_some_and(|owner| owner.slot() == process)
        });
    }

    /// Lets everyone look again, as happens once a second, until `done`.
    pub fn tick_until(&self, done: &AtomicU32) {
        while done.load(Ordering::Acquire) == 0 {
            self.pop(usize::MAX, |_| true);
            thread::yield_now();
        }
    }

    fn pop(&self, count: usize, mut chosen: impl FnMut(&Sleeper) -> bool) -> u32 {
        let mut sleepers = self.sleepers.lock().unwrap();
        let mut popped = 0;
        sleepers.retain(|sleeper| {
            if popped == count || !chosen(sleeper) {
                return true;
            }
            sleeper.woken.store(true, Ordering::Relaxed);
            if sleeper.parks {
                sleeper.thread.unpark();
            }
            popped += 1;
            false
        });
        u32::try_from(popped).unwrap()
    }

    fn is_alive(&self, owner: OwnerId) -> bool {
        self.dead[usize::from(owner.slot())].load(Ordering::Acquire) == 0
    }
}

/// When a waiter gives up.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Patience {
    /// Never.
    Endless,
    /// At some moment of the first sleep, if it has not been woken by then.
    Deadline,
    /// As soon as it is woken: the wake is used up for nothing.
    Interrupted,
    /// Never, but its process is killed at some moment of the first sleep: see [`killed`].
    Killed,
}

/// Runs `work` on a thread of its own that is killed in a sleep; true if it came to that.
pub fn killed(work: impl FnOnce() + 'static) -> thread::JoinHandle<bool> {
    thread::spawn(|| {
        // Only for work that leaves nothing to be done while it unwinds: nothing runs after a
        // SIGKILL.
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err()
    })
}

#[derive(Debug)]
pub struct LoomWaiter {
    machine: Arc<Machine>,
    owner: OwnerId,
    thread: u32,
    patience: Patience,
    announce: Option<Arc<AtomicU32>>,
}

impl LoomWaiter {
    pub fn with(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// Stores 1 there whenever it begins to sleep.
    pub fn announcing(mut self, there: Arc<AtomicU32>) -> Self {
        self.announce = Some(there);
        self
    }

    fn sleep(
        &self,
        word: &AtomicU32,
        expected: u32,
        watched: Option<OwnerId>,
        patience: Patience,
    ) -> Result<(), Stop> {
        let mut sleepers = self.machine.sleepers.lock().unwrap();
        let is_alive = |owner| self.machine.is_alive(owner);
        if word.load(Ordering::Relaxed) != expected || !watched.is_none_or(is_alive) {
            return Ok(());
        }
        let sleeper = Arc::new(Sleeper {
            word: address(word),
            watched,
            thread: thread::current(),
            parks: !matches!(patience, Patience::Deadline | Patience::Killed),
            woken: AtomicBool::new(false),
        });
        sleepers.push(Arc::clone(&sleeper));
        drop(sleepers);
        if let Some(there) = &self.announce {
            there.store(1, Ordering::Release);
        }

        if !sleeper.parks {
            let mut sleepers = self.machine.sleepers.lock().unwrap();
            let woken = sleeper.woken.load(Ordering::Relaxed);
            sleepers.retain(|other| !Arc::ptr_eq(other, &sleeper));
            drop(sleepers);
            if patience == Patience::Killed {
                self.machine.die(self.owner.slot());
                std::panic::resume_unwind(Box::new("killed"));
            }
            if woken {
                return Ok(());
            }
            return Err(Stop::TimedOut);
        }

        // Whoever is woken is unparked once, so parks once at least.
        thread::park();
        while !sleeper.woken.load(Ordering::Relaxed) {
            thread::park();
        }
        if patience == Patience::Interrupted {
            return Err(Stop::Interrupted);
        }
        Ok(())
    }
}

impl Waiter for LoomWaiter {
    fn owner(&self) -> OwnerId {
        self.owner
    }

    fn thread(&self) -> u32 {
        self.thread
    }

    fn is_alive(&self, owner: OwnerId) -> bool {
        self.machine.is_alive(owner)
    }

    fn spin(&mut self) -> bool {
        false
    }

    fn wait(
        &mut self,
        word: &AtomicU32,
        expected: u32,
        watched: Option<OwnerId>,
    ) -> Result<(), Stop> {
        self.sleep(word, expected, watched, self.patience)
    }

    fn wait_regardless(&mut self, word: &AtomicU32, expected: u32, watched: Option<OwnerId>) {
        let _ = self.sleep(word, expected, watched, Patience::Endless);
    }

    fn wake(&self, word: &AtomicU32, count: u32) -> u32 {
        let address = address(word);
        self.machine
            .pop(count as usize, |sleeper| sleeper.word == address)
    }
}

fn address(word: &AtomicU32) -> usize {
    std::ptr::from_ref(word) as usize
}
