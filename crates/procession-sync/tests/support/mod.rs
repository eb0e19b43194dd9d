//! A [`Waiter`] over threads: a futex made of a mutex and a condition variable, and processes
//! that can be declared dead.
//!
//! Used by the tests with plain threads. As in the engine, a sleep lasts one second at most and
//! ends when a watched process dies.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(
    clippy::allow_attributes,
    reason = "what is unused differs from file to file"
)]
#![allow(unreachable_pub, reason = "a module shared by test crates")]

use std::io::{self, Write};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use procession_sync::{OwnerId, Stop, Waiter};

/// After this long a test is taken for hung.
const WATCHDOG: Duration = Duration::from_secs(120);

/// Runs `work`, and ends the whole test program if it hangs.
pub fn watched<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, finished) = mpsc::channel();
    let worker = thread::spawn(move || {
        let value = work();
        let _ = done.send(());
        value
    });
    if finished.recv_timeout(WATCHDOG) == Err(RecvTimeoutError::Timeout) {
        let _ = writeln!(io::stderr(), "test hangs");
        std::process::abort();
    }
    worker.join().unwrap()
}

/// All who sleep, and who is dead.
#[derive(Debug)]
pub struct Machine {
    /// How long a sleep lasts at most.
    look: Duration,
    sleepers: Mutex<Sleepers>,
    woken: Condvar,
    dead: [AtomicU32; 32],
}

impl Machine {
    /// One in which everyone looks again once a second.
    pub fn new() -> Arc<Self> {
        Self::looking_every(Duration::from_secs(1))
    }

    /// One in which whoever sleeps has to be woken, or the test hangs.
    pub fn without_looking() -> Arc<Self> {
        Self::looking_every(WATCHDOG * 2)
    }

    fn looking_every(look: Duration) -> Arc<Self> {
        Arc::new(Self {
            look,
            sleepers: Mutex::default(),
            woken: Condvar::new(),
            dead: [const { AtomicU32::new(0) }; 32],
        })
    }

    /// A waiter without a deadline for the calling thread, in process number `process`.
    pub fn waiter(self: &Arc<Self>, process: u16, thread: u32) -> ThreadWaiter {
        ThreadWaiter {
            machine: Arc::clone(self),
            owner: OwnerId::new(process, 1).unwrap(),
            thread,
            deadline: None,
            spins: 0,
        }
    }

    /// Ends process number `process`, and wakes those who watch it.
    pub fn die(&self, process: u16) {
        self.dead[usize::from(process)].store(1, Ordering::SeqCst);
        let watches = |owner: &OwnerId| owner.slot() == process;
        self.pop(u32::MAX, |sleeper| {
            sleeper.watched.as_ref().is_some_and(watches)
        });
    }

    /// How many sleep.
    pub fn asleep(&self) -> usize {
        self.sleepers.lock().unwrap().list.len()
    }

    /// Returns once `count` sleep.
    pub fn await_sleepers(&self, count: usize) {
        while self.asleep() < count {
            thread::yield_now();
        }
    }

    fn pop(&self, count: u32, chosen: impl Fn(&Sleeper) -> bool) -> u32 {
        let mut popped = 0;
        self.sleepers.lock().unwrap().list.retain(|sleeper| {
            let pop = popped < count && chosen(sleeper);
            popped += u32::from(pop);
            !pop
        });
        self.woken.notify_all();
        popped
    }
}

#[derive(Debug, Default)]
struct Sleepers {
    last: u64,
    list: Vec<Sleeper>,
}

/// One who sleeps; whose number is no longer in the list has been woken.
#[derive(Debug)]
struct Sleeper {
    number: u64,
    word: usize,
    watched: Option<OwnerId>,
}

#[derive(Debug)]
pub struct ThreadWaiter {
    machine: Arc<Machine>,
    owner: OwnerId,
    thread: u32,
    deadline: Option<Instant>,
    spins: u32,
}

impl ThreadWaiter {
    pub fn until(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    pub fn within(self, time: Duration) -> Self {
        self.until(Instant::now() + time)
    }

    /// Polls `spins` times before each operation's first sleep.
    pub fn spinning(mut self, spins: u32) -> Self {
        self.spins = spins;
        self
    }

    fn sleep(
        &self,
        word: &AtomicU32,
        expected: u32,
        watched: Option<OwnerId>,
        deadline: Option<Instant>,
    ) -> Result<(), Stop> {
        let machine = &*self.machine;
        let mut sleepers = machine.sleepers.lock().unwrap();
        if word.load(Ordering::SeqCst) != expected || watched.is_some_and(|o| !self.is_alive(o)) {
            return Ok(());
        }
        sleepers.last += 1;
        let number = sleepers.last;
        sleepers.list.push(Sleeper {
            number,
            word: address(word),
            watched,
        });

        let look = Instant::now() + machine.look;
        loop {
            let now = Instant::now();
            if !sleepers.list.iter().any(|sleeper| sleeper.number == number) {
                return Ok(());
            }
            let expired = deadline.is_some_and(|deadline| now >= deadline);
            if expired || now >= look {
                sleepers.list.retain(|sleeper| sleeper.number != number);
                return if expired { Err(Stop::TimedOut) } else { Ok(()) };
            }
            let end = deadline.map_or(look, |deadline| deadline.min(look));
            sleepers = machine.woken.wait_timeout(sleepers, end - now).unwrap().0;
        }
    }
}

impl Waiter for ThreadWaiter {
    fn owner(&self) -> OwnerId {
        self.owner
    }

    fn thread(&self) -> u32 {
        self.thread
    }

    fn is_alive(&self, owner: OwnerId) -> bool {
        self.machine.dead[usize::from(owner.slot())].load(Ordering::SeqCst) == 0
    }

    fn spin(&mut self) -> bool {
        let more = self.spins != 0;
        self.spins = self.spins.saturating_sub(1);
        std::hint::spin_loop();
        more
    }

    fn wait(
        &mut self,
        word: &AtomicU32,
        expected: u32,
        watched: Option<OwnerId>,
    ) -> Result<(), Stop> {
        self.sleep(word, expected, watched, self.deadline)
    }

    fn wait_regardless(&mut self, word: &AtomicU32, expected: u32, watched: Option<OwnerId>) {
        let _ = self.sleep(word, expected, watched, None);
    }

    fn wake(&self, word: &AtomicU32, count: u32) -> u32 {
        let address = address(word);
        self.machine.pop(count, |sleeper| sleeper.word == address)
    }
}

fn address(word: &AtomicU32) -> usize {
    std::ptr::from_ref(word) as usize
}
