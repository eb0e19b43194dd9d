//! One engine thread: started, counted, waited for.

use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use procession_sync::{OwnerId, Waiter};
use procession_sys::{futex, signal};

use crate::error::{Error, ErrorKind, Result};
use crate::shm::Wait;
use crate::shm::identity;

/// | bits | meaning |
/// |---|---|
/// | 0 to 31 | how many engine threads run |
/// | 32 to 63 | the process that has them, as an owner's bits: a fork copies the number but not the threads |
static RUNNING: AtomicU64 = AtomicU64::new(0);

const PROCESS_SHIFT: u32 = 32;

/// How many engine threads this process has.
pub(crate) fn threads() -> usize {
    let running = RUNNING.load(Ordering::Acquire);
    if running >> PROCESS_SHIFT == here() {
        running as u32 as usize
    } else {
        0
    }
}

fn here() -> u64 {
    identity::cached().map_or(0, OwnerId::to_bits).into()
}

/// A thread of the engine. Dropping the handle leaves it running.
#[derive(Debug)]
pub(crate) struct Thread {
    /// Whose thread it is, as an owner's bits.
    process: u64,
    /// 0 while it runs.
    over: Arc<AtomicU32>,
    handle: Mutex<Option<JoinHandle<()>>>,
}

impl Thread {
    /// Starts a thread that runs `work`.
    ///
    /// # Errors
    /// The system allows no further thread.
    pub(crate) fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<Self> {
        let over = Arc::new(AtomicU32::new(0));
        let process = here();
        let done = Done::counted(process, over.clone());
        // Blocked before the thread exists, so that it never runs a handler.
        let _mask = signal::block_all_on_this_thread();
        let handle = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let _done = done;
                work();
            })
            .map_err(|error| {
                Error::caused(ErrorKind::Os, format!("start the thread {name}"), error)
            })?;
        Ok(Self {
            process,
            over,
            handle: Mutex::new(Some(handle)),
        })
    }

    /// Waits until the thread has ended, for as long as `wait` allows; false
    /// if that was not long enough.
    ///
    /// # Errors
    /// The wait was interrupted.
    pub(crate) fn wait(&self, wait: &mut Wait<'_>) -> Result<bool> {
        // SYNC: engine thread over -> wait
        while self.over.load(Ordering::Acquire) == 0 {
            match wait.wait(&self.over, 0, None) {
                Ok(()) => {}
                Err(procession_sync::Stop::TimedOut) => {
                    return Ok(self.over.load(Ordering::Acquire) != 0);
                }
                Err(stop) => return Err(stop.into()),
            }
        }
        // It is on its way out. Once the system has it, it counts for nobody who wants to fork.
        let handle = self
            .handle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(handle) = handle
            && handle.join().is_err()
        {
            tracing::error!("a thread of the engine has panicked");
        }
        Ok(true)
    }
}

impl Drop for Thread {
    /// A fork has the handle but not the thread: to the system its number is nobody, or by now another thread of the fork's own.
    fn drop(&mut self) {
        if self.process != here() {
            let handle = self.handle.get_mut();
            let _ = ManuallyDrop::new(handle.unwrap_or_else(PoisonError::into_inner).take());
        }
    }
}

/// Says that the thread is over, however it ends.
struct Done {
    process: u64,
    over: Arc<AtomicU32>,
}

impl Done {
    fn counted(process: u64, over: Arc<AtomicU32>) -> Self {
        change(|running| {
            Some(if running >> PROCESS_SHIFT == process {
                running + 1
            } else {
                process << PROCESS_SHIFT | 1
            })
        });
        Self { process, over }
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        change(|running| (running >> PROCESS_SHIFT == self.process).then(|| running - 1));
        // SYNC: engine thread over -> wait
        self.over.store(1, Ordering::Release);
        futex::wake(&self.over, u32::MAX);
    }
}

fn change(next: impl FnMut(u64) -> Option<u64>) {
    // It is only not changed if the process says so.
    let _ = RUNNING.fetch_update(Ordering::AcqRel, Ordering::Relaxed, next);
}
