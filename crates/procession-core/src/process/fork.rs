//! The `fork` start method: the child has all memory of this process, and takes its order from the Heap like any other.

use procession_sys::process::{Fork, fork};

use super::bootstrap;
use super::child::Child;
use super::launch::Prepared;
use super::life;
use crate::engine;
use crate::error::{Error, ErrorKind, Result};
use crate::shm::fork::IntoSlot;

/// Forks this process.
///
/// # Errors
/// This process has more than one thread of the user's: any lock that one of
/// them holds (the allocator's among them) would be locked for ever in the
/// child.
pub(super) fn start(mut prepared: Prepared) -> Result<Child> {
    require_one_thread()?;
    super::exit::flush();
    let life = life::read_end()?;

    let into_slot = IntoSlot::new(prepared.owner);
    #[expect(unsafe_code, reason = "fork is unsafe by nature")]
    // SAFETY: this process has one thread of the user's (checked above), and the engine's own are parked by its fork hooks, so no lock
    // is held by a thread that the child lacks.
    let forked = unsafe { fork() }?;
    drop(into_slot);
    match forked {
        Fork::Parent(process) => Ok(prepared.into_child(process, None)),
        Fork::Child => {
            let descriptors = std::mem::take(&mut prepared.descriptors);
            bootstrap::enter_fork(prepared.message, life, descriptors)
        }
    }
}

/// Refuses to fork a process that has threads.
pub(super) fn require_one_thread() -> Result<()> {
    let threads = procession_sys::thread::count().saturating_sub(engine::threads());
    if threads <= 1 {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::WrongState,
        format!(
            "start a process by \"fork\": that needs a program with one thread, and this one has {threads}; \
             use \"forkserver\" or \"spawn\""
        ),
    ))
}
