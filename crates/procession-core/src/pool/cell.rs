//! The shared part of one task: its phase, who runs it, how far it is, where its results are.
//!
//! It lies at the front of a task block, which belongs to the program that submitted it; workers write only into the cell. The phases and
//! who may move them are drawn in the `README.md` beside this file.

#![expect(
    unsafe_code,
    reason = "a task's id becomes a reference into shared memory"
)]

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use procession_sync::{Stop, Waiter};

use crate::shm::message::View;

/// How many bytes of results fit into the cell itself.
pub(super) const INLINE: usize = 40;

/// Where a task is in its life; the states and moves are in the README.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Phase {
    /// In the queue, or on its way to it.
    Pending = 0,
    /// A worker runs it.
    Running = 1,
    /// Decided against while running; its worker is being killed.
    Stopped = 2,
    /// All its items have an outcome.
    Done = 3,
    /// The whole task failed for a reason that the program knows.
    Failed = 4,
    /// It was withdrawn before it began.
    Cancelled = 5,
}

impl Phase {
    fn from_bits(bits: u32) -> Self {
        match bits & PHASE {
            0 => Self::Pending,
            1 => Self::Running,
            2 => Self::Stopped,
            3 => Self::Done,
            4 => Self::Failed,
            _ => Self::Cancelled,
        }
    }

    /// Whether nothing will change any more.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }
}

const PHASE: u32 = 7;
/// Where the worker's place is, + 1.
const PLACE_SHIFT: u32 = 3;
/// Somebody sleeps on the phase.
const WAITED_FOR: u32 = 1 << 31;

/// The layout of the front of a task block. All fields are atomics, because
/// two processes use them; zero bytes are a fresh cell.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Cell {
    /// | value | meaning |
    /// |---|---|
    /// | bits 0..3 | the [`Phase`] |
    /// | bits 3..31 | while it runs or is stopped: its worker's place in the pool, + 1 |
    /// | bit 31 | somebody sleeps on this word |
    phase: AtomicU32,
    /// Not 0: results of this task could not be published, for want of shared memory.
    pub(super) unpublished: AtomicU32,
    /// The position of what is to be called.
    pub(super) entry: AtomicU64,
    /// The most time that one item may take, in nanoseconds; 0 = any.
    pub(super) timeout: AtomicU64,
    /// The first result block, 0 = none.
    pub(super) results: AtomicU64,
    pub(super) items: AtomicU32,
    /// The first item that is still to be run.
    pub(super) start: AtomicU32,
    /// The index of the item that runs, + 1; 0 = none has begun.
    pub(super) running: AtomicU32,
    /// Items before this one have an outcome. What a worker that died was about to note here, its result blocks tell
    /// (see `results::end`).
    pub(super) published: AtomicU32,
    /// Whether completion is announced to the pool, not only to sleepers here.
    announced: AtomicU32,
    /// How many bytes of `inline` are a result; 0 = none.
    pub(super) inline_length: AtomicU32,
    pub(super) inline: [AtomicU64; INLINE / 8],
}

impl Cell {
    /// The cell at the front of a task's payload.
    pub(super) fn of(task: &View) -> &'static Self {
        // SAFETY: a task's payload begins with a cell, zeroed before its id was sent, and is aligned to 16. Its memory is never
        // unmapped, and all fields are atomics.
        unsafe { task.payload_start().cast::<Self>().as_ref() }
    }

    pub(super) fn phase(&self) -> Phase {
        // SYNC: task finished -> whoever reads its results
        Phase::from_bits(self.phase.load(Ordering::Acquire))
    }

    /// The place in the pool of the worker that runs the task, or ran it when
    /// it was stopped. A place has one worker at a time, and the next one
    /// begins when what the last one left is settled.
    pub(super) fn place(&self) -> Option<u32> {
        let word = self.phase.load(Ordering::Acquire);
        match Phase::from_bits(word) {
            Phase::Running | Phase::Stopped => ((word & !WAITED_FOR) >> PLACE_SHIFT).checked_sub(1),
            _ => None,
        }
    }

    /// Has the worker at `place` run the task; false if it is not pending.
    pub(super) fn begin(&self, place: u32, waiter: &impl Waiter) -> bool {
        self.change(Phase::Pending, Phase::Running, Some(place), waiter)
    }

    /// Moves from `from` to `to`, keeping the sleepers' bit unless the task is
    /// over; true if this caller moved it.
    pub(super) fn advance(&self, from: Phase, to: Phase, waiter: &impl Waiter) -> bool {
        self.change(from, to, None, waiter)
    }

    fn change(&self, from: Phase, to: Phase, place: Option<u32>, waiter: &impl Waiter) -> bool {
        let mut word = self.phase.load(Ordering::Relaxed);
        loop {
            if Phase::from_bits(word) != from {
                return false;
            }
            let place = match (to, place) {
                (Phase::Running, Some(place)) => (place + 1) << PLACE_SHIFT,
                (Phase::Stopped, _) => word & !WAITED_FOR & !PHASE,
                _ => 0,
            };
            let sleepers = if to.is_final() { 0 } else { word & WAITED_FOR };
            let next = to as u32 | place | sleepers;
            // SYNC: task finished -> whoever reads its results
            match self
                .phase
                .compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) if to.is_final() && word & WAITED_FOR != 0 => {
                    waiter.wake(&self.phase, u32::MAX);
                    return true;
                }
                Ok(_) => return true,
                Err(current) => word = current,
            }
        }
    }

    /// Waits until the phase is final, for as long as `waiter` allows.
    pub(super) fn wait(&self, waiter: &mut impl Waiter) -> std::result::Result<Phase, Stop> {
        loop {
            // SYNC: task finished -> whoever reads its results
            let word = self.phase.load(Ordering::Acquire);
            let phase = Phase::from_bits(word);
            if phase.is_final() {
                return Ok(phase);
            }
            if waiter.spin() {
                continue;
            }
            let marked = word | WAITED_FOR;
            if word != marked
                && self
                    .phase
                    .compare_exchange(word, marked, Ordering::Relaxed, Ordering::Relaxed)
                    .is_err()
            {
                continue;
            }
            waiter.wait(&self.phase, marked, None)?;
        }
    }

    /// Has completion announced to the pool. The caller looks at the phase
    /// afterwards: if it is not final, the announcement will come.
    pub(super) fn announce(&self) {
        self.announced.store(1, Ordering::Relaxed);
        // SYNC: announced, then phase looked at -> phase final, then announced?
        fence(Ordering::SeqCst);
    }

    /// Whether completion, which has happened, is to be announced.
    pub(super) fn is_announced(&self) -> bool {
        // SYNC: announced, then phase looked at -> phase final, then announced?
        fence(Ordering::SeqCst);
        self.announced.load(Ordering::Relaxed) != 0
    }

    /// Stores a short result in the cell; false if it does not fit.
    pub(super) fn store_inline(&self, result: &[u8]) -> bool {
        if result.is_empty() || result.len() > INLINE {
            return false;
        }
        for (word, bytes) in self.inline.iter().zip(result.chunks(8)) {
            let mut padded = [0; 8];
            padded[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_ne_bytes(padded), Ordering::Relaxed);
        }
        self.inline_length
            .store(result.len() as u32, Ordering::Relaxed);
        true
    }

    /// The result in the cell, if there is one.
    pub(super) fn load_inline<'a>(&self, buffer: &'a mut [u8; INLINE]) -> Option<&'a [u8]> {
        let length = self.inline_length.load(Ordering::Relaxed) as usize;
        for (word, bytes) in self.inline.iter().zip(buffer.chunks_mut(8)) {
            bytes.copy_from_slice(&word.load(Ordering::Relaxed).to_ne_bytes());
        }
        buffer.get(..length).filter(|result| !result.is_empty())
    }
}
