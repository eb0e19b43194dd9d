//! `Message`: a block with a payload and the handles that travel in it.
//!
//! Used by queues, by the arguments of processes, by pools: whatever is serialised with handles inside becomes one. The
//! table of handles is evidence (see `references`): its entries are taken when the message is made, while it is private
//! to its maker, and given back by whoever frees the block, from the table alone, without knowing the payload. So a
//! message that is never received, whose sender or receiver dies, or that lies in a queue when the queue ends, gives back
//! what it holds.
//!
//! Descriptors that travel in it wait with the family's keeper under the block's name. The header counts those that
//! nobody has claimed, so that whoever frees the block can tell the keeper, which finds out by itself if nobody does.
//!
//! ```text
//! block:  handles: u32 | descriptors: u32 | payload length: u64 | entries: u64 each | payload (aligned to 16)
//! ```

#![expect(
    unsafe_code,
    reason = "the parts are reached through the block's address"
)]

use super::block::Block;
use super::handles::{self, Arrived, Collected, Descriptors, Reading};
use super::heap;
use super::kind::Kind;
use super::offset::BlockId;
use super::references;
use crate::crash::crash_point;
use crate::error::{Error, Result};
use procession_sync::OwnerId;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

#[derive(Debug)]
#[repr(C)]
struct Header {
    handles: AtomicU32,
    descriptors: AtomicU32,
    payload: AtomicU64,
}

/// A message that this process holds exclusively. Dropping it gives back its handles and its block.
#[derive(Debug)]
pub struct Message {
    /// Empty once the message has been handed on.
    block: Option<Block>,
}

impl Message {
    /// A message with room for `payload` bytes that holds what an encoder collected.
    ///
    /// # Errors
    /// The heap is over its budget or out of memory; the family's keeper cannot take the descriptors.
    pub fn create(collected: &Collected, payload: usize) -> Result<Self> {
        let handles = collected.ids();
        let count = u32::try_from(handles.len()).map_err(|_| too_large())?;
        let len = payload
            .checked_add(payload_at(handles.len()))
            .ok_or_else(too_large)?;
        let block = heap::allocate_kind(len, Kind::MESSAGE)?;

        // Before the count says so, an entry is no evidence; from then on it must be 0 or true.
        for index in 0..handles.len() {
            entry(Span::of(&block), index).store(0, Ordering::Relaxed);
        }
        header(Span::of(&block))
            .payload
            .store(payload as u64, Ordering::Relaxed);
        header(Span::of(&block))
            .descriptors
            .store(0, Ordering::Relaxed);
        // SYNC: message's table cleared -> destroy
        header(Span::of(&block))
            .handles
            .store(count, Ordering::Release);
        let message = Self { block: Some(block) };
        crash_point!("message.begun");

        for (index, id) in handles.iter().enumerate() {
            let place = message.block().id().offset().plus(entry_at(index) as u64);
            references::take(*id, place)?;
            crash_point!("message.handle");
        }
        if !collected.descriptors().is_empty() {
            message.deposit(collected.descriptors())?;
        }
        Ok(message)
    }

    #[cold]
    fn deposit(&self, descriptors: &[OwnedFd]) -> Result<()> {
        let count = u32::try_from(descriptors.len()).map_err(|_| too_large())?;

        (handles::keeping()?.deposit)(self.id(), descriptors)?;
        crash_point!("message.deposited");
        header(Span::of(self.block()))
            .descriptors
            .store(count, Ordering::Relaxed);
        Ok(())
    }

    /// Takes over a block that is private to this process.
    ///
    /// # Safety
    /// The block was made by [`Message::create`].
    #[must_use]
    pub unsafe fn from_block(block: Block) -> Self {
        Self { block: Some(block) }
    }

    /// Hands the block on as it is; its next owner frees it as a message.
    #[must_use]
    pub fn into_block(mut self) -> Option<Block> {
        self.block.take()
    }

    /// Takes a queued message: exactly one of all who try gets it.
    #[must_use]
    pub fn claim(id: BlockId) -> Option<Self> {
        Block::claim(id)
            .filter(|block| block.kind() == Kind::MESSAGE)
            .map(|block| Self { block: Some(block) })
    }

    /// The message that another process gave to this one.
    #[must_use]
    pub(crate) fn adopt(id: BlockId) -> Option<Self> {
        // SAFETY: the giver kept no value, and this process learns the id from one place only: its launch.
        let block = unsafe { Block::adopt(id) }?;

        (block.kind() == Kind::MESSAGE).then_some(Self { block: Some(block) })
    }

    /// A look at it, for the part of it that other processes change.
    pub(crate) fn view(&self) -> View {
        View(Span::of(self.block()), self.id())
    }

    /// Its block's name.
    #[must_use]
    pub fn id(&self) -> BlockId {
        self.block().id()
    }

    /// Leaves it to whoever [claims](Self::claim) it.
    pub fn into_queued(mut self) -> BlockId {
        match self.block.take() {
            Some(block) => block.into_queued(),
            None => unreachable!("only into_block empties it, and consumes the message"),
        }
    }

    /// Makes it another process's, which [adopts](Self::adopt) it, and whose death frees it.
    pub(crate) fn give(mut self, to: OwnerId) -> BlockId {
        match self.block.take() {
            Some(block) => block.give(to),
            None => unreachable!("only into_block empties it, and consumes the message"),
        }
    }

    /// Lets this thread's deserialisers resolve the message's handles as long as the result lives.
    ///
    /// # Errors
    /// This process belongs to no family.
    pub fn begin_reading(&self) -> Result<Reading> {
        self.view().begin_reading()
    }

    /// As [`begin_reading`](Self::begin_reading), for a message whose descriptors have come another way.
    ///
    /// # Errors
    /// This process belongs to no family.
    pub(crate) fn begin_reading_with(&self, arrived: Arrived) -> Result<Reading> {
        let descriptors = Descriptors::Arrived(arrived);

        Ok(Reading::begin_with(
            super::family::id()?,
            self.handles(),
            descriptors,
        ))
    }

    /// What the message's handles name, in the order in which they were collected.
    #[must_use]
    pub fn handles(&self) -> Vec<Option<BlockId>> {
        handles_of(Span::of(self.block()))
    }

    /// The payload.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        let (first, len) = payload_of(Span::of(self.block()));

        // SAFETY: the range lies inside the block (`payload_of` sees to it), which this process holds exclusively.
        unsafe { std::slice::from_raw_parts(first.as_ptr(), len) }
    }

    /// The payload, to be written.
    pub fn payload_mut(&mut self) -> &mut [u8] {
        let (first, len) = payload_of(Span::of(self.block()));

        // SAFETY: as for `payload`; the borrow of `self` makes it exclusive within the process.
        unsafe { std::slice::from_raw_parts_mut(first.as_ptr(), len) }
    }

    fn block(&self) -> &Block {
        match &self.block {
            Some(block) => block,
            None => unreachable!("only into_block empties it, and consumes the message"),
        }
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        if let Some(block) = &self.block
            && block.is_ours()
        {
            destroy(block);
        }
    }
}

/// Gives back the handles in the table; the block's holder frees it afterwards.
pub(crate) fn destroy(block: &Block) {
    if block.len() >= size_of::<Header>()
        && header(Span::of(block))
            .descriptors
            .swap(0, Ordering::Relaxed)
            > 0
        && let Ok(keeping) = handles::keeping()
    {
        (keeping.release)(block.id());
    }
    for index in 0..handles_in(Span::of(block)) {
        references::give_back(block.id().offset().plus(entry_at(index) as u64));
        crash_point!("message.given");
    }
    header(Span::of(block)).handles.store(0, Ordering::Relaxed);
}

/// A look at a message that another process holds.
///
/// The holder keeps the message, and does not change what lies behind the part that the two agree to share, as long as
/// the view is used; the pool's tasks are such messages.
#[derive(Clone, Copy, Debug)]
pub struct View(Span, BlockId);

// SAFETY: an address of shared memory, which stays mapped, for reading.
unsafe impl Send for View {}

impl View {
    /// `None` if the message is gone.
    #[must_use]
    pub(crate) fn of(id: BlockId) -> Option<Self> {
        let found = super::block::find(id)?;

        let span = Span {
            data: found.data,
            len: found.len,
        };

        (found.kind == Kind::MESSAGE).then_some(Self(span, id))
    }

    /// The payload from byte `skip` on.
    #[must_use]
    pub fn payload_behind(&self, skip: usize) -> &[u8] {
        let (first, len) = payload_of(self.0);
        let skip = skip.min(len);
        // SAFETY: inside the payload.
        let first = unsafe { first.add(skip) };

        // SAFETY: inside the block (`payload_of`), which stays mapped, and which its holder does not change (see the type).
        unsafe { std::slice::from_raw_parts(first.as_ptr(), len - skip) }
    }

    /// Does it carry any handle or descriptor?
    #[must_use]
    pub fn has_handles(&self) -> bool {
        handles_in(self.0) > 0 || self.descriptors() > 0
    }

    /// How many descriptors of it nobody has claimed.
    fn descriptors(&self) -> u32 {
        if self.0.len < size_of::<Header>() {
            return 0;
        }
        header(self.0).descriptors.load(Ordering::Relaxed)
    }

    /// One descriptor has left the keeper.
    pub(crate) fn descriptor_claimed(&self) {
        let count = &header(self.0).descriptors;

        // Never below 0, whatever the block says.
        let _ = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            count.checked_sub(1)
        });
    }

    /// Where the payload begins, for the part that both sides use as atomics.
    pub(crate) fn payload_start(&self) -> NonNull<u8> {
        payload_of(self.0).0
    }

    /// Lets this thread's deserialisers resolve the message's handles as long as the result lives.
    ///
    /// # Errors
    /// This process belongs to no family.
    pub fn begin_reading(&self) -> Result<Reading> {
        let descriptors = match self.descriptors() {
            0 => Descriptors::None,
            _ => Descriptors::Kept(*self, self.1),
        };

        Ok(Reading::begin_with(
            super::family::id()?,
            handles_of(self.0),
            descriptors,
        ))
    }
}

/// Where a message's block lies in this process.
#[derive(Clone, Copy, Debug)]
struct Span {
    data: NonNull<u8>,
    len: usize,
}

impl Span {
    fn of(block: &Block) -> Self {
        Self {
            data: block.data(),
            len: block.len(),
        }
    }
}

fn handles_of(block: Span) -> Vec<Option<BlockId>> {
    (0..handles_in(block))
        .map(|index| BlockId::from_bits(entry(block, index).load(Ordering::Relaxed)))
        .collect()
}

/// How many entries the table has; never more than fit, whatever the block says.
fn handles_in(block: Span) -> usize {
    if block.len < size_of::<Header>() {
        return 0;
    }
    // SYNC: message's table cleared -> destroy
    let count = header(block).handles.load(Ordering::Acquire) as usize;

    count.min((block.len - size_of::<Header>()) / size_of::<AtomicU64>())
}

fn payload_of(block: Span) -> (NonNull<u8>, usize) {
    let at = payload_at(handles_in(block)).min(block.len);
    let len = (header(block).payload.load(Ordering::Relaxed) as usize).min(block.len - at);

    // SAFETY: the block is at least this long.
    (unsafe { block.data.add(at) }, len)
}

const fn entry_at(index: usize) -> usize {
    size_of::<Header>() + index * size_of::<AtomicU64>()
}

const fn payload_at(handles: usize) -> usize {
    entry_at(handles).next_multiple_of(16)
}

fn header<'a>(block: Span) -> &'a Header {
    // SAFETY: blocks are aligned to 64 bytes and at least that long; any bytes are valid atomics, and stay mapped.
    unsafe { block.data.cast().as_ref() }
}

fn entry<'a>(block: Span, index: usize) -> &'a AtomicU64 {
    // SAFETY: callers stay below the number of entries that fit into the block.
    let place = unsafe { block.data.add(entry_at(index)) }.cast::<AtomicU64>();
    // SAFETY: the place is aligned to 8 and inside the block; any bytes are a valid atomic, and stay mapped.
    unsafe { place.as_ref() }
}

#[cold]
fn too_large() -> Error {
    Error::no_memory("make a message of this size")
}
