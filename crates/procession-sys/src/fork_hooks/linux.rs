//! Fork hooks on Linux, by `pthread_atfork`: one registration with libc, a fixed table of ours.
//!
//! A fork may come at any instant, also from another thread while hooks are being registered for the first time. So there
//! is no state here that a child could not go on from: the table grows by single stores, registering again does nothing,
//! and the one lock names the process, so that a child takes it over.

#![expect(
    unsafe_code,
    reason = "pthread_atfork is a C function, and the table refers to hooks by address"
)]

use super::Hooks;
use crate::{Error, Result, futex};
use std::cell::Cell;
use std::ptr::{from_ref, null_mut};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

const MOST: usize = 8;

/// Filled from the front; an entry never changes.
static TABLE: [AtomicPtr<Hooks>; MOST] = [const { AtomicPtr::new(null_mut()) }; MOST];

/// Every fork that is still to come, or has not copied the process yet, runs at least so many entries.
static SETTLED: AtomicUsize = AtomicUsize::new(0);

/// Has libc been told? In a child that was forked meanwhile it may know without this saying so; twice does no harm.
static INSTALLED: AtomicBool = AtomicBool::new(false);

/// 0, or the number of the process one of whose threads forks. Another process's number was inherited: nobody holds it.
static FORKING: AtomicU32 = AtomicU32::new(0);

/// The word is private: it is woken by threads of this process, which cannot be killed alone.
const LOOK_AGAIN: Option<Duration> = Some(Duration::from_secs(1));

thread_local! {
    /// How many entries this thread's fork began with: one that is registered meanwhile has not prepared.
    static PREPARED: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Registers hooks, for good; does nothing if they are registered. Afterwards no fork is under way that has not run them.
/// Waits for a fork that is, so it must not be called with anything that a prepare hook waits for. A hook that panics
/// aborts the process.
///
/// # Errors
/// No memory, or more than 8 registrations.
pub fn register(hooks: &'static Hooks) -> Result<()> {
    const OPERATION: &str = "register fork hooks";

    // Child hooks may ask who they are, so the caches must be emptied before them.
    let _ = crate::process::id();
    crate::thread::forget_id_after_fork()?;

    if !INSTALLED.load(Ordering::Relaxed) {
        // SAFETY: the three functions live for ever and take nothing.
        let code =
            unsafe { libc::pthread_atfork(Some(run_prepare), Some(run_parent), Some(run_child)) };
        if code != 0 {
            return Err(Error::new(OPERATION, code));
        }
        INSTALLED.store(true, Ordering::Relaxed);
    }

    let index = enter(hooks).ok_or_else(|| Error::new(OPERATION, libc::ENOSPC))?;
    // SYNC: entry settled -> register
    if SETTLED.load(Ordering::Acquire) <= index {
        lock();
        SETTLED.fetch_max(index + 1, Ordering::Release);
        unlock();
    }
    Ok(())
}

/// The place of the hooks in the table; `None` if it is full.
fn enter(hooks: &'static Hooks) -> Option<usize> {
    let hooks = from_ref(hooks).cast_mut();

    TABLE.iter().position(|entry| {
        // SYNC: hook registered -> run_prepare
        let found = entry.compare_exchange(null_mut(), hooks, Ordering::AcqRel, Ordering::Acquire);

        found.is_ok() || found == Err(hooks)
    })
}

/// The first `count` entries.
fn entries(count: usize) -> impl DoubleEndedIterator<Item = &'static Hooks> {
    TABLE[..count].iter().filter_map(|entry| {
        // SYNC: hook registered -> run_prepare
        let hooks = entry.load(Ordering::Acquire);

        // SAFETY: null, or what `enter` took from a reference that is valid for ever.
        unsafe { hooks.as_ref() }
    })
}

/// From here to the end of the fork no other thread of this process forks.
fn lock() {
    // Not the cached number: the hook that empties the cache may be missing in a child that was forked while it was registered.
    let me = std::process::id();
    loop {
        // SYNC: fork over -> lock
        match FORKING.compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => return,
            Err(holder) if holder == me => {
                futex::wait(&FORKING, me, LOOK_AGAIN);
            }
            Err(stranger) => {
                let taken =
                    FORKING.compare_exchange(stranger, me, Ordering::Acquire, Ordering::Relaxed);
                if taken.is_ok() {
                    return;
                }
            }
        }
    }
}

fn unlock() {
    // SYNC: fork over -> lock
    FORKING.store(0, Ordering::Release);
    futex::wake(&FORKING, u32::MAX);
}

extern "C" fn run_prepare() {
    // Libc may have been told twice.
    if PREPARED.get().is_some() {
        return;
    }
    lock();
    let count = entries(MOST).count();
    PREPARED.set(Some(count));

    for hooks in entries(count).rev() {
        (hooks.prepare)();
    }
}

extern "C" fn run_parent() {
    if let Some(count) = PREPARED.take() {
        for hooks in entries(count) {
            (hooks.parent)();
        }
        unlock();
    }
}

extern "C" fn run_child() {
    if let Some(count) = PREPARED.take() {
        for hooks in entries(count) {
            (hooks.child)();
        }
        FORKING.store(0, Ordering::Relaxed);
    }
}
