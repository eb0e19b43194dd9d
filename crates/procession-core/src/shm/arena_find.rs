//! Where the arena finds a free run: a list of hints first, then a walk, then memory that was never used.
//!
//! Used by `arena` alone, under its lock. A hint is checked before it is used, so the list may lack runs and may name
//! what is no run any more. The order of the steps in which runs are merged and added, and what a death between them
//! leaves, is drawn in `arena`.

use super::arena::{Arena, HINTS, Run, add, clear, length};
use super::segment::{self, Region};
use super::state_word::State;
use crate::crash::crash_point;
use crate::error::Result;
use std::sync::atomic::Ordering;

impl Arena {
    /// The first free run of at least `chunks`, preferring a warm one of the same segment; merges on its way.
    pub(super) fn find_by_walk(&self, chunks: usize) -> Result<Option<Run>> {
        for segment in 0..self.segments().count() {
            let entry = self.segments().entry(segment);
            let miss = entry.miss.load(Ordering::Relaxed);
            if entry.free.load(Ordering::Relaxed) < chunks as u64
                || (miss != 0 && miss <= chunks as u64)
            {
                continue;
            }
            if let Some(run) = self.walk_segment(Region::of(segment)?, chunks) {
                return Ok(Some(run));
            }
            entry.miss.store(chunks as u64, Ordering::Relaxed);
        }
        Ok(None)
    }

    fn walk_segment(&self, region: Region, chunks: usize) -> Option<Run> {
        let top = self.top(region.segment());
        let mut cold = None;
        let mut index = 0;

        while index < top {
            let descriptor = region.descriptor(index);
            let word = descriptor.word.load();
            let is_warm = word.is(State::Warm);
            let mut run = Run {
                region,
                index,
                chunks: length(descriptor),
            };
            if is_warm || word.is(State::Cold) {
                run.chunks = merge(run, top, if is_warm { State::Warm } else { State::Cold });
                if run.chunks >= chunks {
                    if is_warm {
                        return Some(run);
                    }
                    cold = cold.or(Some(run));
                }
            }
            index += run.chunks;
        }
        cold
    }

    /// A cold run of `chunks` that no run was before.
    pub(super) fn extend(&self, chunks: usize) -> Result<Run> {
        let table = self.segments();
        let has_room = |&segment: &usize| {
            let entry = table.entry(segment);
            entry.top.load(Ordering::Relaxed) + chunks as u64
                <= entry.chunks.load(Ordering::Relaxed)
        };
        let segment = match (0..table.count()).find(has_room) {
            Some(segment) => segment,
            None => table.add(chunks as u64)?,
        };
        let region = Region::of(segment)?;
        let run = Run {
            region,
            index: self.top(segment),
            chunks,
        };
        let (start, len) = region.file_range(table, run.index, chunks);
        segment::grow(start + len)?;

        let descriptor = run.descriptor();
        descriptor.chunks.store(chunks as u32, Ordering::Relaxed);
        descriptor
            .word
            .store(descriptor.word.load().with(State::Cold, None));
        crash_point!("heap.run.written");
        // SYNC: segment extended -> top
        table
            .entry(segment)
            .top
            .store((run.index + chunks) as u64, Ordering::Release);
        crash_point!("heap.run.extended");
        add(&table.entry(segment).free, chunks as i64);
        Ok(run)
    }

    /// Remembers a warm run as the youngest.
    pub(super) fn hint(&self, run: Run) {
        let state = self.state();
        let mut len = state.hinted.load(Ordering::Relaxed) as usize;
        if len >= HINTS {
            len = HINTS / 2;
            for index in 0..len {
                let kept = state.hints[index + HINTS - len].load(Ordering::Relaxed);
                state.hints[index].store(kept, Ordering::Relaxed);
            }
        }
        state.hints[len].store(Hint::of(run).0, Ordering::Relaxed);
        state.hinted.store(len as u64 + 1, Ordering::Relaxed);
    }

    /// The youngest hinted run of exactly `chunks`, else the shortest that is longer.
    #[inline]
    pub(super) fn find_hinted(&self, chunks: usize) -> Option<Run> {
        let state = self.state();
        loop {
            let len = (state.hinted.load(Ordering::Relaxed) as usize).min(HINTS);
            let mut best: Option<(usize, Hint)> = None;
            for index in (0..len).rev() {
                let hint = Hint(state.hints[index].load(Ordering::Relaxed));
                if hint.chunks() == chunks {
                    best = Some((index, hint));
                    break;
                }
                if hint.chunks() > chunks
                    && best.is_none_or(|(_, best)| hint.chunks() < best.chunks())
                {
                    best = Some((index, hint));
                }
            }
            let (index, hint) = best?;
            self.drop_hint(index, len);
            if let Some(run) = hint.check() {
                return Some(run);
            }
        }
    }

    /// The run that has been warm for the longest time, as far as remembered.
    pub(super) fn oldest_hinted(&self) -> Option<Run> {
        loop {
            let len = (self.state().hinted.load(Ordering::Relaxed) as usize).min(HINTS);
            if len == 0 {
                return None;
            }
            let hint = Hint(self.state().hints[0].load(Ordering::Relaxed));
            self.drop_hint(0, len);
            if let Some(run) = hint.check() {
                return Some(run);
            }
        }
    }

    #[inline]
    fn drop_hint(&self, index: usize, len: usize) {
        let state = self.state();
        for index in index + 1..len {
            let moved = state.hints[index].load(Ordering::Relaxed);
            state.hints[index - 1].store(moved, Ordering::Relaxed);
        }
        state.hinted.store(len as u64 - 1, Ordering::Relaxed);
    }
}

/// Where a warm run was: segment in the upper 8 bits, then 24 bits of index, then 32 of length.
#[derive(Clone, Copy)]
struct Hint(u64);

impl Hint {
    fn of(run: Run) -> Self {
        Self((run.region.segment() as u64) << 56 | (run.index as u64) << 32 | run.chunks as u64)
    }

    #[inline]
    fn chunks(self) -> usize {
        self.0 as u32 as usize
    }

    /// The run, if it is still there as it was.
    #[inline]
    fn check(self) -> Option<Run> {
        let region = Region::of((self.0 >> 56) as usize).ok()?;
        let run = Run {
            region,
            index: (self.0 >> 32) as usize & 0xff_ffff,
            chunks: self.chunks(),
        };
        let descriptor = run.descriptor();

        (descriptor.word.load().is(State::Warm) && length(descriptor) == run.chunks).then_some(run)
    }
}

/// Joins the free runs in `state` that follow `run` to it; its new length.
fn merge(run: Run, top: usize, state: State) -> usize {
    let mut chunks = run.chunks;
    while run.index + chunks < top {
        let next = run.region.descriptor(run.index + chunks);
        if !next.word.load().is(state) {
            break;
        }
        chunks += length(next);
        run.descriptor()
            .chunks
            .store(chunks as u32, Ordering::Relaxed);
        crash_point!("heap.run.lengthened");
        clear(next);
        crash_point!("heap.run.merged");
    }
    chunks
}
