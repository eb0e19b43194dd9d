//! `Object<T>`: a handle to something shared that lives as long as anybody holds it.
//!
//! Used for everything that the family shares: locks, values, queues, pools. All handles of one process share one
//! [`Holding`], which appears once in the process's ledger; cloning and dropping a handle touches private memory only.
//! A process that dies gives up all it held (see `recovery`); the contents must be such that a survivor can go on, which
//! each `T` documents.
//!
//! ```text
//! block:  Counted { count } | T (aligned) | extra bytes
//! ```

#![expect(
    unsafe_code,
    reason = "the contents are reached through the block's address"
)]

use super::block;
use super::kind::Kind;
use super::ledger::{self, AtHand};
use super::offset::BlockId;
use super::references::{self, Counted};
use super::{family, heap, identity};
use crate::crash::crash_point;
use crate::error::{Error, ErrorKind, Result};
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What an object of a kind looks like in shared memory.
///
/// # Safety
/// The type is `repr(C)`, consists of atomics only (of all that other processes may write), contains no address, is
/// valid when all its bytes are 0, needs no drop, and is the only one with this kind.
pub unsafe trait Layout: Sized + Sync + 'static {
    /// The number under which [`crate::kinds`] knows it.
    const KIND: Kind;
}

/// This process's share in one object.
#[derive(Debug)]
pub struct Holding {
    id: BlockId,
    data: NonNull<u8>,
    len: usize,
    cell: u32,
}

// SAFETY: the address is one of shared memory that stays mapped; what lies there is for any thread (`Layout`).
unsafe impl Send for Holding {}
// SAFETY: as above.
unsafe impl Sync for Holding {}

/// A handle to a shared `T`. Clones are cheap; the object ends with the last handle of the last process.
pub struct Object<T> {
    holding: Arc<Holding>,
    contents: PhantomData<fn() -> T>,
}

impl<T: Layout> Object<T> {
    const AT: usize = size_of::<Counted>().next_multiple_of(align_of::<T>());
    const EXTRA_AT: usize = (Self::AT + size_of::<T>()).next_multiple_of(16);

    /// Makes an object with `extra` bytes behind its `T`; all bytes are 0 when `init` is called, and nobody else sees
    /// the object before `init` has returned.
    ///
    /// # Errors
    /// The heap is over its budget or out of memory; this process belongs to no family.
    pub fn create(extra: usize, init: impl FnOnce(&T, NonNull<u8>)) -> Result<Self> {
        family::current()?;
        let len = extra
            .checked_add(Self::EXTRA_AT)
            .ok_or_else(|| Error::no_memory("allocate a shared object of this size"))?;
        // Its kind comes last: whoever sweeps a block of that kind may rely on zero bytes.
        let mut block = heap::allocate_zeroed(len)?;
        block.set_kind(T::KIND);
        let (id, data) = (block.id(), block.data());

        // SAFETY: the block is at least this long.
        let contents = unsafe { data.add(Self::AT) }.cast::<T>();
        // SAFETY: the place is aligned (blocks are aligned to their size), and zero bytes are a valid `T`.
        let contents = unsafe { contents.as_ref() };
        // SAFETY: the block is at least this long.
        let extra = unsafe { data.add(Self::EXTRA_AT) };
        init(contents, extra);

        let cell = ledger::lock()
            .take_cell()
            .inspect_err(|_| crate::kinds::destroy(T::KIND, &block))?;
        let place = ledger::place(cell)?;
        // SAFETY: an object's block begins with this, and zero bytes are valid.
        unsafe { data.cast::<Counted>().as_ref() }
            .count
            .store(1, Ordering::Relaxed);
        // Nobody else knows the object: until it is SHARED, dying here leaves a private block that the sweep takes apart.
        references::word_at(place)?.store(id.to_bits(), Ordering::Relaxed);
        crash_point!("object.evidenced");
        let _ = block.into_shared();
        crash_point!("object.shared");

        let holding = Arc::new(Holding {
            id,
            data,
            len,
            cell,
        });
        ledger::lock().at_hand.insert(id, AtHand::of(&holding));
        Ok(Self {
            holding,
            contents: PhantomData,
        })
    }

    /// A handle to the object that `id` names. Somebody must hold it during the call (a message that this process owns,
    /// for instance), or it may be gone.
    ///
    /// # Errors
    /// [`ErrorKind::StaleHandle`] if it is gone, [`ErrorKind::WrongKind`] if it holds something else.
    pub fn attach(id: BlockId) -> Result<Self> {
        let holding = Holding::of(id)?;

        Self::from_holding(holding)
    }

    pub(crate) fn from_holding(holding: Arc<Holding>) -> Result<Self> {
        let kind = holding.kind();
        if kind != Some(T::KIND) || holding.len < Self::EXTRA_AT {
            return Err(Error::new(
                ErrorKind::WrongKind,
                format!(
                    "use a shared object as {}: it is {}",
                    T::KIND,
                    kind.map_or_else(|| "gone".to_owned(), |kind| kind.to_string())
                ),
            ));
        }
        Ok(Self {
            holding,
            contents: PhantomData,
        })
    }

    /// The extra bytes, which any process may write at any time.
    #[must_use]
    pub fn extra(&self) -> NonNull<[u8]> {
        // SAFETY: the block is at least this long (checked when the handle was made).
        let first = unsafe { self.holding.data.add(Self::EXTRA_AT) };

        NonNull::slice_from_raw_parts(first, self.holding.len - Self::EXTRA_AT)
    }
}

impl<T> Object<T> {
    /// The object's name within its family.
    #[must_use]
    pub fn id(&self) -> BlockId {
        self.holding.id
    }

    /// This process's share, without a type.
    pub(crate) fn holding(&self) -> &Arc<Holding> {
        &self.holding
    }
}

impl<T> Clone for Object<T> {
    fn clone(&self) -> Self {
        Self {
            holding: Arc::clone(&self.holding),
            contents: PhantomData,
        }
    }
}

impl<T: Layout> Deref for Object<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the block is at least this long.
        let contents = unsafe { self.holding.data.add(Self::AT) }.cast::<T>();
        // SAFETY: the place is aligned and holds a `T` (kind and length were checked); the holding keeps it alive.
        unsafe { contents.as_ref() }
    }
}

impl<T> fmt::Debug for Object<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({:?})", self.holding.id)
    }
}

/// The `T` of an object's block, for the functions of [`crate::kinds`], which have the block exclusively.
pub fn contents<T: Layout>(block: &block::Block) -> Option<&T> {
    if block.kind() != T::KIND || block.len() < Object::<T>::EXTRA_AT {
        return None;
    }
    // SAFETY: the block is at least this long.
    let contents = unsafe { block.data().add(Object::<T>::AT) }.cast::<T>();
    // SAFETY: the place is aligned and holds a `T`, or zero bytes, which are a valid one.
    Some(unsafe { contents.as_ref() })
}

/// The extra bytes of an object's block, for the functions of [`crate::kinds`].
pub fn extra<T: Layout>(block: &block::Block) -> Option<NonNull<[u8]>> {
    let len = block.len().checked_sub(Object::<T>::EXTRA_AT)?;
    // SAFETY: the block is at least this long.
    let first = unsafe { block.data().add(Object::<T>::EXTRA_AT) };

    Some(NonNull::slice_from_raw_parts(first, len))
}

impl Holding {
    /// This process's share in the object that `id` names.
    pub(crate) fn of(id: BlockId) -> Result<Arc<Self>> {
        let mut ledger = ledger::lock();
        if let Some(holding) = ledger.at_hand(id) {
            return Ok(holding);
        }
        let cell = ledger.take_cell()?;
        drop(ledger);

        let taken = ledger::place(cell).and_then(|place| references::take(id, place));
        let found = taken.and_then(|()| {
            block::find(id).ok_or_else(|| {
                Error::new(ErrorKind::StaleHandle, "use a shared object: it is gone")
            })
        });
        let mut ledger = ledger::lock();
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                ledger.put_cell(cell);
                return Err(error);
            }
        };
        let holding = Arc::new(Self {
            id,
            data: found.data,
            len: found.len,
            cell,
        });

        // At most one holding of an object is in use, so that a fork can copy them all.
        if let Some(other) = ledger.at_hand(id) {
            drop(ledger);
            return Ok(other);
        }
        ledger.at_hand.insert(id, AtHand::of(&holding));
        Ok(holding)
    }

    pub(crate) fn id(&self) -> BlockId {
        self.id
    }

    pub(crate) fn cell(&self) -> u32 {
        self.cell
    }

    fn kind(&self) -> Option<Kind> {
        block::find(self.id).map(|found| found.kind)
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        // A forked child outside the family holds nothing.
        if identity::cached().is_none() {
            return;
        }
        if let Ok(place) = ledger::place(self.cell) {
            references::give_back(place);
        }

        let mut ledger = ledger::lock();
        if ledger
            .at_hand
            .get(&self.id)
            .is_some_and(|other| std::ptr::eq(other.holding.as_ptr(), self))
        {
            ledger.at_hand.remove(&self.id);
        }
        ledger.put_cell(self.cell);
    }
}
