//! What the tests of this crate share: a watchdog, shared memory, children that end in a controlled way.

#![expect(unsafe_code, reason = "tests fork")]

use procession_sys::memory::{Mapping, MemoryObject};
use procession_sys::process::{ChildProcess, ExitStatus, Fork, exit_now, fork};
use std::mem::size_of;
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

const SECONDS: u32 = 100;

/// Ends this process should it hang.
pub(crate) fn watchdog() {
    // SAFETY: no preconditions.
    unsafe { libc::alarm(SECONDS) };
}

/// A zeroed `T`, shared with the children made later.
pub(crate) fn shared<T>() -> &'static T {
    let len = size_of::<T>().next_multiple_of(4096);
    let object = MemoryObject::create(c"test").unwrap();
    object.grow_to(len as u64).unwrap();
    let base = Mapping::map_shared(object.as_fd(), 0, len).unwrap().leak();

    // SAFETY: the tests ask for atomics (zero is valid) that fit into the aligned mapping, which stays for ever.
    unsafe { base.cast().as_ref() }
}

/// Runs `body` in a forked child, which exits with 0, or with 101 if it panics.
pub(crate) fn child(body: impl FnOnce()) -> ChildProcess {
    // SAFETY: glibc's allocator survives forks, and the bodies touch no lock of another thread.
    match unsafe { fork() }.unwrap() {
        Fork::Parent(child) => child,
        Fork::Child => {
            watchdog();
            let outcome = catch_unwind(AssertUnwindSafe(body));
            exit_now(if outcome.is_ok() { 0 } else { 101 })
        }
    }
}

/// Waits for the end of a child.
pub(crate) fn join(child: &ChildProcess) -> ExitStatus {
    loop {
        match child.wait(None) {
            Ok(Some(status)) => return status,
            Ok(None) => {}
            Err(error) if error.is_interrupted() => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Looks again and again, until something is true; the watchdog bounds it.
pub(crate) fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        procession_sys::thread::yield_now();
    }
}

/// Is the process asleep in the kernel, or stopped?
pub(crate) fn state(pid: u32) -> Option<char> {
    procession_sys::process::status_line(pid).map(|line| line.state)
}
