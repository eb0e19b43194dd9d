//! Fork hooks on Linux, by `pthread_atfork`: one registration with libc, a fixed table of ours.

#![expect(unsafe_code, reason = "pthread_atfork is a C function")]

use crate::{Error, Result};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

const MOST: usize = 8;

struct Hooks {
    prepare: fn(),
    parent: fn(),
    child: fn(),
}

static TABLE: [OnceLock<Hooks>; MOST] = [const { OnceLock::new() }; MOST];
static COUNT: AtomicUsize = AtomicUsize::new(0);
static REGISTERING: Mutex<bool> = Mutex::new(false);

thread_local! {
    /// How many hooks the running fork began with: one that is registered meanwhile has not prepared.
    static PREPARED: Cell<usize> = const { Cell::new(0) };
}

/// Registers one set of hooks, for good. A hook that panics aborts the process.
///
/// # Errors
/// No memory, or more than 8 registrations.
pub fn register(prepare: fn(), parent: fn(), child: fn()) -> Result<()> {
    const OPERATION: &str = "register fork hooks";

    // Child hooks may ask who they are, so the caches must be emptied before them.
    let _ = crate::process::id();
    crate::thread::forget_id_after_fork()?;

    let mut installed = REGISTERING.lock().unwrap_or_else(PoisonError::into_inner);
    let index = COUNT.load(Ordering::Relaxed);
    let Some(entry) = TABLE.get(index) else {
        return Err(Error::new(OPERATION, libc::ENOSPC));
    };

    if !*installed {
        // SAFETY: the three functions live for ever and take nothing.
        let code =
            unsafe { libc::pthread_atfork(Some(run_prepare), Some(run_parent), Some(run_child)) };
        if code != 0 {
            return Err(Error::new(OPERATION, code));
        }
        *installed = true;
    }

    // Only the holder of REGISTERING fills entries, so this one is empty.
    let _ = entry.set(Hooks {
        prepare,
        parent,
        child,
    });
    // SYNC: hook registered -> run_prepare
    COUNT.store(index + 1, Ordering::Release);
    Ok(())
}

extern "C" fn run_prepare() {
    // SYNC: hook registered -> run_prepare
    let count = COUNT.load(Ordering::Acquire);
    PREPARED.set(count);

    for hooks in TABLE[..count].iter().rev().filter_map(OnceLock::get) {
        (hooks.prepare)();
    }
}

extern "C" fn run_parent() {
    for hooks in TABLE[..PREPARED.get()].iter().filter_map(OnceLock::get) {
        (hooks.parent)();
    }
}

extern "C" fn run_child() {
    for hooks in TABLE[..PREPARED.get()].iter().filter_map(OnceLock::get) {
        (hooks.child)();
    }
}
