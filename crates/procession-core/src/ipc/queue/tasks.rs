//! The task table of a joinable queue: who has taken how many messages and reported how many of them done.
//!
//! Used by `get.rs`, which counts what is taken, and `joinable.rs`. It lies in a block
//! of its own that belongs to the queue. The number of unfinished tasks is not kept: it is the number of messages ever put (the tail's sequence) minus `done`.
//!
//! Each process of the family has one entry, found by its slot, in chunks that are allocated when first needed. What is
//! taken changes under the queue's get lock, by the redo words of the get end; everything else changes under the table's
//! own lock, by the redo words here, which hold absolute values: whoever finds the owner dead applies them again. The
//! table's lock is taken before the get lock, never the other way round.
//!
//! A process that dies with more taken than done leaves tasks that nobody will do: whoever joins finds it, writes them
//! off and reports their number once.

#![expect(
    unsafe_code,
    reason = "the table and its chunks are reached through addresses of the heap"
)]

use super::cursor::distance;
use super::get::lock_get_end;
use super::held::Held;
use super::recovery;
use super::state::QueueState;
use crate::crash::crash_point;
use crate::error::{Error, ErrorKind, Result};
use crate::shm::{BlockId, Wait, heap, identity, liveness};
use procession_sync::{OwnerId, RawEventCount, RawLock, Waiter};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

const ENTRIES: usize = 32;
const CHUNKS: usize = OwnerId::SLOTS as usize / ENTRIES;

/// Zero bytes are its fresh state.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct TaskTable {
    lock: RawLock,
    /// Joiners sleep here.
    pub(super) finished: RawEventCount,
    /// How many tasks were done or written off, in sequences of the tail.
    done: AtomicU64,
    /// How many were written off and not yet reported.
    lost: AtomicU64,
    /// Redo: whose entry (its slot + 1) gets `redo_entry_done`, with the two values below; or 0.
    redo: AtomicU64,
    redo_entry_done: AtomicU64,
    redo_done: AtomicU64,
    redo_lost: AtomicU64,
    /// Redo: the chunk that is being added, or 0.
    adding: AtomicU64,
    /// The ids of the chunks, or 0.
    chunks: [AtomicU64; CHUNKS],
}

/// What one process has taken and done, since the queue was made; a later process in the same slot goes on counting.
#[derive(Debug)]
#[repr(C, align(32))]
struct Entry {
    owner: AtomicU32,
    taken: AtomicU64,
    done: AtomicU64,
}

type Chunk = [Entry; ENTRIES];

/// A process's entry: valid for as long as the process lives.
#[derive(Clone, Copy, Debug)]
pub(super) struct MyEntry<'a> {
    slot: u16,
    entry: &'a Entry,
}

/// One joinable queue as the functions here see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tasks<'a> {
    pub(super) state: &'a QueueState,
    pub(super) table: &'a TaskTable,
}

/// What a joiner finds.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Progress {
    /// Every task that was put is done or written off.
    Finished,
    /// Processes died with this many tasks, which were written off and are reported now.
    Lost(u64),
    /// Tasks are unfinished; the process named, if any, has some of them.
    Waiting(Option<OwnerId>),
}

impl<'a> Tasks<'a> {
    /// The tasks of a queue; `None` if it is not joinable.
    ///
    /// # Errors
    /// The heap's segment cannot be mapped.
    #[inline]
    pub(super) fn of(state: &'a QueueState) -> Result<Option<Self>> {
        let Some(id) = BlockId::from_bits(state.words.tasks.load(Ordering::Relaxed)) else {
            return Ok(None);
        };
        let place = id.offset().resolve()?.cast::<TaskTable>();

        // SAFETY: the table was zeroed before its id was stored, belongs to the queue for as long as that lives, which is
        // borrowed, and holds only atomics.
        let table = unsafe { place.as_ref() };

        Ok(Some(Self { state, table }))
    }

    /// The calling process's entry; made on first use.
    ///
    /// # Errors
    /// No memory for the entry, or the operation was stopped meanwhile.
    #[inline]
    pub(super) fn mine(self, wait: &mut Wait<'_>) -> Result<MyEntry<'a>> {
        let me = identity::me()?;

        match entry(self.table, me.slot())? {
            // SYNC: entry taken -> mine
            Some(entry) if entry.owner.load(Ordering::Acquire) == me.to_bits() => Ok(MyEntry {
                slot: me.slot(),
                entry,
            }),
            _ => self.make_mine(me, wait),
        }
    }

    #[cold]
    fn make_mine(self, me: OwnerId, wait: &mut Wait<'_>) -> Result<MyEntry<'a>> {
        let _held = self.lock(wait)?;
        let entry = match entry(self.table, me.slot())? {
            Some(entry) => entry,
            None => self.add_chunk(me.slot())?,
        };

        // Another thread of this process may have been here first.
        if entry.owner.load(Ordering::Relaxed) != me.to_bits() {
            self.settle(me.slot(), entry, wait)?;
            // SYNC: entry taken -> mine
            entry.owner.store(me.to_bits(), Ordering::Release);
        }
        Ok(MyEntry {
            slot: me.slot(),
            entry,
        })
    }

    /// Counts one task as done; true if it was the last unfinished one.
    ///
    /// # Errors
    /// [`ErrorKind::WrongState`] if no task is unfinished.
    pub(super) fn done(self, wait: &mut Wait<'_>) -> Result<bool> {
        let mine = self.mine(wait)?;
        let _held = self.lock(wait)?;
        if self.unfinished() == 0 {
            return Err(Error::new(
                ErrorKind::WrongState,
                "report a task as done: more were reported than were put into the queue",
            ));
        }

        crash_point!("queue.tasks.locked");
        let entry_done = mine.entry.done.load(Ordering::Relaxed).wrapping_add(1);
        self.apply(
            mine.slot,
            mine.entry,
            entry_done,
            1,
            self.table.lost.load(Ordering::Relaxed),
        );
        Ok(self.unfinished() == 0)
    }

    /// How far the tasks are; writes off what dead processes had.
    ///
    /// # Errors
    /// The operation was stopped meanwhile.
    pub(super) fn progress(self, wait: &mut Wait<'_>) -> Result<Progress> {
        if self
            .table
            .lock
            .owner()
            .is_some_and(|owner| !wait.is_alive(owner))
        {
            drop(self.lock(wait)?);
        }
        if self
            .state
            .get
            .lock
            .owner()
            .is_some_and(|owner| !wait.is_alive(owner))
        {
            drop(lock_get_end(self.state, wait)?);
        }

        let mut holder = None;
        for (slot, entry) in self.entries()? {
            let Some(owner) = OwnerId::from_bits(entry.owner.load(Ordering::Acquire)) else {
                continue;
            };
            if entry.balance() <= 0 {
                continue;
            }
            if liveness::is_alive(owner) {
                holder = holder.or(Some(owner));
                continue;
            }
            let _held = self.lock(wait)?;
            // Whoever came into the slot meanwhile has settled it.
            if entry.owner.load(Ordering::Relaxed) == owner.to_bits() {
                self.settle(slot, entry, wait)?;
            }
        }

        if self.table.lost.load(Ordering::Acquire) != 0 {
            let _held = self.lock(wait)?;
            // Another joiner may report them.
            let lost = self.table.lost.swap(0, Ordering::AcqRel);
            if lost != 0 {
                return Ok(Progress::Lost(lost));
            }
        }
        Ok(if self.unfinished() == 0 {
            Progress::Finished
        } else {
            Progress::Waiting(holder)
        })
    }

    /// How many tasks were put and neither reported as done nor written off.
    pub(super) fn unfinished(self) -> u64 {
        // SYNC: task done -> join
        let done = self.table.done.load(Ordering::Acquire);

        distance(done, self.state.tail().sequence())
    }

    /// Writes off what the dead process of the entry has taken and not done. The caller holds the table's lock.
    fn settle(self, slot: u16, entry: &Entry, wait: &mut Wait<'_>) -> Result<()> {
        // What it has taken is certain once the get end is in order.
        let _get_end = lock_get_end(self.state, wait)?;
        let balance = entry.balance();

        if balance > 0 {
            // Others may have reported tasks that this process had taken.
            let lost = balance.unsigned_abs().min(self.unfinished());
            let lost_in_all = self.table.lost.load(Ordering::Relaxed) + lost;
            self.apply(
                slot,
                entry,
                entry.taken.load(Ordering::Relaxed),
                lost,
                lost_in_all,
            );
            crash_point!("queue.tasks.settled");
        } else {
            entry
                .taken
                .store(entry.done.load(Ordering::Relaxed), Ordering::Release);
        }
        Ok(())
    }

    /// Changes an entry and the totals as one. The caller holds the table's lock.
    fn apply(self, slot: u16, entry: &Entry, entry_done: u64, more_done: u64, lost: u64) {
        let table = self.table;
        let done = table.done.load(Ordering::Relaxed).wrapping_add(more_done);

        table.redo_entry_done.store(entry_done, Ordering::Release);
        table.redo_done.store(done, Ordering::Release);
        table.redo_lost.store(lost, Ordering::Release);
        table.redo.store(u64::from(slot) + 1, Ordering::Release);
        crash_point!("queue.tasks.redo");
        entry.done.store(entry_done, Ordering::Release);
        crash_point!("queue.tasks.entry");
        // SYNC: task done -> join
        table.done.store(done, Ordering::Release);
        table.lost.store(lost, Ordering::Release);
        crash_point!("queue.tasks.done");
        table.redo.store(0, Ordering::Release);
    }

    fn lock(self, wait: &mut Wait<'_>) -> Result<Held<'a>> {
        let (held, found_dead) = Held::acquire(&self.table.lock, wait, || self.repair())?;

        // The dead owner may have reported the last task and told nobody.
        if found_dead {
            self.table.finished.notify_all(wait);
        }
        Ok(held)
    }

    #[cold]
    fn repair(self) {
        let table = self.table;
        if let Some(slot) = table.redo.load(Ordering::Relaxed).checked_sub(1) {
            if let Ok(Some(entry)) = entry(table, slot as u16) {
                entry.done.store(
                    table.redo_entry_done.load(Ordering::Relaxed),
                    Ordering::Release,
                );
            }
            table
                .done
                .store(table.redo_done.load(Ordering::Relaxed), Ordering::Release);
            table
                .lost
                .store(table.redo_lost.load(Ordering::Relaxed), Ordering::Release);
            table.redo.store(0, Ordering::Release);
        }

        let adding = table.adding.load(Ordering::Relaxed);
        let was_added = table
            .chunks
            .iter()
            .any(|chunk| chunk.load(Ordering::Relaxed) == adding);
        recovery::settle(&table.adding, was_added);
    }

    /// Adds the chunk that `slot`'s entry lies in. The caller holds the table's lock.
    fn add_chunk(self, slot: u16) -> Result<&'a Entry> {
        let block = heap::allocate_zeroed(size_of::<Chunk>())?;

        self.table
            .adding
            .store(block.id().to_bits(), Ordering::Release);
        crash_point!("queue.tasks.adding");
        let id = block.into_queued();
        crash_point!("queue.tasks.added");
        // SYNC: chunk added -> entry
        self.table.chunks[usize::from(slot) / ENTRIES].store(id.to_bits(), Ordering::Release);
        self.table.adding.store(0, Ordering::Release);
        entry(self.table, slot)?
            .ok_or_else(|| Error::new(ErrorKind::WrongLayout, "find the task table's new chunk"))
    }

    fn entries(self) -> Result<impl Iterator<Item = (u16, &'a Entry)>> {
        let table = self.table;
        let mut chunks = Vec::new();
        for index in 0..CHUNKS {
            if let Some(chunk) = chunk(table, index)? {
                chunks.push((index, chunk));
            }
        }

        Ok(chunks.into_iter().flat_map(|(index, chunk)| {
            chunk
                .iter()
                .enumerate()
                .map(move |(at, entry)| ((index * ENTRIES + at) as u16, entry))
        }))
    }

    /// Frees the chunks. The caller holds the queue exclusively.
    pub(super) fn destroy(self) {
        self.repair();
        for chunk in &self.table.chunks {
            recovery::settle(chunk, false);
        }
    }
}

impl Entry {
    fn balance(&self) -> i64 {
        // SYNC: task taken -> join
        self.taken
            .load(Ordering::Acquire)
            .wrapping_sub(self.done.load(Ordering::Acquire)) as i64
    }
}

impl MyEntry<'_> {
    /// Notes in the get end's redo words that delivering one more message counts for this process. The caller holds the
    /// get lock and has set the sequence.
    pub(super) fn begin_count(self, state: &QueueState) {
        let taken = self.entry.taken.load(Ordering::Relaxed).wrapping_add(1);

        state.get.counting_value.store(taken, Ordering::Release);
        state
            .get
            .counting
            .store(u64::from(self.slot) + 1, Ordering::Release);
        crash_point!("queue.get.counting");
    }

    /// Counts the message that was delivered.
    pub(super) fn finish_count(self, state: &QueueState) {
        // SYNC: task taken -> join
        self.entry.taken.store(
            state.get.counting_value.load(Ordering::Relaxed),
            Ordering::Release,
        );
        crash_point!("queue.get.counted");
        state.get.counting.store(0, Ordering::Release);
    }
}

/// Counts the message that a dead owner of the get lock has delivered to itself. The caller holds that lock.
pub(super) fn redo_count(state: &QueueState) {
    let Ok(Some(Tasks { table, .. })) = Tasks::of(state) else {
        return;
    };

    if let Some(slot) = state.get.counting.load(Ordering::Relaxed).checked_sub(1)
        && let Ok(Some(entry)) = entry(table, slot as u16)
    {
        entry.taken.store(
            state.get.counting_value.load(Ordering::Relaxed),
            Ordering::Release,
        );
    }
}

#[inline]
fn entry(table: &TaskTable, slot: u16) -> Result<Option<&Entry>> {
    Ok(chunk(table, usize::from(slot) / ENTRIES)?.map(|chunk| &chunk[usize::from(slot) % ENTRIES]))
}

#[inline]
fn chunk(table: &TaskTable, index: usize) -> Result<Option<&Chunk>> {
    // SYNC: chunk added -> entry
    let Some(id) = BlockId::from_bits(table.chunks[index].load(Ordering::Acquire)) else {
        return Ok(None);
    };
    let place = id.offset().resolve()?.cast::<Chunk>();

    // SAFETY: a chunk in the table belongs to the queue for as long as the queue lives, whose table is borrowed; it was
    // zeroed before it was added and holds only atomics.
    Ok(Some(unsafe { place.as_ref() }))
}
