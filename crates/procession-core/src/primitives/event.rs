//! `Event`: a flag that processes wait for.
//!
//! Used by the faces' `Event`. The object is one [`RawEvent`]. A waiter that dies keeps nobody else from passing; one that
//! waits for a process that dies before its `set` waits on, as nobody says who will set it.

#![expect(unsafe_code, reason = "the layout of shared memory is a promise")]

use crate::error::Result;
use crate::shm::{BlockId, Kind, Layout, Object, Wait, handles};
use procession_sync::RawEvent;

/// A flag that is set or not.
#[derive(Clone, Debug)]
pub struct Event {
    object: Object<RawEvent>,
}

// SAFETY: one atomic word, not set when it is 0; no other layout has this kind.
unsafe impl Layout for RawEvent {
    const KIND: Kind = Kind::EVENT;
}

impl Event {
    /// An event that is not set.
    ///
    /// # Errors
    /// The heap is over its budget or out of memory; this process belongs to no family.
    pub fn new() -> Result<Self> {
        Ok(Self {
            object: Object::create(0, |_, _| ())?,
        })
    }

    /// Sets the flag and wakes all that wait.
    pub fn set(&self) {
        self.object.set(&Wait::never());
    }

    /// Takes the flag down. Those who waited before the last `set` pass nevertheless.
    pub fn clear(&self) {
        self.object.clear();
    }

    /// Is it set?
    #[inline]
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.object.is_set()
    }

    /// Waits until it is set, or has been since the wait began.
    ///
    /// # Errors
    /// [`TimedOut`](crate::ErrorKind::TimedOut) or [`Interrupted`](crate::ErrorKind::Interrupted) when `wait` gave up.
    #[inline]
    pub fn wait(&self, wait: &mut Wait<'_>) -> Result<()> {
        Ok(self.object.wait(wait)?)
    }

    /// The object's name within its family.
    #[must_use]
    pub fn id(&self) -> BlockId {
        self.object.id()
    }

    /// Notes that the message being serialised carries this handle; returns the index to write in its place.
    ///
    /// # Errors
    /// As for [`handles::note`].
    pub fn note(&self) -> Result<u32> {
        handles::note(&self.object)
    }

    /// The handle at `index` of the message being read.
    ///
    /// # Errors
    /// As for [`handles::resolve`].
    pub fn from_handle(index: u32) -> Result<Self> {
        Ok(Self {
            object: handles::resolve(index)?,
        })
    }
}
