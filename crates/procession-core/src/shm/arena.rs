//! The arena: who has which run of chunks, how much is resident, and where to look for a free run.
//!
//! Used by `run` (large blocks, chunks for slabs) and by whoever walks the heap. One robust lock guards the structure:
//! where runs begin, how long they are, and which free run is taken. Invariant, whenever the lock is free: the runs of a
//! segment follow each other from its first chunk to its top, and the word of every other chunk says Free. What a run is
//! beyond that lies in the word of its first chunk alone.
//!
//! Each step below keeps the runs walkable, so whoever finds that the lock's owner has died only counts again:
//!
//! ```text
//! split   write the second part's descriptor, then shorten the first
//! merge   lengthen the first, then clear the second's word
//! extend  write the new run's descriptor, then raise the top
//! take    write length and kind, then one store of the word
//! ```

use super::chunk::Descriptor;
use super::family::{self, FamilyHeader};
use super::identity;
use super::segment::{self, CHUNK, Region, SegmentTable};
use super::state_word::{State, Word};
use super::wait::Wait;
use crate::crash::crash_point;
use crate::error::Result;
use procession_sync::{Acquired, OwnerId, RawLock};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// How many free runs the list of hints remembers.
pub(super) const HINTS: usize = 128;
/// At most this many bytes of free runs stay resident.
const WARM_LIMIT: u64 = 256 << 20;

/// What the processes of a family share about the arena; part of the family header. Zero bytes are a fresh arena.
#[derive(Debug)]
#[repr(C)]
pub struct ArenaState {
    lock: RawLock,
    /// Not 0: the lock's owner died, or counting failed half way; the hints below mean nothing.
    uncounted: AtomicU32,
    /// Goes up when a dead process has been swept: owners of slabs then look at all their blocks.
    pub(super) sweeps: AtomicU32,
    /// Hint: how many slabs have no owner.
    pub(super) orphans: AtomicU32,
    /// Chunks whose pages count against the budget: those of all runs that are not cold.
    resident: AtomicU64,
    most_resident: AtomicU64,
    /// Chunks of warm runs.
    warm: AtomicU64,
    /// How many hints there are; the oldest is the first.
    pub(super) hinted: AtomicU64,
    pub(super) hints: [AtomicU64; HINTS],
}

/// A run of chunks. Its owner, or whoever holds the lock, has it exclusively.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) region: Region,
    pub(crate) index: usize,
    pub(crate) chunks: usize,
}

impl Run {
    #[inline]
    pub(crate) fn descriptor(&self) -> &'static Descriptor {
        self.region.descriptor(self.index)
    }
}

/// A run that was free.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub(crate) run: Run,
    /// Its pages were not resident.
    pub(crate) cold: bool,
}

/// The arena, locked.
#[derive(Debug)]
pub(crate) struct Arena {
    header: &'static FamilyHeader,
    me: OwnerId,
}

/// Locks the arena, and repairs it if its last owner died with it. Waits for as long as others need.
///
/// # Errors
/// This process is in no family; a segment that has to be looked at cannot be mapped.
pub(crate) fn lock() -> Result<Arena> {
    let header = family::header().ok_or_else(segment::outside)?;
    let arena = Arena {
        header,
        me: identity::me()?,
    };

    if header.arena.lock.acquire_regardless(&mut Wait::forever()) == Acquired::OwnerDied {
        header.arena.uncounted.store(1, Ordering::Relaxed);
    }
    arena.settle()?;
    Ok(arena)
}

/// Takes the lock over from an owner that has died.
///
/// # Errors
/// As for [`lock`].
pub(crate) fn settle() -> Result<()> {
    lock().map(drop)
}

impl Drop for Arena {
    #[inline]
    fn drop(&mut self) {
        let released = self.state().lock.release(&Wait::forever());
        debug_assert!(released.is_ok(), "the arena's lock was held");
    }
}

impl Arena {
    #[inline]
    pub(super) fn state(&self) -> &'static ArenaState {
        &self.header.arena
    }

    #[inline]
    pub(crate) fn segments(&self) -> &'static SegmentTable {
        &self.header.segments
    }

    #[inline]
    pub(crate) fn me(&self) -> OwnerId {
        self.me
    }

    pub(crate) fn budget_chunks(&self) -> u64 {
        self.header.budget.load(Ordering::Relaxed) / CHUNK as u64
    }

    pub(crate) fn resident_chunks(&self) -> u64 {
        self.state().resident.load(Ordering::Relaxed)
    }

    pub(crate) fn most_resident_chunks(&self) -> u64 {
        self.state().most_resident.load(Ordering::Relaxed)
    }

    /// How many chunks may stay warm.
    pub(crate) fn warm_bound(&self) -> u64 {
        (self.budget_chunks() / 8).min(WARM_LIMIT / CHUNK as u64)
    }

    /// Calls `visit` for each run with its word, until it breaks.
    ///
    /// # Errors
    /// A segment cannot be mapped.
    pub(crate) fn each_run(
        &self,
        mut visit: impl FnMut(Run, Word) -> ControlFlow<()>,
    ) -> Result<()> {
        for segment in 0..self.segments().count() {
            let region = Region::of(segment)?;
            let top = self.top(segment);
            let mut index = 0;

            while index < top {
                let descriptor = region.descriptor(index);
                let chunks = length(descriptor);
                if visit(
                    Run {
                        region,
                        index,
                        chunks,
                    },
                    descriptor.word.load(),
                )
                .is_break()
                {
                    return Ok(());
                }
                index += chunks;
            }
        }
        Ok(())
    }

    /// A run of `chunks`, private to this process, of kind 0; `None` if the budget has no room for it.
    ///
    /// # Errors
    /// No segment is left, or the memory object cannot grow.
    pub(crate) fn take(&self, chunks: usize) -> Result<Option<Taken>> {
        if let Some(run) = self.find_hinted(chunks) {
            return Ok(Some(self.take_part(run, chunks)));
        }

        let found = match self.find_by_walk(chunks)? {
            Some(run) if run.descriptor().word.load().is(State::Warm) => {
                return Ok(Some(self.take_part(run, chunks)));
            }
            found => found,
        };
        if self.resident_chunks() + chunks as u64 > self.budget_chunks() {
            return Ok(None);
        }
        let run = match found {
            Some(run) => run,
            None => self.extend(chunks)?,
        };
        Ok(Some(self.take_part(run, chunks)))
    }

    /// One warm chunk, or else a cold run of `batch`; `None` if the budget has no room for that many.
    ///
    /// # Errors
    /// As for [`take`](Self::take).
    pub(crate) fn take_for_slab(&self, batch: usize) -> Result<Option<Taken>> {
        if let Some(run) = self.find_hinted(1) {
            return Ok(Some(self.take_part(run, 1)));
        }
        match self.find_by_walk(1)? {
            Some(run) if run.descriptor().word.load().is(State::Warm) => {
                Ok(Some(self.take_part(run, 1)))
            }
            _ => self.take(batch),
        }
    }

    /// Takes the first `chunks` of a free run.
    fn take_part(&self, run: Run, chunks: usize) -> Taken {
        let descriptor = run.descriptor();
        let word = descriptor.word.load();
        let cold = word.is(State::Cold);
        if run.chunks > chunks {
            self.split(run, chunks, if cold { State::Cold } else { State::Warm });
        }

        descriptor.kind.store(0, Ordering::Relaxed);
        descriptor
            .bytes
            .store((chunks * CHUNK) as u64, Ordering::Relaxed);
        crash_point!("heap.run.found");
        descriptor
            .word
            .store(word.with(State::Private, Some(self.me)));
        crash_point!("heap.run.taken");

        add(
            &self.segments().entry(run.region.segment()).free,
            -(chunks as i64),
        );
        if cold {
            add(&self.state().resident, chunks as i64);
            self.state()
                .most_resident
                .fetch_max(self.resident_chunks(), Ordering::Relaxed);
        } else {
            add(&self.state().warm, -(chunks as i64));
        }
        Taken {
            run: Run { chunks, ..run },
            cold,
        }
    }

    /// Makes what follows the first `chunks` of `run` a run of its own in `state`, which is warm or cold.
    fn split(&self, run: Run, chunks: usize, state: State) {
        let rest = Run {
            index: run.index + chunks,
            chunks: run.chunks - chunks,
            ..run
        };
        let descriptor = rest.descriptor();

        descriptor
            .chunks
            .store(rest.chunks as u32, Ordering::Relaxed);
        descriptor
            .word
            .store(descriptor.word.load().with(state, None));
        crash_point!("heap.run.split");
        run.descriptor()
            .chunks
            .store(chunks as u32, Ordering::Relaxed);
        crash_point!("heap.run.shortened");

        if state == State::Warm {
            self.hint(rest);
        }
    }

    /// Frees all but the first `keep` chunks of a resident run that this process has.
    pub(crate) fn give_tail_back(&self, run: Run, keep: usize) {
        let tail = run.chunks - keep;
        self.split(run, keep, State::Warm);

        let entry = self.segments().entry(run.region.segment());
        add(&entry.free, tail as i64);
        entry.miss.store(0, Ordering::Relaxed);
        add(&self.state().warm, tail as i64);
    }

    /// Frees a run that is private to this process, or returning: `word` is what it holds, and becomes warm or cold with
    /// the next generation. False if the run is not in that state.
    pub(crate) fn free(&self, run: Run, word: Word, state: State) -> bool {
        if !run.descriptor().word.change(word, word.freed(state)) {
            return false;
        }
        crash_point!("heap.run.freed");
        self.count_free(run, state);
        true
    }

    fn count_free(&self, run: Run, state: State) {
        let entry = self.segments().entry(run.region.segment());
        add(&entry.free, run.chunks as i64);
        entry.miss.store(0, Ordering::Relaxed);

        if state == State::Warm {
            add(&self.state().warm, run.chunks as i64);
            self.hint(run);
        } else {
            add(&self.state().resident, -(run.chunks as i64));
        }
    }

    /// A slab of this process or of nobody, all of whose blocks are free, becomes a warm run.
    pub(crate) fn free_slab(&self, run: Run, generation: u32) {
        run.descriptor()
            .word
            .store(Word::new(State::Warm, None, generation));
        crash_point!("heap.slab.freed");
        self.count_free(run, State::Warm);
    }

    /// The longest unused warm run, if more than `bound` chunks are warm; it is Returning now: its pages are to be given
    /// back outside the lock, and it is to be freed as cold.
    ///
    /// # Errors
    /// A segment cannot be mapped.
    pub(crate) fn take_excess(&self, bound: u64) -> Result<Option<Run>> {
        if self.state().warm.load(Ordering::Relaxed) <= bound {
            return Ok(None);
        }
        let mut found = self.oldest_hinted();
        if found.is_none() {
            self.each_run(|run, word| {
                if !word.is(State::Warm) {
                    return ControlFlow::Continue(());
                }
                found = Some(run);
                ControlFlow::Break(())
            })?;
        }
        let Some(run) = found else { return Ok(None) };

        let descriptor = run.descriptor();
        descriptor
            .word
            .store(descriptor.word.load().with(State::Returning, Some(self.me)));
        crash_point!("heap.run.returning");
        add(
            &self.segments().entry(run.region.segment()).free,
            -(run.chunks as i64),
        );
        add(&self.state().warm, -(run.chunks as i64));
        Ok(Some(run))
    }

    #[inline]
    pub(super) fn top(&self, segment: usize) -> usize {
        // SYNC: segment extended -> top
        self.segments().entry(segment).top.load(Ordering::Acquire) as usize
    }

    /// Counts everything again if the last owner of the lock did not get to it.
    #[inline]
    fn settle(&self) -> Result<()> {
        if self.state().uncounted.load(Ordering::Relaxed) == 0 {
            Ok(())
        } else {
            self.count()
        }
    }

    #[cold]
    fn count(&self) -> Result<()> {
        let state = self.state();
        let (mut resident, mut warm, mut orphans) = (0, 0, 0);
        state.hinted.store(0, Ordering::Relaxed);
        for segment in 0..self.segments().count() {
            let entry = self.segments().entry(segment);
            entry.free.store(0, Ordering::Relaxed);
            entry.miss.store(0, Ordering::Relaxed);
        }

        self.each_run(|run, word| {
            let chunks = run.chunks as i64;
            for index in 1..run.chunks {
                clear(run.region.descriptor(run.index + index));
            }
            if word.is(State::Warm) || word.is(State::Cold) {
                add(&self.segments().entry(run.region.segment()).free, chunks);
            }
            if word.is(State::Warm) {
                warm += run.chunks as u64;
                self.hint(run);
            }
            if !word.is(State::Cold) {
                resident += run.chunks as u64;
            }
            if word.is(State::Slab) && !word.has_owner() {
                orphans += 1;
            }
            ControlFlow::Continue(())
        })?;

        state.resident.store(resident, Ordering::Relaxed);
        state.warm.store(warm, Ordering::Relaxed);
        state.orphans.store(orphans, Ordering::Relaxed);
        state.uncounted.store(0, Ordering::Relaxed);
        Ok(())
    }
}

/// No run begins here any more.
pub(super) fn clear(descriptor: &Descriptor) {
    let word = descriptor.word.load();
    if !word.is(State::Free) {
        descriptor.word.store(word.with(State::Free, None));
    }
}

#[inline]
pub(super) fn length(descriptor: &Descriptor) -> usize {
    let chunks = descriptor.chunks.load(Ordering::Relaxed) as usize;
    debug_assert!(chunks > 0, "a run has at least one chunk");
    chunks.max(1)
}

/// Changes a counter that only the holder of the arena lock changes.
#[inline]
pub(super) fn add(counter: &AtomicU64, by: i64) {
    counter.store(
        counter.load(Ordering::Relaxed).saturating_add_signed(by),
        Ordering::Relaxed,
    );
}
