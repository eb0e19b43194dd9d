//! Life words: every way of ending marks them, wakes an armed sleeper, and lets a successor take over.

#![expect(unsafe_code, reason = "life words begin in raw memory")]

use crate::common::{child, join, shared, until, watchdog};
use procession_sys::futex::{WaitOutcome, wait_any};
use procession_sys::life::LifeWord;
use procession_sys::process::{ChildProcess, ExitStatus, exit_now};
use procession_sys::signal::Signal;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

#[repr(C)]
struct Shared {
    life: MaybeUninit<LifeWord>,
    lock: AtomicU32,
    go: AtomicU32,
}

fn fresh() -> (&'static Shared, &'static LifeWord) {
    let memory: &Shared = shared();

    // SAFETY: the memory is fresh, so nobody holds or uses the word.
    unsafe { LifeWord::initialize(memory.life.as_ptr().cast_mut()) }.unwrap();
    // SAFETY: initialised just now.
    (memory, unsafe { memory.life.assume_init_ref() })
}

/// Lets a child hold the word and end when told; the sleep on its life must end, and leave the word dead.
fn ends(how: fn(), cause: impl FnOnce(&ChildProcess)) {
    let (memory, life) = fresh();
    assert!(!life.is_held());
    assert_eq!(life.arm(), None);

    let holder = child(|| {
        life.acquire().unwrap();
        memory.lock.store(1, Ordering::Release);
        until(|| memory.go.load(Ordering::Acquire) == 1);
        how();
    });
    until(|| memory.lock.load(Ordering::Acquire) == 1);
    assert!(life.is_held());
    assert!(life.acquire().unwrap_err().is_busy());

    let armed = life.arm().unwrap();
    assert_eq!(life.arm(), Some(armed), "arming again changes nothing");
    memory.go.store(1, Ordering::Release);
    cause(&holder);

    while life.is_held() {
        let outcome = wait_any(
            &[(&memory.lock, 1), (life.word(), armed)],
            Some(Duration::from_secs(3600)),
        );
        assert!(
            matches!(outcome, (WaitOutcome::Woken, 1) | (WaitOutcome::Changed, _)),
            "{outcome:?}"
        );
    }
    life.wake_all_if_dead();
    assert_eq!(life.arm(), None);

    holder.kill(Signal::KILL).unwrap_or_default();
    join(&holder);

    let successor = child(|| {
        life.acquire().unwrap();
        assert!(life.is_held());
    });
    assert_eq!(join(&successor), ExitStatus::Exited(0));
    assert!(!life.is_held());
}

#[test]
fn sigkill() {
    watchdog();
    ends(
        || until(|| false),
        |holder| holder.kill(Signal::KILL).unwrap(),
    );
}

#[test]
fn exit() {
    watchdog();
    ends(|| exit_now(0), |_| ());
}

#[test]
fn return_of_the_thread() {
    watchdog();
    let (memory, life) = fresh();

    let owner = child(|| {
        std::thread::spawn(|| life.acquire().unwrap())
            .join()
            .unwrap();
        memory.lock.store(1, Ordering::Release);
        until(|| memory.go.load(Ordering::Acquire) == 1);
    });
    until(|| memory.lock.load(Ordering::Acquire) == 1);
    assert!(!life.is_held(), "the thread has ended, the process has not");
    memory.go.store(1, Ordering::Release);
    assert_eq!(join(&owner), ExitStatus::Exited(0));
}

#[test]
fn exec() {
    watchdog();
    ends(
        || {
            let arguments = [c"sleep".as_ptr(), c"1000".as_ptr(), std::ptr::null()];
            // SAFETY: the list ends with null.
            unsafe { libc::execv(c"/bin/sleep".as_ptr(), arguments.as_ptr()) };
        },
        |_| (),
    );
}

#[test]
fn a_fork_of_the_holder_does_not_hold() {
    watchdog();
    let (memory, life) = fresh();

    let holder = child(|| {
        life.acquire().unwrap();
        let grandchild = child(|| {
            assert!(life.acquire().unwrap_err().is_busy());
            memory.lock.store(1, Ordering::Release);
        });
        assert_eq!(join(&grandchild), ExitStatus::Exited(0));
        assert!(life.is_held(), "its child's end is not its own");
    });
    assert_eq!(join(&holder), ExitStatus::Exited(0));
    assert_eq!(memory.lock.load(Ordering::Acquire), 1);
    assert!(!life.is_held());
}
