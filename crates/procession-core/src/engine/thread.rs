//! One engine thread: started, counted, waited for.

use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use procession_sync::{OwnerId, Waiter};
use procession_sys::{futex, signal};

use crate::error::{Error, ErrorKind, Result};
use crate::shm::Wait;
use crate::shm::identity;

static RUNNING: AtomicUsize = AtomicUsize::new(0);
/// The process in which `RUNNING` was counted, as an owner's bits.
static COUNTED_IN: AtomicU32 = AtomicU32::new(0);

/// How many engine threads this process has.
pub(crate) fn threads() -> usize {
    if COUNTED_IN.load(Ordering::Relaxed) == here() {
        RUNNING.load(Ordering::Acquire)
    } else {
        0
    }
}

fn here() -> u32 {
    identity::cached().map_or(0, OwnerId::to_bits)
}

/// A thread of the engine. Dropping the handle leaves it running.
#[derive(Debug)]
pub(crate) struct Thread {
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
        let done = Done(over.clone());
        // A fork copies the number but not the threads.
        if COUNTED_IN.swap(here(), Ordering::Relaxed) != here() {
            RUNNING.store(0, Ordering::Relaxed);
        }
        RUNNING.fetch_add(1, Ordering::AcqRel);
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

/// Says that the thread is over, however it ends.
struct Done(Arc<AtomicU32>);

impl Drop for Done {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, Ordering::AcqRel);
        // SYNC: engine thread over -> wait
        self.0.store(1, Ordering::Release);
        futex::wake(&self.0, u32::MAX);
    }
}
