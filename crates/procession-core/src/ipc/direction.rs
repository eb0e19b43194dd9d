//! One direction of a stream: who may move bytes at either end, and whether the sequence of frames is still whole.
//!
//! ```text
//! lock       held by the process that uses this end of the direction, while it does
//! inside     0, or the number of the process that is in the middle of a frame
//! broken_by  0, or the number of the process that stopped or died in the middle of one: the direction is unusable
//! ```
//!
//! Nobody resynchronises a byte stream: a direction that lost its place stays broken at both ends, and says whose doing
//! it was. Where ends are shared by several processes, [`DirectionState`] lies in shared memory behind robust locks: a
//! process that dies between two frames passes its lock on; one that dies inside a frame breaks the direction for its
//! fellows (the lock tells them) and for the other end, which looks while it waits. `inside` is stored before the first
//! byte moves and cleared after the last, so the only error possible is to call a whole direction broken.

#![expect(unsafe_code, reason = "shared memory is laid out here")]

use crate::shm::wait::Wait;
use crate::shm::{Kind, Layout, Object};
use crate::{Error, ErrorKind, Result};
use procession_sync::{Acquired, RawLock, Waiter};
use procession_sys::process;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// The state of one direction of a stream, in memory that all processes with an end of it share.
#[derive(Debug, Default)]
#[repr(C)]
pub struct DirectionState {
    sender: End,
    receiver: End,
}

// SAFETY: atomics only, valid when zero.
unsafe impl Layout for DirectionState {
    const KIND: Kind = Kind::DIRECTION;
}

#[derive(Debug, Default)]
#[repr(C)]
struct End {
    lock: RawLock,
    inside: AtomicU32,
    broken_by: AtomicU32,
}

/// What this process does at its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Way {
    Send,
    Receive,
}

/// This process's part in a direction. The caller lets one thread at a time in.
#[derive(Debug)]
pub(super) struct Direction {
    way: Way,
    own: DirectionState,
    shared: Option<Object<DirectionState>>,
    /// The last call has kept the shared lock, in the middle of a frame.
    holding: AtomicBool,
}

impl Direction {
    pub(super) fn new(way: Way, shared: Option<Object<DirectionState>>) -> Self {
        Self {
            way,
            own: DirectionState::default(),
            shared,
            holding: AtomicBool::new(false),
        }
    }

    pub(super) fn shared(&self) -> Option<&Object<DirectionState>> {
        self.shared.as_ref()
    }

    fn state(&self) -> &DirectionState {
        self.shared.as_deref().unwrap_or(&self.own)
    }

    /// The end that this process uses.
    fn here(&self) -> &End {
        match self.way {
            Way::Send => &self.state().sender,
            Way::Receive => &self.state().receiver,
        }
    }

    fn there(&self) -> &End {
        match self.way {
            Way::Send => &self.state().receiver,
            Way::Receive => &self.state().sender,
        }
    }

    /// Is this process in the middle of a frame?
    pub(super) fn is_inside(&self) -> bool {
        self.here().inside.load(Ordering::Relaxed) == process::id()
    }

    /// Keeps other processes out; one that is in the middle of a frame has stayed in.
    ///
    /// # Errors
    /// Timed out, interrupted, broken.
    pub(super) fn enter(&self, wait: &mut Wait<'_>) -> Result<()> {
        let here = self.here();
        let goes_on = self.holding.load(Ordering::Relaxed) && self.is_inside();

        if self.shared.is_some() && !goes_on && here.lock.acquire(wait)? == Acquired::OwnerDied {
            here.blame(here.inside.load(Ordering::Relaxed));
        }

        match here.inside.load(Ordering::Relaxed) {
            0 => {}
            inside if inside == process::id() => {}
            // Without sharing: this process was forked while its parent was in the middle of a frame.
            inside => here.blame(inside),
        }
        match here.broken_by.load(Ordering::Relaxed) {
            0 => Ok(()),
            broken_by => {
                self.leave(wait);
                Err(self.out_of_step(self.way, broken_by))
            }
        }
    }

    /// The first byte of a frame is about to move.
    #[inline]
    pub(super) fn begin_frame(&self) {
        self.here().inside.store(process::id(), Ordering::Relaxed);
    }

    /// No byte moved, or the last one has.
    #[inline]
    pub(super) fn end_frame(&self) {
        self.here().inside.store(0, Ordering::Relaxed);
    }

    /// The frame will never be finished.
    #[cold]
    pub(super) fn break_off(&self) {
        self.here().blame(process::id());
    }

    /// Lets other processes in, unless this one is in the middle of a frame.
    #[inline]
    pub(super) fn leave(&self, wait: &Wait<'_>) {
        if self.shared.is_none() {
            return;
        }

        let inside = self.is_inside();
        self.holding.store(inside, Ordering::Relaxed);
        if !inside {
            let released = self.here().lock.release(wait);
            debug_assert!(
                released.is_ok(),
                "whoever is in the direction holds its lock"
            );
        }
    }

    /// Will the other end never go on, because it stopped or died in the middle of a frame?
    ///
    /// # Errors
    /// Broken, naming the process.
    pub(super) fn check_other_end(&self, wait: &Wait<'_>) -> Result<()> {
        if self.shared.is_none() {
            return Ok(());
        }

        let other = match self.way {
            Way::Send => Way::Receive,
            Way::Receive => Way::Send,
        };
        match self.there().given_up_by(wait) {
            0 => Ok(()),
            broken_by => Err(self.out_of_step(other, broken_by)),
        }
    }

    #[cold]
    fn out_of_step(&self, whose: Way, broken_by: u32) -> Error {
        let verb = match self.way {
            Way::Send => "send a message",
            Way::Receive => "receive a message",
        };
        let moved = match whose {
            Way::Send => "sent",
            Way::Receive => "received",
        };
        let who = if broken_by == process::id() {
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

impl End {
    /// Called by whoever holds the lock (or has the end alone).
    #[cold]
    fn blame(&self, process: u32) {
        if process != 0 && self.broken_by.load(Ordering::Relaxed) == 0 {
            self.broken_by.store(process, Ordering::Relaxed);
        }
        self.inside.store(0, Ordering::Relaxed);
    }

    /// The process that broke this end, though nobody may have noticed yet; else 0.
    fn given_up_by(&self, wait: &Wait<'_>) -> u32 {
        let broken_by = self.broken_by.load(Ordering::Relaxed);
        if broken_by != 0 {
            return broken_by;
        }

        // Only the lock's owner changes `inside`: with the same owner before and after, it is that owner's.
        let owner = self.lock.owner();
        let inside = self.inside.load(Ordering::Acquire);
        match owner {
            Some(dead) if inside != 0 && !wait.is_alive(dead) && self.lock.owner() == owner => {
                inside
            }
            _ => 0,
        }
    }
}
