//! The gate: nobody is inside an engine lock of this process while it forks.
//!
//! Engine threads, and calls that hold a process-local lock of the process module, do so inside the gate; the fork's *prepare* hook closes it
//! and waits until everybody is out, so the child inherits no lock that a thread it lacks had taken, and nothing half changed. Nobody inside ever
//! waits for user code, hence never for an interpreter's lock that the forking thread may hold. Nor does anybody inside fork: two that did
//! so at a time would wait for each other.
//!
//! ```text
//! open ──enter──▶ open, n inside ──prepare──▶ closed, n inside ──leave──▶ closed, empty ──fork──▶ open (parent and child)
//! ```

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use procession_sys::fork_hooks::{self, Hooks};
use procession_sys::futex;

use crate::shm::fork;

/// | bits | meaning |
/// |---|---|
/// | 0 to 30 | how many threads are inside |
/// | 31 | closed: a thread forks |
static GATE: AtomicU32 = AtomicU32::new(0);

const CLOSED: u32 = 1 << 31;

/// A private word: it is woken by threads of this process, which cannot be killed alone.
const LOOK_AGAIN: Option<Duration> = Some(Duration::from_secs(1));

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// As long as it lives, this process does not fork.
#[derive(Debug)]
#[must_use]
pub(crate) struct Inside {
    not_send: PhantomData<*const ()>,
}

/// Goes inside; waits for a fork that is under way. May be nested.
pub(crate) fn enter() -> Inside {
    install();
    if DEPTH.replace(DEPTH.get() + 1) == 0 {
        loop {
            let state = GATE.load(Ordering::Relaxed);
            if state & CLOSED != 0 {
                futex::wait(&GATE, state, LOOK_AGAIN);
                continue;
            }
            // SYNC: gate left -> gate entered
            if GATE
                .compare_exchange_weak(state, state + 1, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
            {
                break;
            }
        }
    }
    Inside {
        not_send: PhantomData,
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let depth = DEPTH.get() - 1;
        DEPTH.set(depth);
        // SYNC: gate left -> gate entered. Whoever closed it may be inside itself, so it does not always wait for the last one.
        if depth == 0 && GATE.fetch_sub(1, Ordering::AcqRel) & CLOSED != 0 {
            futex::wake(&GATE, u32::MAX);
        }
    }
}

/// Has `hook` called in every child that is forked from now on, once; it may neither allocate nor take a lock. To be called inside.
pub(crate) fn in_child(_inside: &Inside, hook: fn()) {
    // Nobody forks meanwhile, so no child finds it half set.
    IN_CHILD.get_or_init(|| hook);
}

static IN_CHILD: OnceLock<fn()> = OnceLock::new();

/// The heap's hooks are installed first: then this one's prepare runs before theirs, while those inside may still use the heap.
fn install() {
    static HOOKS: Hooks = Hooks {
        prepare,
        parent,
        child,
    };
    // No `Once`: another thread may fork in the middle, before the gate is there to prevent it. What is installed twice is there once.
    static INSTALLED: AtomicBool = AtomicBool::new(false);

    // SYNC: gate installed -> install
    if INSTALLED.load(Ordering::Acquire) {
        return;
    }
    let installed = fork::install().and_then(|()| Ok(fork_hooks::register(&HOOKS)?));
    if let Err(error) = installed {
        tracing::error!(%error, "a fork of this process may inherit locks of the engine");
    }
    // SYNC: gate installed -> install
    INSTALLED.store(true, Ordering::Release);
}

fn prepare() {
    // A thread that forks while it is inside waits for the others only.
    let own = u32::from(DEPTH.get() > 0);
    loop {
        let state = GATE.load(Ordering::Relaxed);
        if state & CLOSED == 0 {
            if GATE
                .compare_exchange(state, state | CLOSED, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
            {
                break;
            }
        } else {
            futex::wait(&GATE, state, LOOK_AGAIN);
        }
    }
    loop {
        // SYNC: gate left -> gate entered
        let state = GATE.load(Ordering::Acquire);
        if state & !CLOSED <= own {
            return;
        }
        futex::wait(&GATE, state, LOOK_AGAIN);
    }
}

fn parent() {
    // SYNC: gate left -> gate entered
    GATE.fetch_and(!CLOSED, Ordering::Release);
    futex::wake(&GATE, u32::MAX);
}

fn child() {
    GATE.store(u32::from(DEPTH.get() > 0), Ordering::Relaxed);
    if let Some(hook) = IN_CHILD.get() {
        hook();
    }
}
