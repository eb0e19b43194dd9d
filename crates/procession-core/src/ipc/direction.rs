//! One direction of a connection: who may move bytes, and whether the stream of frames is still whole.
//!
//! ```text
//! inside     0, or the number of the process that is in the middle of a frame
//! broken_by  0, or the number of the process that stopped or died in the middle of one: the direction is unusable
//! ```
//!
//! Nobody resynchronises a byte stream: a direction that lost its place stays broken, and says whose doing it was.
//! Where ends are shared by several processes, [`DirectionState`] lies in shared memory behind a robust lock: a process
//! that dies between two frames passes the lock on, one that dies inside a frame breaks the direction for all.
//! `inside` is stored before the first byte moves, so the only error possible is to call a whole stream broken.

use crate::shm::wait::Wait;
use crate::{Error, ErrorKind, Result};
use procession_sync::{Acquired, RawLock};
use procession_sys::process;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// The state of one direction; zero bytes are a fresh one. The lock guards the words where processes share it.
#[derive(Debug, Default)]
#[repr(C)]
pub struct DirectionState {
    lock: RawLock,
    inside: AtomicU32,
    broken_by: AtomicU32,
}

/// A [`DirectionState`] in memory that all processes with the same end of a stream share.
pub trait SharedDirection: fmt::Debug + Send + Sync {
    /// The state.
    fn state(&self) -> &DirectionState;
}

/// This process's part of a direction. The caller lets one thread at a time in.
#[derive(Debug, Default)]
pub(super) struct Direction {
    own: DirectionState,
    shared: Option<Arc<dyn SharedDirection>>,
    /// The last call has kept the shared lock, in the middle of a frame.
    holding: AtomicBool,
}

/// What is done in the middle of a frame, for messages.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    Send,
    Receive,
}

impl Direction {
    pub(super) fn new(shared: Option<Arc<dyn SharedDirection>>) -> Self {
        Self {
            own: DirectionState::default(),
            shared,
            holding: AtomicBool::new(false),
        }
    }

    fn state(&self) -> &DirectionState {
        self.shared
            .as_ref()
            .map_or(&self.own, |shared| shared.state())
    }

    /// Is this process in the middle of a frame, from an earlier call?
    pub(super) fn is_inside(&self) -> bool {
        self.state().inside.load(Ordering::Relaxed) == process::id()
    }

    /// Keeps other processes out; those that are in the middle of a frame stay in.
    ///
    /// # Errors
    /// Timed out, interrupted, broken.
    pub(super) fn enter(&self, way: Way, wait: &mut Wait<'_>) -> Result<()> {
        let state = self.state();
        let me = process::id();

        if let Some(shared) = &self.shared
            && !(self.holding.load(Ordering::Relaxed) && self.is_inside())
            && shared.state().lock.acquire(wait)? == Acquired::OwnerDied
        {
            state.blame(state.inside.load(Ordering::Relaxed));
        }

        match state.inside.load(Ordering::Relaxed) {
            0 => {}
            inside if inside == me && !state.is_broken() => {}
            // Without sharing: this process was forked while its parent was in the middle of a frame.
            inside => state.blame(inside),
        }
        match state.broken_by.load(Ordering::Relaxed) {
            0 => Ok(()),
            broken_by => {
                self.leave(wait);
                Err(out_of_step(way, broken_by, me))
            }
        }
    }

    /// The first byte of a frame is about to move.
    #[inline]
    pub(super) fn begin_frame(&self) {
        self.state().inside.store(process::id(), Ordering::Relaxed);
    }

    /// No byte moved, or the last one has.
    #[inline]
    pub(super) fn end_frame(&self) {
        self.state().inside.store(0, Ordering::Relaxed);
    }

    /// The frame will never be finished.
    #[cold]
    pub(super) fn break_off(&self) {
        self.state().blame(process::id());
    }

    /// Lets other processes in, unless this one is in the middle of a frame.
    #[inline]
    pub(super) fn leave(&self, wait: &Wait<'_>) {
        let Some(shared) = &self.shared else { return };
        let inside = self.is_inside();

        self.holding.store(inside, Ordering::Relaxed);
        if !inside {
            // A user's process may have released it meanwhile; then there is nothing to do.
            let _ = shared.state().lock.release(wait);
        }
    }
}

impl Drop for Direction {
    /// An end that is closed in the middle of a frame takes its place in the stream with it.
    fn drop(&mut self) {
        if self.holding.load(Ordering::Relaxed) && self.is_inside() {
            self.break_off();
            self.leave(&Wait::never());
        }
    }
}

impl DirectionState {
    fn is_broken(&self) -> bool {
        self.broken_by.load(Ordering::Relaxed) != 0
    }

    #[cold]
    fn blame(&self, process: u32) {
        if process != 0 && !self.is_broken() {
            self.broken_by.store(process, Ordering::Relaxed);
        }
        self.inside.store(0, Ordering::Relaxed);
    }
}

#[cold]
fn out_of_step(way: Way, broken_by: u32, me: u32) -> Error {
    let (verb, moved) = match way {
        Way::Send => ("send a message", "sent"),
        Way::Receive => ("receive a message", "received"),
    };
    let who = if broken_by == me {
        "this process".to_owned()
    } else {
        format!("process {broken_by}")
    };

    Error::new(
        ErrorKind::Broken,
        format!(
            "{verb}: {who} stopped or died when it had {moved} a part of one; make a new connection"
        ),
    )
}
