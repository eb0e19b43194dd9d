//! `Condition`: waiting for a notification, with a lock given up meanwhile.
//!
//! Used by the faces' `Condition`. The object is a [`RawCondition`] with the name of its lock; the lock is an object of
//! its own, made with the condition or brought by the user, and every handle to a condition holds both. In a message it is
//! two handles. Beyond a few waiters the table goes on in chunks of the heap (see `overflow`), freed with the object.
//!
//! A waiter that dies swallows no notification. Whoever dies with the lock leaves it to the next that acquires it, or to a
//! waiter that takes it back: that one gets [`Acquired::OwnerDied`].

#![expect(unsafe_code, reason = "the layout of shared memory is a promise")]

use super::any_lock::AnyLock;
use super::overflow::Chunks;
use super::rlock::RLock;
use crate::error::{Error, ErrorKind, Result};
use crate::shm::{Block, BlockId, Kind, Layout, Object, Wait, handles, identity, object};
use procession_sync::{Acquired, Monitor, RawCondition, Waited};
use std::sync::atomic::{AtomicU64, Ordering};

/// A condition and its lock.
#[derive(Clone, Debug)]
pub struct Condition {
    object: Object<ConditionState>,
    lock: AnyLock,
}

/// The shared part. All-zero bytes are a condition that nobody waits for.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct ConditionState {
    raw: RawCondition,
    chunks: Chunks,
    /// Which lock guards it; never changes.
    lock: AtomicU64,
}

// SAFETY: atomics only, valid when all are 0; no other layout has this kind.
unsafe impl Layout for ConditionState {
    const KIND: Kind = Kind::CONDITION;
}

impl Condition {
    /// A condition with a lock of its own, an [`RLock`].
    ///
    /// # Errors
    /// The heap is over its budget or out of memory; this process belongs to no family.
    pub fn new() -> Result<Self> {
        Self::with_lock(RLock::new()?.into())
    }

    /// A condition that uses `lock`, which may serve other conditions and purposes too.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn with_lock(lock: AnyLock) -> Result<Self> {
        let object = Object::<ConditionState>::create(0, |state, _| {
            state.lock.store(lock.id().to_bits(), Ordering::Relaxed);
        })?;
        Ok(Self { object, lock })
    }

    /// Its lock, to be acquired before anything else.
    #[inline]
    #[must_use]
    pub const fn lock(&self) -> &AnyLock {
        &self.lock
    }

    /// Gives the lock up, waits for a notification, and takes the lock back as it was held, however long that takes:
    /// `wait` limits only the time until the notification. The lock is held again whatever the answer says.
    ///
    /// # Errors
    /// [`WrongState`](ErrorKind::WrongState) if the caller does not hold the lock; the heap is over its budget or out of
    /// memory, or too many wait already.
    pub fn wait(&self, wait: &mut Wait<'_>) -> Result<Waited> {
        self.check()?;
        self.object.raw.wait(
            wait,
            &mut Held {
                lock: &self.lock,
                count: 0,
            },
            &self.object.chunks,
        )
    }

    /// Notifies up to `count` of those that wait, oldest first, and says how many; `u32::MAX` is all.
    ///
    /// # Errors
    /// [`WrongState`](ErrorKind::WrongState) if the caller does not hold the lock.
    pub fn notify(&self, count: u32) -> Result<u32> {
        self.check()?;
        let state = &*self.object;
        Ok(state.raw.notify(count, &Wait::never(), &state.chunks))
    }

    /// How many wait and are not notified. Exact while the caller holds the lock.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.object.raw.waiting(&self.object.chunks)
    }

    /// The object's name within its family.
    #[must_use]
    pub fn id(&self) -> BlockId {
        self.object.id()
    }

    /// Notes that the message being serialised carries this handle; returns the indices to write in its place: the
    /// condition's and its lock's.
    ///
    /// # Errors
    /// As for [`handles::note`].
    pub fn note(&self) -> Result<(u32, u32)> {
        Ok((handles::note(&self.object)?, self.lock.note()?))
    }

    /// The handle at the indices `(condition, lock)` of the message being read.
    ///
    /// # Errors
    /// As for [`handles::resolve`], and [`WrongKind`](ErrorKind::WrongKind) if that is not the condition's lock.
    pub fn from_handle((condition, lock): (u32, u32)) -> Result<Self> {
        let object: Object<ConditionState> = handles::resolve(condition)?;
        let lock = AnyLock::from_handle(lock)?;

        if object.lock.load(Ordering::Relaxed) != lock.id().to_bits() {
            return Err(Error::new(
                ErrorKind::WrongKind,
                "deserialise a condition: the lock beside it is not its own",
            ));
        }
        Ok(Self { object, lock })
    }

    fn check(&self) -> Result<()> {
        identity::me()?;
        if self.lock.is_mine() {
            Ok(())
        } else {
            Err(not_held())
        }
    }
}

#[cold]
fn not_held() -> Error {
    Error::new(
        ErrorKind::WrongState,
        "use a condition: its lock is not held; acquire the condition first",
    )
}

/// The lock while its holder waits.
struct Held<'a> {
    lock: &'a AnyLock,
    count: u32,
}

impl Monitor for Held<'_> {
    fn unlock(&mut self) {
        self.count = self.lock.release_all();
    }

    fn relock(&mut self) -> Acquired {
        self.lock.reacquire(self.count)
    }
}

/// Frees what a condition's block refers to, for [`crate::kinds`].
pub(crate) fn destroy(block: &Block) {
    if let Some(state) = object::contents::<ConditionState>(block) {
        state.chunks.free();
    }
}
