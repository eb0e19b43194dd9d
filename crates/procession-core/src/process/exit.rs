//! How processes of the family end.
//!
//! Any process: its non-daemonic children are joined, its daemonic ones ended. A spawned child ends as a program does, with its exit
//! functions run; a forked one must not run those that it inherited, so it leaves at once. The status is written into the child's slot
//! first: under a forkserver nobody else can tell its parent when the kernel's record is gone.

use std::io::Write as _;
use std::sync::Once;

use procession_sys::process::ExitStatus;

use super::{registry, status};
use crate::shm::identity;

/// Makes this process settle its children when it ends, however it returns
/// from `main` or calls `exit`.
pub(super) fn settle_at_exit() {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        if let Err(error) = procession_sys::process::at_exit(settle) {
            tracing::error!(%error, "children will not be joined at exit");
        }
    });
}

extern "C" fn settle() {
    registry::finish();
}

/// Ends a child whose work is done.
pub(super) fn finish(code: i32, forked: bool) -> ! {
    registry::finish();
    flush();
    if let Ok(me) = identity::me() {
        status::leave(me, ExitStatus::Exited(code));
    }
    if forked {
        procession_sys::process::exit_now(code);
    }
    #[expect(
        clippy::exit,
        reason = "the child's entry never returns to the program's main"
    )]
    std::process::exit(code)
}

/// What a forked child must not write twice, and any child not lose.
pub(super) fn flush() {
    // A child whose output is closed has nobody to tell.
    let _ = std::io::stdout().flush();
    let _ = std::io::stderr().flush();
}
