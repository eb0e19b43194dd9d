//! `Held`: one of a queue's internal locks while this thread has it.
//!
//! Used by both ends and the task table. These locks are held for some hundred nanoseconds and never surface: whoever
//! finds the owner dead repairs first. So an operation does not give up on them because its own deadline has passed,
//! only if the holder is stuck (stopped by a signal, say) for longer than [`PATIENCE`]; an interruption is heeded at
//! once.

use crate::error::{Error, ErrorKind, Result};
use crate::shm::Wait;
use procession_sync::{Acquired, OwnerId, RawLock, Stop, Waiter};
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

/// How long an operation whose time is over still waits for a holder that lives.
const PATIENCE: Duration = Duration::from_secs(1);

/// The lock is released when this is dropped.
#[derive(Debug)]
pub(super) struct Held<'a> {
    lock: &'a RawLock,
}

impl<'a> Held<'a> {
    /// Acquires `lock`; `repair` runs first if its owner has died, and says true if it did.
    ///
    /// # Errors
    /// The operation was interrupted, or its time is over and the holder is stuck.
    #[inline]
    pub(super) fn acquire(
        lock: &'a RawLock,
        wait: &mut Wait<'_>,
        repair: impl FnOnce(),
    ) -> Result<(Self, bool)> {
        let acquired = match lock.try_acquire(wait) {
            Some(acquired) => acquired,
            None => acquire_slow(lock, wait)?,
        };
        let held = Self { lock };

        let found_dead = acquired == Acquired::OwnerDied;
        if found_dead {
            repair();
        }
        Ok((held, found_dead))
    }
}

impl Drop for Held<'_> {
    #[inline]
    fn drop(&mut self) {
        // Only who holds it releases it, so it cannot be free.
        let _ = self.lock.release(&Wait::never());
    }
}

#[cold]
fn acquire_slow(lock: &RawLock, wait: &mut Wait<'_>) -> Result<Acquired> {
    let mut patient = Patient {
        own: Wait::forever(),
        operation: wait,
        began: None,
    };

    lock.acquire(&mut patient).map_err(|stop| match stop {
        Stop::Interrupted => stop.into(),
        Stop::TimedOut => Error::new(
            ErrorKind::TimedOut,
            format!(
                "use the queue in time: {:?} has held its lock for {PATIENCE:?}",
                lock.owner()
            ),
        ),
    })
}

/// Waits for a lock on behalf of an operation, whose own budget for busy waiting it leaves alone.
struct Patient<'a, 'b> {
    own: Wait<'static>,
    operation: &'a mut Wait<'b>,
    began: Option<Instant>,
}

impl Waiter for Patient<'_, '_> {
    fn owner(&self) -> OwnerId {
        self.own.owner()
    }

    fn thread(&self) -> u32 {
        self.own.thread()
    }

    fn is_alive(&self, owner: OwnerId) -> bool {
        self.own.is_alive(owner)
    }

    fn spin(&mut self) -> bool {
        self.own.spin()
    }

    fn wait(
        &mut self,
        word: &AtomicU32,
        expected: u32,
        watched: Option<OwnerId>,
    ) -> std::result::Result<(), Stop> {
        let began = *self.began.get_or_insert_with(Instant::now);

        self.own.wait_regardless(word, expected, watched);
        self.operation.check_interrupt()?;
        if began.elapsed() >= PATIENCE && self.operation.remaining() == Some(Duration::ZERO) {
            return Err(Stop::TimedOut);
        }
        Ok(())
    }

    fn wake(&self, word: &AtomicU32, count: u32) -> u32 {
        self.own.wake(word, count)
    }
}
