//! The loop of a worker: take a task, run its items, publish, finish.
//!
//! It runs on the main thread of its process, calls the face's executor for each item, and returns when the pool's queue is closed and
//! empty or the worker has done its share. What the supervisor does when a worker dies at any point of it stands in the `README.md` beside this
//! file.

use std::sync::atomic::Ordering;
use std::time::Duration;

use procession_sync::OwnerId;
use procession_sys::time::monotonic_nanos;

use super::cell::{Cell, Phase};
use super::record::{INITIALIZER_FAILED, PoolState, READY, Record};
use super::results::Chain;
use super::shared::{Shared, WorkerOrder};
use crate::crash::crash_point;
use crate::error::{Error, ErrorKind, Result};
use crate::process::Entered;
use crate::shm::handles::Collected;
use crate::shm::message::{Message, View};
use crate::shm::{BlockId, Wait};

/// Finished results are published at least this often while a task goes on.
const PUBLISH_EVERY: Duration = Duration::from_millis(1);

/// What the face does with one item.
pub trait Executor {
    /// Runs the item and appends its result's bytes to `output`; false if the
    /// result is an error. Must not unwind.
    fn execute(
        &mut self,
        entry: u64,
        item: &[u8],
        task: &View,
        output: &mut Vec<u8>,
        handles: &mut Collected,
    ) -> bool;
}

/// A worker process that has entered its pool.
#[derive(Debug)]
pub struct Worker {
    shared: Shared,
    order: WorkerOrder,
}

impl Worker {
    /// Reads the pool's part of the launch message, which begins at `payload`;
    /// the rest is the face's.
    ///
    /// # Errors
    /// The message is not that of a pool worker.
    pub fn enter<'a>(entered: &Entered, payload: &'a [u8]) -> Result<(Self, &'a [u8])> {
        let damaged = || {
            Error::new(
                ErrorKind::Protocol,
                "the launch message is not that of a pool worker",
            )
        };
        let (order, rest) = WorkerOrder::decode(payload).ok_or_else(damaged)?;
        let shared = Shared::open(&entered.message, &order)?;
        Ok((Self { shared, order }, rest))
    }

    /// Tells the pool that the initializer failed, and why.
    ///
    /// # Errors
    /// The Heap is exhausted.
    pub fn initializer_failed(&self, text: &str) -> Result<()> {
        let mut message = Message::create(&Collected::none(), text.len())?;
        message.payload_mut().copy_from_slice(text.as_bytes());
        let record = self.record();
        record.error.store(
            message.give(self.order.program).to_bits(),
            Ordering::Relaxed,
        );
        // SYNC: initializer's error -> supervisor
        record.state.store(INITIALIZER_FAILED, Ordering::Release);
        Ok(())
    }

    /// Runs tasks until there are none, or this worker has done its share.
    ///
    /// # Errors
    /// The queue or the Heap cannot be used; the supervisor replaces the
    /// worker.
    pub fn run(self, executor: &mut dyn Executor) -> Result<()> {
        let record = self.record();
        // SYNC: initializer's success -> supervisor
        record.state.store(READY, Ordering::Release);
        let mut runner = Runner {
            executor,
            record,
            state: self.shared.state(),
            place: self.order.index,
            program: self.order.program,
            output: Vec::new(),
            handles: Collected::default(),
        };
        let mut done = 0;
        while self.order.max_tasks == 0 || done < self.order.max_tasks {
            let mut wait = Wait::forever().for_answer();
            let taken = self
                .shared
                .queue
                .get_word(&mut wait, &mut |sequence, task| {
                    record.note(sequence, task);
                    crash_point!("pool.task.noted");
                });
            crash_point!("pool.task.taken");
            let task = match taken {
                Ok(task) => task,
                Err(error) if error.kind() == ErrorKind::Closed => break,
                Err(error) => return Err(error),
            };
            if let Some(task) = BlockId::from_bits(task) {
                runner.run(task);
            }
            // SYNC: task noted -> supervisor
            record.current.store(0, Ordering::Release);
            done += 1;
        }
        Ok(())
    }

    fn record(&self) -> &'static Record {
        self.shared.record(self.order.index)
    }
}

/// What the items of one task are run with.
struct Runner<'a> {
    executor: &'a mut dyn Executor,
    record: &'static Record,
    state: &'static PoolState,
    place: u32,
    program: OwnerId,
    output: Vec<u8>,
    handles: Collected,
}

impl Runner<'_> {
    fn run(&mut self, task: BlockId) {
        let wait = Wait::never();
        let Some(view) = View::of(task) else {
            return;
        };
        let cell = Cell::of(&view);
        if !cell.begin(self.place, &wait) {
            return;
        }
        crash_point!("pool.task.running");
        self.run_items(cell, &view);
        crash_point!("pool.task.published");
        self.record.started.store(0, Ordering::Relaxed);
        self.record.finished.store(
            self.record.finished.load(Ordering::Relaxed) + 1,
            Ordering::Relaxed,
        );
        if !cell.advance(Phase::Running, Phase::Done, &wait) {
            end_stopped_worker();
        }
        // The program may have taken the results and freed the cell by now: then this reads something else, and wakes in vain.
        if cell.is_announced() {
            self.state.completed.notify_all(&wait);
        }
    }

    fn run_items(&mut self, cell: &Cell, view: &View) {
        let entry = cell.entry.load(Ordering::Relaxed);
        let count = cell.items.load(Ordering::Relaxed);
        let start = cell.start.load(Ordering::Relaxed);
        let mut chain = Chain::of(cell, self.program);
        let mut first = start;
        let mut published_at = monotonic_nanos();
        self.output.clear();

        for (index, item) in
            items(view.payload_behind(size_of::<Cell>()), count).skip(start as usize)
        {
            let now = monotonic_nanos();
            if u128::from(now - published_at) >= PUBLISH_EVERY.as_nanos() && index > first {
                self.publish(cell, &mut chain, first, index);
                first = index;
                published_at = now;
            }
            if cell.phase() != Phase::Running {
                end_stopped_worker();
            }
            cell.running.store(index + 1, Ordering::Relaxed);
            self.record.started.store(now, Ordering::Relaxed);
            self.run_item(entry, item, view);
        }
        if count == 1 && self.handles.is_empty() && cell.store_inline(&self.output[ITEM_LENGTH..]) {
            self.output.clear();
            return;
        }
        self.publish(cell, &mut chain, first, count);
    }

    fn run_item(&mut self, entry: u64, item: &[u8], view: &View) {
        let start = self.output.len();
        self.output.extend_from_slice(&[0; ITEM_LENGTH]);
        let succeeded =
            self.executor
                .execute(entry, item, view, &mut self.output, &mut self.handles);
        let length = (self.output.len() - start - ITEM_LENGTH) as u64;
        self.output[start..start + ITEM_LENGTH].copy_from_slice(&length.to_le_bytes());
        let count = |counter: &std::sync::atomic::AtomicU64| {
            counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        };
        count(&self.record.items);
        if !succeeded {
            count(&self.record.failed_items);
        }
    }

    fn publish(&mut self, cell: &Cell, chain: &mut Chain, first: u32, end: u32) {
        let handles = std::mem::take(&mut self.handles);
        if end > first
            && let Err(error) = chain.publish(cell, first, end - first, &self.output, &handles)
        {
            // The worker is sound, and the program has to be told in a way that needs no memory.
            tracing::warn!(%error, "results of a task could not be published");
            cell.unpublished.store(1, Ordering::Relaxed);
        }
        self.output.clear();
        // SYNC: results published -> supervisor
        cell.published.store(end, Ordering::Release);
    }
}

const ITEM_LENGTH: usize = 8;

/// The items of a task, each behind its length.
fn items(mut bytes: &[u8], count: u32) -> impl Iterator<Item = (u32, &[u8])> {
    (0..count).map_while(move |index| {
        let (length, rest) = bytes.split_at_checked(ITEM_LENGTH)?;
        let length = usize::try_from(u64::from_le_bytes(length.try_into().ok()?)).ok()?;
        let (item, rest) = rest.split_at_checked(length)?;
        bytes = rest;
        Some((index, item))
    })
}

/// Somebody decided against the task that this worker runs, and is killing the
/// worker: it must not touch anything else.
fn end_stopped_worker() -> ! {
    procession_sys::process::exit_now(1)
}
