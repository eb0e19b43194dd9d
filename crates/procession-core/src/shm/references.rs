//! References: who holds which object, so that a dead holder's share can be given back exactly once.
//!
//! Used by ledgers (a process's own handles) and messages (handles on their way). An object (a block in state SHARED)
//! counts its holders; each holder is evidenced by one word elsewhere that names the object: a ledger cell or an entry of
//! a message's table. Count and evidence change together under one of 64 robust locks, chosen by the object:
//!
//! ```text
//! lock -> write the redo record {object, new count, evidence, new value} -> pending = 1
//!      -> count := new; if 0: SHARED -> PRIVATE(me); evidence := new value -> pending = 0 -> unlock
//! ```
//!
//! The record holds absolute values, so whoever takes the lock over from a dead owner applies it again. Before anything
//! that holds evidence is freed, [`settle`] makes sure that no record of a dead process still names it. The object whose
//! count fell to 0 is exclusively held by whoever brought it there (and swept if that process dies), taken apart by
//! [`crate::kinds`] and freed.

use super::block::{self, Block};
use super::offset::{BlockId, Offset};
use super::wait::Wait;
use super::{family, liveness};
use crate::crash::crash_point;
use crate::error::{Error, ErrorKind, Result};
use procession_sync::{Acquired, RawLock};
use std::cell::{Cell, RefCell};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// One of the locks with its redo record.
#[derive(Debug)]
#[repr(C, align(64))]
pub(crate) struct Shard {
    lock: RawLock,
    /// 1 while the record below is not fully applied.
    pending: AtomicU32,
    object: AtomicU64,
    count: AtomicU64,
    evidence: AtomicU64,
    value: AtomicU64,
}

/// What an object's block begins with.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Counted {
    /// How many holders there are; changes under the object's shard lock.
    pub(crate) count: AtomicU64,
    reserved: AtomicU64,
}

impl Shard {
    pub(crate) const COUNT: usize = 64;
}

/// One change of an object's count and of the evidence for it, as absolute values.
#[derive(Clone, Copy, Debug)]
struct Change {
    object: BlockId,
    count: u64,
    evidence: Offset,
    value: u64,
}

/// Adds a holder to `object`, evidenced by the word at `evidence`, which is 0 and belongs to the caller.
///
/// # Errors
/// [`ErrorKind::StaleHandle`] if the object is gone.
pub(crate) fn take(object: BlockId, evidence: Offset) -> Result<()> {
    word_at(evidence)?;
    let result = (|| {
        let locked = Locked::shard_of(object)?;
        let count = count_of(object).map_or(0, |count| count.load(Ordering::Relaxed));
        if count == 0 {
            return Err(stale(object));
        }

        locked.change(Change {
            object,
            count: count + 1,
            evidence,
            value: object.to_bits(),
        })
    })();

    bury();
    result
}

/// Gives back the holder evidenced by the word at `evidence`; does nothing if it is 0. The object is taken apart and
/// freed if that was the last one.
pub(crate) fn give_back(evidence: Offset) {
    let Ok(word) = word_at(evidence) else { return };
    let Some(object) = BlockId::from_bits(word.load(Ordering::Relaxed)) else {
        return;
    };

    if let Ok(locked) = Locked::shard_of(object) {
        // A redo record may have cleared it just now.
        if word.load(Ordering::Relaxed) == object.to_bits() {
            match count_of(object).map(|count| count.load(Ordering::Relaxed)) {
                Some(count) if count > 0 => {
                    let _ = locked.change(Change {
                        object,
                        count: count - 1,
                        evidence,
                        value: 0,
                    });
                }
                _ => word.store(0, Ordering::Relaxed),
            }
        }
    }
    bury();
}

/// Applies the records of all dead processes: afterwards none of them names anything that a dead process held.
pub(crate) fn settle() {
    let Some(header) = family::header() else {
        return;
    };

    for shard in &header.shards {
        if shard
            .lock
            .owner()
            .is_some_and(|owner| !liveness::is_alive(owner))
        {
            drop(Locked::acquire(shard));
        }
    }
    bury();
}

/// A shard lock, held.
struct Locked {
    shard: &'static Shard,
}

impl Locked {
    fn shard_of(object: BlockId) -> Result<Self> {
        let header = family::header()
            .ok_or_else(|| Error::new(ErrorKind::NotInFamily, "use a shared object"))?;
        let hash = object.to_bits().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;

        Self::acquire(&header.shards[hash as usize % Shard::COUNT])
    }

    /// Never waits for longer than a handful of stores, or for the end of a dying owner.
    fn acquire(shard: &'static Shard) -> Result<Self> {
        let acquired = shard.lock.acquire_regardless(&mut Wait::forever());
        let locked = Self { shard };

        // Also pending if a recoverer before could not reach the memory.
        if acquired == Acquired::OwnerDied || shard.pending.load(Ordering::Relaxed) != 0 {
            locked.redo()?;
        }
        Ok(locked)
    }

    fn change(&self, change: Change) -> Result<()> {
        let shard = self.shard;

        shard
            .object
            .store(change.object.to_bits(), Ordering::Relaxed);
        shard.count.store(change.count, Ordering::Relaxed);
        shard
            .evidence
            .store(change.evidence.to_bits(), Ordering::Relaxed);
        shard.value.store(change.value, Ordering::Relaxed);
        crash_point!("references.recorded");
        // SYNC: redo record written -> redo
        shard.pending.store(1, Ordering::Release);
        self.apply(change)?;
        // SYNC: redo record applied -> redo
        shard.pending.store(0, Ordering::Release);
        crash_point!("references.changed");
        Ok(())
    }

    fn apply(&self, change: Change) -> Result<()> {
        let evidence = word_at(change.evidence)?;

        crash_point!("references.pending");
        if let Some(count) = count_of(change.object) {
            count.store(change.count, Ordering::Relaxed);
            crash_point!("references.counted");
            if change.count == 0 && block::shared_to_private(change.object) {
                doom(change.object);
            }
        }
        crash_point!("references.doomed");
        // SYNC: evidence written -> whoever holds the shard lock next
        evidence.store(change.value, Ordering::Release);
        crash_point!("references.evidenced");
        Ok(())
    }

    #[cold]
    fn redo(&self) -> Result<()> {
        let shard = self.shard;
        // SYNC: redo record written -> redo
        if shard.pending.load(Ordering::Acquire) == 0 {
            return Ok(());
        }

        if let Some(object) = BlockId::from_bits(shard.object.load(Ordering::Relaxed)) {
            self.apply(Change {
                object,
                count: shard.count.load(Ordering::Relaxed),
                evidence: Offset::from_bits(shard.evidence.load(Ordering::Relaxed)),
                value: shard.value.load(Ordering::Relaxed),
            })?;
        }
        // SYNC: redo record applied -> redo
        shard.pending.store(0, Ordering::Release);
        Ok(())
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // Only this process holds it, so it cannot be free.
        let _ = self.shard.lock.release(&Wait::never());
    }
}

/// The count of an object that is still alive or on its way to its end.
fn count_of(object: BlockId) -> Option<&'static AtomicU64> {
    #![expect(
        unsafe_code,
        reason = "an object's header is reached through its block"
    )]

    let found = block::find(object)?;
    if !found.kind.is_object() || found.len < size_of::<Counted>() {
        return None;
    }
    // SAFETY: the block is live and at least this long, and blocks are aligned to 64 bytes; it may be freed meanwhile
    // only by whoever holds the shard lock, and even then stays mapped.
    Some(unsafe { &found.data.cast::<Counted>().as_ref().count })
}

/// The evidence word at a place of the heap.
pub(crate) fn word_at(place: Offset) -> Result<&'static AtomicU64> {
    #![expect(unsafe_code, reason = "an offset becomes a reference to an atomic")]

    let word: NonNull<AtomicU64> = place.resolve()?.cast();
    // SAFETY: evidence lies at a multiple of 8 inside a block that its user holds; heap memory is never unmapped.
    Ok(unsafe { word.as_ref() })
}

#[cold]
fn stale(object: BlockId) -> Error {
    Error::new(
        ErrorKind::StaleHandle,
        format!(
            "use the shared object {:#x}: its last holder has given it up",
            object.to_bits()
        ),
    )
}

thread_local! {
    /// Objects that this thread brought to 0 and has still to take apart.
    static DOOMED: RefCell<Vec<BlockId>> = const { RefCell::new(Vec::new()) };
    static BURYING: Cell<bool> = const { Cell::new(false) };
}

fn doom(object: BlockId) {
    // On a thread whose locals are gone it stays this process's private block until the process ends.
    let _ = DOOMED.try_with(|doomed| doomed.borrow_mut().push(object));
}

/// Takes apart what this thread brought to 0. What falls to 0 meanwhile joins the end of the list: a chain of queues in
/// queues, however long, takes no stack.
fn bury() {
    #![expect(unsafe_code, reason = "a doomed block becomes a value again")]

    if BURYING.try_with(|burying| burying.replace(true)) != Ok(false) {
        return;
    }
    while let Ok(Some(object)) = DOOMED.try_with(|doomed| doomed.borrow_mut().pop()) {
        // SAFETY: `shared_to_private` made it this process's, and its id was put into this list alone.
        if let Some(block) = unsafe { Block::adopt(object) } {
            crate::kinds::destroy(block.kind(), &block);
            crash_point!("references.destroyed");
            drop(block);
        }
    }
    let _ = BURYING.try_with(|burying| burying.set(false));
}
