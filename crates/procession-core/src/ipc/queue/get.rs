//! The consumers' end: delivering a message by one store inside the lock.
//!
//! Used through `Queue::get` and its variants. A process that dies before the store of the head leaves the message for
//! others; after it, the message is lost with the process that it was delivered to. What it leaves behind in between is
//! put in order by the next owner of the lock (`recovery.rs`).

#![expect(unsafe_code, reason = "records are read from blocks of the heap")]

use super::Queue;
use super::cursor::{Cursor, UNIT};
use super::held::Held;
use super::message::Message;
use super::put::address_of;
use super::recovery;
use super::state::{BLOCK, GetEnd, LEN, LINK, QueueState, REFERENCE_RECORD};
use super::tasks::{MyEntry, Tasks};
use crate::crash::crash_point;
use crate::engine::notifier;
use crate::error::{Error, ErrorKind, Result};
use crate::shm::{Block, BlockId, Kind, Wait, message};
use std::ptr::NonNull;
use std::sync::atomic::Ordering;

/// Where [`Queue::get_into`] left a message.
#[derive(Debug)]
pub enum Received {
    /// Its bytes are the buffer's contents.
    Inline,
    /// It has a block of its own; the buffer is empty.
    Block(Message),
}

impl Queue {
    /// Takes the oldest message, waiting for one.
    ///
    /// # Errors
    /// [`ErrorKind::Empty`] if none came in time, [`ErrorKind::Closed`] if the queue is closed and has no more,
    /// [`ErrorKind::Interrupted`].
    pub fn get(&self, wait: &mut Wait<'_>) -> Result<Message> {
        let mut buffer = Vec::new();

        Ok(match self.get_into(&mut buffer, wait)? {
            Received::Inline => Message::inline(buffer),
            Received::Block(message) => message,
        })
    }

    /// As [`Queue::get`], into a buffer that the caller keeps: allocates nothing for a small message.
    ///
    /// # Errors
    /// As [`Queue::get`].
    pub fn get_into(&self, buffer: &mut Vec<u8>, wait: &mut Wait<'_>) -> Result<Received> {
        loop {
            if let Some(received) = self.try_take(buffer, wait)? {
                return Ok(received);
            }
            self.wait_for_message(wait)?;
        }
    }

    /// Takes the oldest messages, at most `max`, under one acquisition of the lock; waits for the first.
    ///
    /// # Errors
    /// As [`Queue::get`].
    pub fn get_many(&self, max: usize, wait: &mut Wait<'_>) -> Result<Vec<Message>> {
        if max == 0 {
            return Ok(Vec::new());
        }
        loop {
            let messages = self.try_take_many(max, wait)?;
            if !messages.is_empty() {
                return Ok(messages);
            }
            self.wait_for_message(wait)?;
        }
    }

    #[inline]
    fn try_take(&self, buffer: &mut Vec<u8>, wait: &mut Wait<'_>) -> Result<Option<Received>> {
        let mut received = None;

        self.take_while(wait, None, |taking| {
            received = taking.next(buffer)?;
            Ok(false)
        })?;
        Ok(received)
    }

    fn try_take_many(&self, max: usize, wait: &mut Wait<'_>) -> Result<Vec<Message>> {
        let mut messages = Vec::new();
        let result = self.take_while(wait, None, |taking| {
            let mut buffer = Vec::new();
            match taking.next(&mut buffer)? {
                Some(Received::Inline) => messages.push(Message::inline(buffer)),
                Some(Received::Block(message)) => messages.push(message),
                None => return Ok(false),
            }
            Ok(messages.len() < max)
        });

        // An error behind the first message meets the next call again.
        if messages.is_empty() {
            result?;
        }
        Ok(messages)
    }

    /// Calls `take` with the get lock held until it says false; then tells those who wait for room.
    #[inline]
    fn take_while<'a>(
        &'a self,
        wait: &mut Wait<'_>,
        note: Option<Note<'a>>,
        mut take: impl FnMut(&mut Taking<'a>) -> Result<bool>,
    ) -> Result<()> {
        let state = self.state();
        if !state.may_have_message() {
            return Ok(());
        }
        let entry = match Tasks::of(state)? {
            Some(tasks) => Some(tasks.mine(wait)?),
            None => None,
        };

        let held = lock_get_end(state, wait)?;
        crash_point!("queue.get.locked");
        let mut taking = Taking {
            state,
            entry,
            note,
            count: 0,
            left: None,
        };
        let mut go_on = Ok(true);
        while let Ok(true) = go_on {
            go_on = take(&mut taking);
        }
        drop(held);
        crash_point!("queue.get.unlocked");

        if taking.count > 0 {
            self.was_drained_by(taking.count, wait);
        }
        go_on.map(drop)
    }

    /// Takes one message, if there is one, after telling `note` its number and bytes.
    pub(super) fn take_noting(&self, wait: &mut Wait<'_>, note: Note<'_>) -> Result<()> {
        let mut buffer = Vec::with_capacity(size_of::<u64>());

        self.take_while(wait, Some(note), |taking| {
            taking.next(&mut buffer)?;
            Ok(false)
        })
    }

    #[inline]
    fn was_drained_by(&self, count: usize, wait: &Wait<'_>) {
        let words = &self.state().words;

        if words.maxsize.load(Ordering::Relaxed) != 0 {
            match count {
                1 => words.space.notify_one(wait),
                _ => words.space.notify_all(wait),
            }
        }
        self.correct_readiness();
    }

    /// Lowers this process's descriptor, if it has one, once nothing is left to get.
    #[inline]
    fn correct_readiness(&self) {
        let state = self.state();

        if state.words.is_polled.load(Ordering::Relaxed) != 0 && state.is_empty() {
            notifier::look_again(self.id());
        }
    }

    #[cold]
    pub(super) fn wait_for_message(&self, wait: &mut Wait<'_>) -> Result<()> {
        let state = self.state();
        self.correct_readiness();

        self.sleep(
            &state.words.ready,
            || state.is_closed() || !state.is_empty(),
            wait,
        )
        .map_err(|error| {
            if error.is_timeout() {
                Error::new(
                    ErrorKind::Empty,
                    "get a message from the queue: none came in time",
                )
            } else {
                error
            }
        })?;
        // Nothing is put once it is closed, so the order of the two looks decides.
        if state.is_closed() && state.is_empty() {
            return Err(Error::new(
                ErrorKind::Closed,
                "get a message from the queue: it was closed and is empty",
            ));
        }
        Ok(())
    }
}

/// Called under the get lock with a small message's number and bytes.
type Note<'a> = &'a mut dyn FnMut(u64, &[u8]);

/// The consumers' end while this thread holds its lock.
struct Taking<'a> {
    state: &'a QueueState,
    entry: Option<MyEntry<'a>>,
    /// Told of each message before it is delivered.
    note: Option<Note<'a>>,
    count: usize,
    /// The block that the head has left: freed after the lock.
    left: Option<Block>,
}

impl Taking<'_> {
    /// Delivers the oldest message, if there is one.
    #[inline]
    fn next(&mut self, buffer: &mut Vec<u8>) -> Result<Option<Received>> {
        let end = &self.state.get;
        let mut head = Cursor::from_bits(end.head.load(Ordering::Relaxed));
        if !self.state.has_message_at(head) {
            return Ok(None);
        }

        buffer.clear();
        let mut record = end.record_at(head)?;
        if record.header & LINK != 0 {
            (head, record) = self.go_on_in_next_block(head, &record)?;
        }

        end.taking_sequence
            .store(head.sequence(), Ordering::Release);
        if let Some(entry) = self.entry {
            entry.begin_count(self.state);
        }
        let received = if record.header & BLOCK == 0 {
            let len = (record.header & LEN) as usize;
            record.check_len(len)?;
            // SAFETY: checked to lie in the block; published records do not change, and the get lock keeps them here.
            buffer.extend_from_slice(unsafe {
                std::slice::from_raw_parts(record.payload().as_ptr(), len)
            });
            if let Some(note) = &mut self.note {
                note(head.sequence(), buffer);
            }
            end.deliver(head, UNIT + len.next_multiple_of(UNIT));
            Received::Inline
        } else {
            record.check_len(UNIT)?;
            Received::Block(end.deliver_block(head, record.second_word())?)
        };
        if let Some(entry) = self.entry {
            entry.finish_count(self.state);
        }
        crash_point!("queue.get.settled");
        self.count += 1;
        Ok(Some(received))
    }

    /// Follows the LINK at `head`, behind which there is a message.
    #[cold]
    fn go_on_in_next_block(&mut self, head: Cursor, link: &Record) -> Result<(Cursor, Record)> {
        let end = &self.state.get;
        let next = head.at_other_block();
        let old = end.blocks[head.side()].load(Ordering::Relaxed);
        link.check_len(UNIT)?;
        let id = link.second_word();
        address_of(id)?;

        end.retiring.store(old, Ordering::Release);
        crash_point!("queue.get.retiring");
        end.capacities[next.side()].store((link.header & LEN) as u32, Ordering::Release);
        end.blocks[next.side()].store(id, Ordering::Release);
        crash_point!("queue.get.linked");
        end.head.store(next.to_bits(), Ordering::Release);
        crash_point!("queue.get.switched");
        self.left = BlockId::from_bits(old).and_then(Block::claim);
        crash_point!("queue.get.left");
        end.retiring.store(0, Ordering::Release);

        Ok((next, end.record_at(next)?))
    }
}

impl QueueState {
    /// Frees all messages and the last block. The caller holds the queue exclusively.
    pub(super) fn drain(&self) {
        let mut buffer = Vec::new();
        let mut taking = Taking {
            state: self,
            entry: None,
            note: None,
            count: 0,
            left: None,
        };
        while let Ok(Some(_)) = taking.next(&mut buffer) {}

        let head = Cursor::from_bits(self.get.head.load(Ordering::Relaxed));
        recovery::settle(&self.get.blocks[head.side()], false);
    }

    /// A look without the lock: false is certain.
    #[inline]
    fn may_have_message(&self) -> bool {
        let head = self.head();

        self.get.known_tail.load(Ordering::Relaxed) != head.sequence()
            || self.tail().sequence() != head.sequence()
    }

    /// Is there a message at the head? The caller holds the get lock.
    #[inline]
    fn has_message_at(&self, head: Cursor) -> bool {
        if self.get.known_tail.load(Ordering::Relaxed) != head.sequence() {
            return true;
        }

        let tail = self.tail();
        self.get
            .known_tail
            .store(tail.sequence(), Ordering::Relaxed);
        tail.sequence() != head.sequence()
    }
}

impl GetEnd {
    #[inline]
    fn record_at(&self, head: Cursor) -> Result<Record> {
        let block = address_of(self.blocks[head.side()].load(Ordering::Relaxed))?;
        let room = (self.capacities[head.side()].load(Ordering::Relaxed) as usize)
            .saturating_sub(head.position());
        if room < REFERENCE_RECORD {
            return Err(damaged());
        }
        // SAFETY: inside the block, which is the queue's for as long as it is the head's.
        let address = unsafe { block.add(head.position()) };

        Ok(Record {
            address,
            room,
            header: read_word(address),
        })
    }

    /// The message at `head` is delivered; its record has `len` bytes.
    #[inline]
    fn deliver(&self, head: Cursor, len: usize) {
        crash_point!("queue.get.copied");
        // SYNC: message delivered -> put
        self.head
            .store(head.past_record(len).to_bits(), Ordering::Release);
        crash_point!("queue.get.delivered");
    }

    /// Delivers a message that has a block of its own, which is this process's from then on.
    fn deliver_block(&self, head: Cursor, id: u64) -> Result<Message> {
        self.taking.store(id, Ordering::Release);
        self.deliver(head, REFERENCE_RECORD);
        let block = BlockId::from_bits(id).and_then(Block::claim);
        crash_point!("queue.get.claimed");
        self.taking.store(0, Ordering::Release);

        match block {
            // SAFETY: what travels in a block was made as a message (`Outgoing`), and its kind says so.
            Some(block) if block.kind() == Kind::MESSAGE => Ok(Message::block(unsafe {
                message::Message::from_block(block)
            })),
            _ => Err(damaged()),
        }
    }
}

/// What lies at the head.
struct Record {
    address: NonNull<u8>,
    /// From its first byte to the end of the block.
    room: usize,
    header: u64,
}

impl Record {
    fn payload(&self) -> NonNull<u8> {
        // SAFETY: a record has room for two words at least.
        unsafe { self.address.add(UNIT) }
    }

    fn second_word(&self) -> u64 {
        read_word(self.payload())
    }

    #[inline]
    fn check_len(&self, len: usize) -> Result<()> {
        if len > self.room - UNIT {
            Err(damaged())
        } else {
            Ok(())
        }
    }
}

/// Acquires the get lock, and puts in order what a dead owner left.
#[inline]
pub(super) fn lock_get_end<'a>(state: &'a QueueState, wait: &mut Wait<'_>) -> Result<Held<'a>> {
    let (held, found_dead) = Held::acquire(&state.get.lock, wait, || recovery::get_end(state))?;

    // The dead owner may have made room and told nobody.
    if found_dead {
        state.words.space.notify_all(wait);
    }
    Ok(held)
}

#[inline]
fn read_word(address: NonNull<u8>) -> u64 {
    // SAFETY: callers pass places inside the head's block, at multiples of 8 bytes, and hold the get lock.
    unsafe { address.cast::<u64>().read() }
}

#[cold]
fn damaged() -> Error {
    Error::new(
        ErrorKind::WrongLayout,
        "get a message from the queue: its shared memory is damaged",
    )
}
