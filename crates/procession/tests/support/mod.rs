//! What the tests of the face share.

use std::time::Duration;

use procession::Process;

const TIME_LIMIT: Duration = Duration::from_secs(120);

/// Ends the test program if the test has not ended in time: a test of waiting
/// must not wait for ever.
pub(crate) fn watchdog() -> Watchdog {
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    std::thread::spawn(move || {
        if is_done.recv_timeout(TIME_LIMIT) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            std::process::abort();
        }
    });
    Watchdog { _done: done }
}

/// While it lives, the time runs.
pub(crate) struct Watchdog {
    _done: std::sync::mpsc::Sender<()>,
}

/// The child ends well.
#[allow(
    dead_code,
    clippy::allow_attributes,
    reason = "not every test starts processes"
)]
#[track_caller]
pub(crate) fn join(child: &Process) {
    let status = child.join();
    assert!(
        status.as_ref().is_ok_and(|status| status.code() == 0),
        "{status:?}"
    );
}
