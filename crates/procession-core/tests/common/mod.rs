//! What the multi-process tests share: forking a body, waiting for children, a watchdog.

#![expect(unsafe_code, reason = "tests fork")]
#![allow(
    dead_code,
    clippy::allow_attributes,
    reason = "no test program uses all of it"
)]

use procession_sys::process::{self, ChildProcess, ExitStatus, Fork};
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Aborts the process when the whole run takes longer; no test of this kind may hang.
pub(crate) fn watchdog(limit: Duration) {
    std::thread::spawn(move || {
        std::thread::sleep(limit);
        eprintln!("watchdog: the tests took longer than {limit:?}");
        std::process::abort();
    });
}

/// Open in the first process alone, so that the read end tells its children when it is gone.
static TETHER: Mutex<Option<(OwnedFd, OwnedFd)>> = Mutex::new(None);

/// Runs `body` in a forked child that exits with 0, or with 101 if it panics. A child does not outlive the first process.
pub(crate) fn child(body: impl FnOnce()) -> ChildProcess {
    let mut tether = TETHER.lock().unwrap();
    let (read, _) = tether.get_or_insert_with(|| procession_sys::pipe::pipe().unwrap());
    let read = read.try_clone().unwrap();

    // SAFETY: the tests hold no lock that a child needs but this one, which it inherits; the engine sees to its own.
    match unsafe { process::fork() }.unwrap() {
        Fork::Parent(child) => child,
        Fork::Child => {
            if let Some((read, write)) = tether.take() {
                drop(write);
                // Grandchildren hang on the same pipe.
                *tether = Some((read.try_clone().unwrap(), read));
            }
            drop(tether);
            let alive = process::die_with_parent_pipe(read.as_fd());
            if !matches!(alive, Ok(Some(_))) {
                process::exit_now(102);
            }
            let result = catch_unwind(AssertUnwindSafe(body));
            process::exit_now(if result.is_ok() { 0 } else { 101 });
        }
    }
}

/// Waits for a child and expects it to have gone well.
pub(crate) fn join(child: &ChildProcess) {
    assert_eq!(child.wait(None).unwrap(), Some(ExitStatus::Exited(0)));
}

/// Waits until `word` has reached `value`.
pub(crate) fn reach(word: &AtomicU32, value: u32) {
    while word.load(Ordering::Acquire) < value {
        std::thread::sleep(Duration::from_micros(100));
    }
}

/// Waits until the condition holds; the watchdog ends a wait in vain.
pub(crate) fn eventually(mut condition: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while !condition() {
        std::thread::sleep(Duration::from_millis(1));
    }
    start.elapsed()
}

/// Goes on as another program, which outlives this process's membership.
pub(crate) fn exec_sleep() -> ! {
    use std::os::unix::process::CommandExt;
    #[expect(
        clippy::disallowed_methods,
        reason = "a program that execs by itself is what is tested"
    )]
    let error = std::process::Command::new("/bin/sleep").arg("10").exec();
    panic!("{error}");
}
