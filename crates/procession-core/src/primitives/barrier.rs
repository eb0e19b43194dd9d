//! `Barrier`: a number of parties that wait until all of them have come.
//!
//! Used by the faces' `Barrier`. The object is a [`RawBarrier`] with its table of participants, one word each, behind it.
//! The death of a waiting participant breaks the barrier for the others.

#![expect(
    unsafe_code,
    reason = "the table of participants lies behind the object's contents"
)]

use crate::error::{Error, ErrorKind, Result};
use crate::shm::{BlockId, Kind, Layout, Object, Wait, handles, identity};
use procession_sync::{BarrierError, RawBarrier};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A barrier, which can be passed again and again.
#[derive(Clone, Debug)]
pub struct Barrier {
    object: Object<BarrierState>,
}

/// The shared part. Behind it lies one word per participant.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct BarrierState {
    raw: RawBarrier,
    /// Whatever the face makes of it; never changes.
    tag: AtomicU64,
}

// SAFETY: atomics only, valid when all are 0; no other layout has this kind.
unsafe impl Layout for BarrierState {
    const KIND: Kind = Kind::BARRIER;
}

impl Barrier {
    /// A barrier for `parties` participants; `tag` is the face's, to find an action by, say.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) for no participants; the heap is over its budget or out of memory; this process
    /// belongs to no family.
    pub fn new(parties: u32, tag: u64) -> Result<Self> {
        if parties == 0 {
            return Err(Error::new(
                ErrorKind::Invalid,
                "make a barrier for 0 parties: it needs at least one",
            ));
        }
        let table = (parties as usize).saturating_mul(size_of::<AtomicU32>());
        let object = Object::<BarrierState>::create(table, |state, _| {
            state.raw.initialize(parties);
            state.tag.store(tag, Ordering::Relaxed);
        })?;
        Ok(Self { object })
    }

    /// Waits until all have come, and says as how many-th this one came, from 0. The last one runs its `action` before
    /// any of them passes; each participant brings an action or none does.
    ///
    /// # Errors
    /// [`Broken`](ErrorKind::Broken) if the barrier is broken or reset, or a participant dies;
    /// [`TimedOut`](ErrorKind::TimedOut) or [`Interrupted`](ErrorKind::Interrupted) when `wait` gave up, and the action's
    /// own error: both break the barrier for the others, as does an action that unwinds.
    pub fn wait<A, E>(&self, wait: &mut Wait<'_>, action: Option<A>) -> std::result::Result<u32, E>
    where
        A: FnOnce() -> std::result::Result<(), E>,
        E: From<Error>,
    {
        identity::me()?;
        let passed = self.object.raw.wait(wait, self.table(), action);
        passed.map_err(|error| match error {
            BarrierError::Action(error) => error,
            BarrierError::Stopped(stop) => Error::from(stop).into(),
            BarrierError::Broken => broken().into(),
        })
    }

    /// Breaks the barrier: all that wait fail, and whoever comes, until a reset.
    ///
    /// # Errors
    /// [`NotInFamily`](ErrorKind::NotInFamily) in a process that could not be told dead.
    pub fn abort(&self) -> Result<()> {
        identity::me()?;
        self.object.raw.abort(&mut Wait::forever(), self.table());
        Ok(())
    }

    /// Makes the barrier fresh again; all that wait fail.
    ///
    /// # Errors
    /// [`NotInFamily`](ErrorKind::NotInFamily) in a process that could not be told dead.
    pub fn reset(&self) -> Result<()> {
        identity::me()?;
        self.object.raw.reset(&mut Wait::forever(), self.table());
        Ok(())
    }

    /// How many must come.
    #[must_use]
    pub fn parties(&self) -> u32 {
        self.object.raw.parties()
    }

    /// How many have come and wait.
    #[must_use]
    pub fn n_waiting(&self) -> u32 {
        self.object.raw.n_waiting(self.table())
    }

    /// Is it broken?
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.object.raw.is_broken()
    }

    /// What it was made with.
    #[must_use]
    pub fn tag(&self) -> u64 {
        self.object.tag.load(Ordering::Relaxed)
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

    fn table(&self) -> &[AtomicU32] {
        let extra = self.object.extra();
        let room = extra.len() / size_of::<AtomicU32>();
        let parties = (self.parties() as usize).min(room);
        // SAFETY: the extra bytes are aligned to 16 and live as long as the object, there is room for so many, and any
        // bytes are valid atomics.
        unsafe { std::slice::from_raw_parts(extra.as_ptr().cast::<AtomicU32>(), parties) }
    }
}

#[cold]
fn broken() -> Error {
    Error::new(
        ErrorKind::Broken,
        "pass a barrier: it is broken, was reset, or a participant died; reset it first",
    )
}
