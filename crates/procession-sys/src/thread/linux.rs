//! Threads and processors on Linux: `gettid`, affinity masks, cgroup quotas.

#![expect(unsafe_code, reason = "pthread_atfork is a C function")]

use crate::{Error, Result, cgroup, vitals};
use std::cell::Cell;
use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, Ordering};

thread_local! {
    /// This thread's id, 0 while unknown.
    static ID: Cell<u32> = const { Cell::new(0) };
}

/// The calling thread's id: never 0, unique among all living threads of the machine (of its pid namespace).
#[inline]
#[must_use]
pub fn id() -> u32 {
    match ID.get() {
        0 => look_up_id(),
        id => id,
    }
}

#[cold]
fn look_up_id() -> u32 {
    let id = rustix::thread::gettid()
        .as_raw_nonzero()
        .get()
        .unsigned_abs();

    // Without the hook a forked child would go on with its parent's id: then do not cache at all.
    if forget_id_after_fork().is_ok() {
        ID.set(id);
    }
    id
}

/// Sees to it that a forked child asks for its id anew.
pub(crate) fn forget_id_after_fork() -> Result<()> {
    extern "C" fn forget() {
        ID.set(0);
    }

    // No `Once`: another thread may fork in the middle. Registered twice, it forgets twice.
    static HOOKED: AtomicBool = AtomicBool::new(false);

    if HOOKED.load(Ordering::Relaxed) {
        return Ok(());
    }
    // SAFETY: the function lives for ever and takes nothing.
    match unsafe { libc::pthread_atfork(None, None, Some(forget)) } {
        0 => {
            HOOKED.store(true, Ordering::Relaxed);
            Ok(())
        }
        code => Err(Error::new("register fork hooks", code)),
    }
}

/// How many threads this process has now, those of libraries included; 0 if `/proc` cannot be read. A thread that was
/// joined is not among them, although the system may show it for a little longer.
#[must_use]
pub fn count() -> usize {
    let Ok(tasks) = std::fs::read_dir("/proc/self/task") else {
        return 0;
    };

    tasks
        .filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok())
        .filter(|thread| vitals::thread_runs(*thread))
        .count()
}

/// Lets other threads run on this processor first.
#[inline]
pub fn yield_now() {
    rustix::thread::sched_yield();
}

/// How many processors this process can keep busy: its affinity mask, bounded by its control group's quota. At least 1.
#[must_use]
pub fn usable_cpus() -> usize {
    let allowed = allowed_cpus();

    cgroup::cpu_quota()
        .map_or(allowed, |quota| allowed.min(quota))
        .max(1)
}

/// How many processors the calling thread's affinity mask allows, whatever its control group says: one system call.
/// At least 1.
#[must_use]
pub fn allowed_cpus() -> usize {
    let allowed = match rustix::thread::sched_getaffinity(None) {
        Ok(set) => set.count() as usize,
        // The mask of a machine with more than 1024 processors does not fit.
        Err(_) => std::thread::available_parallelism().map_or(1, usize::from),
    };

    allowed.max(1)
}

/// How many processors the machine has online. At least 1.
#[must_use]
pub fn all_cpus() -> usize {
    // SAFETY: sysconf has no preconditions.
    let online = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };

    usize::try_from(online).unwrap_or(1).max(1)
}

/// Names the calling thread for debuggers and `ps`; longer names are cut to 15 bytes.
///
/// # Errors
/// A sandbox forbids it.
pub fn name_this_thread(name: &CStr) -> Result<()> {
    rustix::thread::set_name(name).map_err(Error::of("name the thread"))
}
