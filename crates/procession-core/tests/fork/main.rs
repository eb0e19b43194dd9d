//! Programs that fork by themselves, from any thread and at any instant, while other threads use every part of the engine: the copy can use
//! everything again, the program goes on, and what both held comes back.
//!
//! `PROCESSION_FORKS` says how often the storm forks.

#![expect(
    unsafe_code,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test program of its own, about forks"
)]

#[path = "../common/mod.rs"]
mod common;

mod copy;
mod load;
mod things;

use common::{child, eventually, watchdog};
use libtest_mimic::{Arguments, Failed, Trial};
use procession_core::primitives::Lock;
use procession_core::process::{self, Entered, Role, active_children, current};
use procession_core::shm::{Wait, heap};
use procession_sys::process::{ChildProcess, ExitStatus, Fork, exit_now, fork};
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use things::Things;

const WATCHDOG: Duration = Duration::from_secs(600);
/// How many copies live at a time, for each thread that forks.
const AT_A_TIME: usize = 3;

fn main() -> ExitCode {
    process::init(runner).unwrap();
    let mut arguments = Arguments::from_args();
    // Children are forked from this thread.
    arguments.test_threads = Some(1);
    watchdog(WATCHDOG);

    let tests: [(&str, fn()); 3] = [
        (
            "forks while the engine is used for the first time",
            first_use,
        ),
        ("forks while everything is in use", storm),
        ("forks while the last handles are dropped", last_handles),
    ];
    let trials = tests.map(|(name, test)| Trial::test(name, move || in_a_new_family(test)));
    libtest_mimic::run(&arguments, trials.into()).exit_code()
}

/// What the processes do that the engine starts.
fn runner(entered: Entered) -> i32 {
    match entered.role {
        Role::Worker => load::work(&entered),
        _ => entered.payload().first().map_or(1, |code| i32::from(*code)),
    }
}

/// Runs a test in a child that has its own family, since a process has only one in its life.
fn in_a_new_family(test: fn()) -> Result<(), Failed> {
    let founder = child(|| {
        watchdog(WATCHDOG);
        // A thread that fails takes its process along, so that nobody waits for it.
        std::panic::set_hook(Box::new(|panic| {
            eprintln!("process {}: {panic}", std::process::id());
            exit_now(101);
        }));
        test();
    });

    match founder.wait(None)? {
        Some(ExitStatus::Exited(0)) => Ok(()),
        status => Err(format!("the test's process ended with {status:?}").into()),
    }
}

/// The forks of one program: none outlives it.
pub(crate) struct Forks {
    tether: (OwnedFd, OwnedFd),
}

impl Forks {
    fn new() -> Self {
        Self {
            tether: procession_sys::pipe::pipe().unwrap(),
        }
    }

    /// A bare fork, as a program does it that knows nothing of the engine.
    fn fork(&self, body: impl FnOnce()) -> ChildProcess {
        // SAFETY: the engine sees to its locks, which is what is tested; the tests' own hold none.
        match unsafe { fork() }.unwrap() {
            Fork::Parent(child) => child,
            Fork::Child => {
                // SAFETY: the original is never dropped, since this process ends below.
                drop(unsafe { std::ptr::read(&raw const self.tether.1) });
                let alive = procession_sys::process::die_with_parent_pipe(self.tether.0.as_fd());
                if !matches!(alive, Ok(Some(_))) {
                    exit_now(102);
                }
                body();
                exit_now(0);
            }
        }
    }
}

fn went_well(child: &ChildProcess) {
    assert_eq!(child.wait(None).unwrap(), Some(ExitStatus::Exited(0)));
}

fn first_use() {
    const PROGRAMS: u32 = 300;
    const FORKS: u32 = 3;

    for program in 0..PROGRAMS {
        went_well(&child(|| {
            let forks = Forks::new();
            let began = AtomicBool::new(false);
            let use_it = || {
                let _ = current();
                let _ = active_children();
                let lock = Lock::new().unwrap();
                let _ = lock.acquire(&mut Wait::forever()).unwrap();
                lock.release().unwrap();
                drop(heap::allocate(100).unwrap());
            };
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        while !began.load(Ordering::Acquire) {
                            std::hint::spin_loop();
                        }
                        use_it();
                    });
                }
                began.store(true, Ordering::Release);
                // Each time a little later: the moment of the first use is short.
                for _ in 0..program % 50 * 40 {
                    std::hint::spin_loop();
                }
                for _ in 0..FORKS {
                    went_well(&forks.fork(use_it));
                }
            });
        }));
    }
}

fn storm() {
    let forks: u32 =
        std::env::var("PROCESSION_FORKS").map_or(600, |number| number.parse().unwrap());
    load::warm_up();
    let before = heap::stats().unwrap().blocks;

    let tether = Forks::new();
    let things = Things::new();
    let (stop, number) = (AtomicBool::new(false), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for part in load::PARTS {
            let (things, stop) = (&things, &stop);
            scope.spawn(move || {
                let mut turn = 0;
                while !stop.load(Ordering::Acquire) {
                    part(things, turn);
                    turn += 1;
                }
                assert!(turn > 1, "a part of the load got nowhere");
            });
        }
        let forkers: Vec<_> = (0..2)
            .map(|_| scope.spawn(|| fork_on(&tether, &things, &number, forks)))
            .collect();
        for forker in forkers {
            forker.join().unwrap();
        }
        stop.store(true, Ordering::Release);
    });

    things.check();
    drop(things);
    eventually(|| heap::stats().unwrap().blocks <= before);
}

/// Forks until the number is reached.
fn fork_on(tether: &Forks, things: &Things, number: &AtomicU32, forks: u32) {
    let mut alive = Vec::new();
    loop {
        let mine = number.fetch_add(1, Ordering::Relaxed);
        if mine >= forks {
            break;
        }
        alive.push(tether.fork(|| copy::live_on(mine, things)));
        if alive.len() >= AT_A_TIME {
            went_well(&alive.remove(0));
        }
    }
    alive.iter().for_each(went_well);
}

/// A handle that another thread drops may be the last one while a fork looks at it.
fn last_handles() {
    const FORKS: u32 = 400;
    load::warm_up();
    let before = heap::stats().unwrap().blocks;

    let (tether, stop) = (Forks::new(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Acquire) {
                    let locks: Vec<_> = (0..40).map(|_| Lock::new().unwrap()).collect();
                    drop(locks);
                }
            });
        }
        for _ in 0..FORKS {
            went_well(&tether.fork(|| drop(Lock::new().unwrap())));
        }
        stop.store(true, Ordering::Release);
    });
    eventually(|| heap::stats().unwrap().blocks <= before);
}
