//! Counters that a test and its children share, and what every test of them does.

#![expect(unsafe_code, reason = "the tests lay out a shared object")]

use procession_core::shm::handles::{Collecting, Reading};
use procession_core::shm::{Kind, Layout, Message, Object, Wait, family, heap};
use procession_sys::process::ChildProcess;
use procession_sys::signal::Signal;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// Counters, named by what each test makes of them.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Board {
    pub(crate) ready: AtomicU32,
    pub(crate) go: AtomicU32,
    pub(crate) clean: AtomicU32,
    pub(crate) died: AtomicU32,
    pub(crate) passed: AtomicU32,
    pub(crate) failed: AtomicU32,
}

// SAFETY: atomics only, valid when zero.
unsafe impl Layout for Board {
    const KIND: Kind = Kind(1010);
}

pub(crate) fn board() -> Object<Board> {
    Object::create(0, |_: &Board, _| ()).unwrap()
}

/// Time for children that said they are about to wait to do so. Where they are late all the same, the test is easier,
/// not wrong.
pub(crate) fn let_them_wait() {
    std::thread::sleep(Duration::from_millis(50));
}

pub(crate) fn kill(child: &ChildProcess) {
    child.kill(Signal::KILL).unwrap();
    child.wait(None).unwrap();
}

pub(crate) fn briefly() -> Wait<'static> {
    Wait::for_duration(Some(Duration::from_millis(30)))
}

/// The live bytes once everything that the dead held is given back.
pub(crate) fn settled() -> u64 {
    // The first object takes a page for this process's ledger, which stays.
    drop(board());
    heap::recover();
    heap::stats().unwrap().live_bytes
}

/// Sends what `note` writes through a message, and reads it back with `read` after all other handles are gone.
pub(crate) fn travel<N, T>(note: impl FnOnce() -> N, read: impl FnOnce(N) -> T) -> T {
    let collecting = Collecting::begin();
    let indices = note();
    let message = Message::create(&collecting.finish(), 0).unwrap();

    let _reading = Reading::begin(family::id().unwrap(), message.handles());
    read(indices)
}
