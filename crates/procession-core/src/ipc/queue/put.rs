//! The producers' end: preparing a message outside the lock, and publishing it by one store inside.
//!
//! Used through `Queue::put` and its variants. A process that dies before the store of the tail loses the message it was
//! putting and nothing else; after it, the message is in the queue. What it leaves behind in between is put in order by
//! the next owner of the lock (`recovery.rs`); sleepers that it did not wake look by themselves within a second.

#![expect(unsafe_code, reason = "records are written into blocks of the heap")]

use super::Queue;
use super::cursor::{Cursor, LARGEST_BLOCK, UNIT, distance};
use super::held::Held;
use super::recovery;
use super::state::{BLOCK, LINK, MOST_INLINE, PutEnd, QueueState, REFERENCE_RECORD, SECOND_BLOCK};
use crate::crash::crash_point;
use crate::engine::notifier;
use crate::error::{Error, ErrorKind, Result};
use crate::shm::handles::Collected;
use crate::shm::{BlockId, Wait, heap, message};
use std::ptr::NonNull;
use std::sync::atomic::Ordering;

/// A message on its way into a queue.
#[derive(Debug)]
enum Outgoing<'a> {
    Inline {
        parts: &'a [&'a [u8]],
        len: usize,
    },
    /// `None` once it was published.
    Block(Option<message::Message>),
}

/// Whether there was room.
enum Room {
    Yes,
    No,
}

impl Queue {
    /// Puts one message, whose bytes are all of `parts` one after the other and which carries `handles`.
    ///
    /// Waits while a bounded queue is full. Returns once the message is in the queue: the process may end at once.
    ///
    /// # Errors
    /// [`ErrorKind::Full`] if there was no room in time, [`ErrorKind::Closed`], [`ErrorKind::Interrupted`], or no
    /// memory; the message was not put then.
    pub fn put(&self, parts: &[&[u8]], handles: &Collected, wait: &mut Wait<'_>) -> Result<()> {
        let mut outgoing = Outgoing::prepare(parts, handles)?;

        self.put_outgoing(&mut outgoing, wait)
    }

    /// Puts a message that was written in place.
    ///
    /// # Errors
    /// As [`Queue::put`]; the message is dropped.
    pub fn put_message(&self, message: message::Message, wait: &mut Wait<'_>) -> Result<()> {
        self.put_outgoing(&mut Outgoing::Block(Some(message)), wait)
    }

    /// Puts as many of the messages as there is room for, at least one, under one acquisition of the lock, and says how
    /// many. The messages carry no handles.
    ///
    /// # Errors
    /// As [`Queue::put`]; none was put then.
    pub fn put_many(&self, messages: &[&[u8]], wait: &mut Wait<'_>) -> Result<usize> {
        let none = Collected::none();
        let mut prepared = Vec::with_capacity(messages.len());
        for message in messages {
            prepared.push(Outgoing::prepare(std::slice::from_ref(message), &none)?);
        }
        if prepared.is_empty() {
            return Ok(0);
        }

        loop {
            let put = self.try_publish(&mut prepared, wait)?;
            if put > 0 {
                return Ok(put);
            }
            self.wait_for_room(wait)?;
        }
    }

    fn put_outgoing(&self, outgoing: &mut Outgoing<'_>, wait: &mut Wait<'_>) -> Result<()> {
        while self.try_publish(std::slice::from_mut(outgoing), wait)? == 0 {
            self.wait_for_room(wait)?;
        }
        Ok(())
    }

    /// Publishes messages until there is no room, and wakes who waits for them.
    fn try_publish(&self, messages: &mut [Outgoing<'_>], wait: &mut Wait<'_>) -> Result<usize> {
        let state = self.state();
        let held = lock_put_end(state, wait)?;
        crash_point!("queue.put.locked");

        let mut put = 0;
        let mut result = Ok(());
        for message in messages {
            match state.publish(message) {
                Ok(Room::Yes) => put += 1,
                Ok(Room::No) => break,
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        drop(held);
        crash_point!("queue.put.unlocked");

        self.was_filled_by(put, wait);
        match result {
            Err(error) if put == 0 => Err(error),
            _ => Ok(put),
        }
    }

    /// Wakes who waits for `count` messages.
    #[inline]
    pub(super) fn was_filled_by(&self, count: usize, wait: &Wait<'_>) {
        let words = &self.state().words;
        match count {
            0 => return,
            1 => words.ready.notify_one(wait),
            _ => words.ready.notify_all(wait),
        }

        // The notification has put a fence between the message and this look.
        if words.is_polled.load(Ordering::Relaxed) != 0 {
            words.polled.notify_all(wait);
            notifier::look_again(self.id());
        }
    }

    #[cold]
    fn wait_for_room(&self, wait: &mut Wait<'_>) -> Result<()> {
        let state = self.state();
        let may_go_on = || state.is_closed() || state.has_room();

        self.sleep(&state.words.space, may_go_on, wait)
            .map_err(|error| {
                if error.is_timeout() {
                    Error::new(
                        ErrorKind::Full,
                        "put a message into the queue: there was no room in time",
                    )
                } else {
                    error
                }
            })
    }
}

impl QueueState {
    pub(super) fn has_room(&self) -> bool {
        self.maxsize().is_none_or(|maxsize| self.len() < maxsize)
    }

    /// Publishes a small message; false if there is no room. The caller holds the put lock.
    pub(super) fn publish_bytes(&self, bytes: &[u8]) -> Result<bool> {
        let parts = [bytes];
        let mut outgoing = Outgoing::Inline {
            parts: &parts,
            len: bytes.len(),
        };

        Ok(matches!(self.publish(&mut outgoing)?, Room::Yes))
    }

    /// The caller holds the put lock.
    fn is_full(&self, tail: Cursor, maxsize: u64) -> bool {
        if distance(self.put.known_head.load(Ordering::Relaxed), tail.sequence()) < maxsize {
            return false;
        }

        let head = self.head();
        self.put
            .known_head
            .store(head.sequence(), Ordering::Relaxed);
        head.distance_to(tail) >= maxsize
    }

    /// Publishes one message if there is room. The caller holds the put lock.
    #[inline]
    fn publish(&self, message: &mut Outgoing<'_>) -> Result<Room> {
        let end = &self.put;
        let tail = Cursor::from_bits(end.tail.load(Ordering::Relaxed));

        if self.words.closed.load(Ordering::Relaxed) != 0 {
            return Err(Error::new(
                ErrorKind::Closed,
                "put a message into the queue: it was closed",
            ));
        }
        if self
            .maxsize()
            .is_some_and(|maxsize| self.is_full(tail, maxsize))
        {
            return Ok(Room::No);
        }

        let len = message.record_len();
        let place = self.place_for(tail, len)?;
        message.write(end, tail, place.address);
        crash_point!("queue.put.written");

        // SYNC: message published -> get
        end.tail
            .store(place.cursor.past_record(len).to_bits(), Ordering::Release);
        crash_point!("queue.put.published");
        if let Outgoing::Block(_) = message {
            end.publishing.store(0, Ordering::Release);
        }
        if place.cursor.side() != tail.side() {
            crash_point!("queue.put.continued");
            end.linking.store(0, Ordering::Release);
        }
        crash_point!("queue.put.settled");
        Ok(Room::Yes)
    }
}

/// Where a record goes.
struct Place {
    cursor: Cursor,
    address: NonNull<u8>,
}

impl QueueState {
    /// Room for a record of `len` bytes: at the tail, or else at the start of a new block.
    #[inline]
    fn place_for(&self, tail: Cursor, len: usize) -> Result<Place> {
        let end = &self.put;
        let block = address_of(end.blocks[tail.side()].load(Ordering::Relaxed))?;
        let capacity = end.capacities[tail.side()].load(Ordering::Relaxed) as usize;
        // SAFETY: the position lies inside the block, which is the queue's for as long as it is the tail's.
        let address = unsafe { block.add(tail.position()) };

        if tail.position() + len + REFERENCE_RECORD <= capacity {
            return Ok(Place {
                cursor: tail,
                address,
            });
        }
        self.go_on_in_new_block(tail, len, address)
    }

    /// Links a new block at `address`, the tail's. Consumers go there once the first message in it is published.
    #[cold]
    fn go_on_in_new_block(&self, tail: Cursor, len: usize, address: NonNull<u8>) -> Result<Place> {
        let end = &self.put;
        let next = tail.at_other_block();
        let capacity = self
            .next_capacity(tail)
            .max((len + REFERENCE_RECORD).next_power_of_two());
        let block = heap::allocate(capacity)?;

        end.linking.store(block.id().to_bits(), Ordering::Release);
        crash_point!("queue.put.linking");
        let id = block.into_queued();
        crash_point!("queue.put.linked");
        write_word(address, LINK | capacity as u64);
        // SAFETY: every block keeps room for its LINK record.
        write_word(unsafe { address.add(UNIT) }, id.to_bits());
        end.capacities[next.side()].store(capacity as u32, Ordering::Release);
        end.blocks[next.side()].store(id.to_bits(), Ordering::Release);
        crash_point!("queue.put.switched");
        Ok(Place {
            cursor: next,
            address: address_of(id.to_bits())?,
        })
    }

    /// Twice the tail's block while the consumers lag behind it, else half: a queue that is used for conversation stays
    /// small, and one that piles up needs few blocks.
    fn next_capacity(&self, tail: Cursor) -> usize {
        let current = self.put.capacities[tail.side()].load(Ordering::Relaxed) as usize;
        // Only a hint: consumers may go on meanwhile.
        let consumers = self.get.blocks[self.head().side()].load(Ordering::Relaxed);

        if consumers == self.put.blocks[tail.side()].load(Ordering::Relaxed) {
            (current / 2).max(SECOND_BLOCK)
        } else {
            (current * 2).clamp(SECOND_BLOCK, LARGEST_BLOCK)
        }
    }
}

impl<'a> Outgoing<'a> {
    /// Copies what does not travel inside the chain into a block of its own.
    fn prepare(parts: &'a [&'a [u8]], handles: &Collected) -> Result<Self> {
        let len = parts.iter().map(|part| part.len()).sum();

        if len <= MOST_INLINE && handles.is_empty() {
            return Ok(Self::Inline { parts, len });
        }
        let mut message = message::Message::create(handles, len)?;
        let mut rest = message.payload_mut();
        for part in parts {
            let (here, behind) = rest.split_at_mut(part.len());
            here.copy_from_slice(part);
            rest = behind;
        }
        Ok(Self::Block(Some(message)))
    }

    #[inline]
    fn record_len(&self) -> usize {
        match self {
            Self::Inline { len, .. } => UNIT + len.next_multiple_of(UNIT),
            Self::Block(_) => REFERENCE_RECORD,
        }
    }

    /// Writes the record. The caller holds the put lock and has made room.
    #[inline]
    fn write(&mut self, end: &PutEnd, tail: Cursor, address: NonNull<u8>) {
        match self {
            Self::Inline { parts, len } => {
                write_word(address, *len as u64);
                // SAFETY: the record has room for its header and payload.
                let mut to = unsafe { address.add(UNIT) };
                for part in *parts {
                    // SAFETY: as above; nobody else reads or writes behind the tail while the put lock is held.
                    unsafe { to.copy_from_nonoverlapping(NonNull::from(*part).cast(), part.len()) };
                    // SAFETY: at most one past the payload.
                    to = unsafe { to.add(part.len()) };
                }
            }
            Self::Block(block) => {
                let Some(block) = block.take().and_then(message::Message::into_block) else {
                    return;
                };

                end.publishing_sequence
                    .store(tail.sequence(), Ordering::Release);
                end.publishing
                    .store(block.id().to_bits(), Ordering::Release);
                crash_point!("queue.put.publishing");
                let id = block.into_queued();
                crash_point!("queue.put.queued");
                write_word(address, BLOCK);
                // SAFETY: the record has room for two words.
                write_word(unsafe { address.add(UNIT) }, id.to_bits());
            }
        }
    }
}

/// Acquires the put lock, and puts in order what a dead owner left.
#[inline]
pub(super) fn lock_put_end<'a>(state: &'a QueueState, wait: &mut Wait<'_>) -> Result<Held<'a>> {
    let (held, found_dead) = Held::acquire(&state.put.lock, wait, || recovery::put_end(state))?;

    // The dead owner may have published a message and told nobody.
    if found_dead {
        state.words.ready.notify_all(wait);
        state.words.polled.notify_all(wait);
    }
    Ok(held)
}

/// Where the block with the id in `word` lies in this process.
#[inline]
pub(super) fn address_of(word: u64) -> Result<NonNull<u8>> {
    match BlockId::from_bits(word) {
        Some(id) => id.offset().resolve(),
        None => Err(Error::new(
            ErrorKind::WrongLayout,
            "find the queue's block: it has none",
        )),
    }
}

#[inline]
fn write_word(address: NonNull<u8>, word: u64) {
    // SAFETY: callers pass places inside the tail's block, at multiples of 8 bytes, and hold the put lock.
    unsafe { address.cast::<u64>().write(word) };
}
