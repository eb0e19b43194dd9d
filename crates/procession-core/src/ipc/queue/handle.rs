//! `Queue`: the handle, and everything about a queue that is neither putting nor getting.
//!
//! Used by the faces and the pool. A handle is cheap to clone and may be passed to any process of the family; the queue
//! and the messages that still wait in it end with the last handle. The layout is in `state.rs`.

use super::put::lock_put_end;
use super::recovery;
use super::state::{FIRST_BLOCK, QueueState};
use super::tasks::Tasks;
use crate::engine::notifier::{self, Readiness, Source};
use crate::error::{Error, ErrorKind, Result};
use crate::shm::{Block, BlockId, Object, Wait, heap};
use procession_sync::{RawEventCount, Waiter};
use std::sync::atomic::Ordering;

/// A first-in, first-out queue of messages between the processes of a family.
///
/// Any number of processes and threads put and get at the same time. A message is in the queue when `put` returns,
/// whatever happens to the process then; a process killed inside `put` loses the message it was putting, one killed
/// inside `get` at most the message it was getting, and neither blocks or damages anything for others.
#[derive(Clone, Debug)]
pub struct Queue {
    object: Object<QueueState>,
}

impl Queue {
    /// Makes a queue for at most `maxsize` messages at a time, or for any number.
    ///
    /// # Errors
    /// No memory, or this process belongs to no family.
    pub fn new(maxsize: Option<usize>) -> Result<Self> {
        Self::create(maxsize, None)
    }

    pub(super) fn create(maxsize: Option<usize>, tasks: Option<Block>) -> Result<Self> {
        let maxsize = match maxsize {
            Some(0) => {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    "make a queue for 0 messages: leave the size away for no bound",
                ));
            }
            Some(maxsize) => maxsize as u64,
            None => 0,
        };
        let first = heap::allocate(FIRST_BLOCK)?;

        // Each block's id is stored before the block is the queue's: dying in between leaves two private blocks, after
        // it a private queue that frees it.
        let object = Object::<QueueState>::create(0, move |state, _| {
            state.words.maxsize.store(maxsize, Ordering::Relaxed);
            for (blocks, capacities) in [
                (&state.put.blocks, &state.put.capacities),
                (&state.get.blocks, &state.get.capacities),
            ] {
                blocks[0].store(first.id().to_bits(), Ordering::Relaxed);
                capacities[0].store(FIRST_BLOCK as u32, Ordering::Relaxed);
            }
            let _ = first.into_queued();
            if let Some(tasks) = tasks {
                state
                    .words
                    .tasks
                    .store(tasks.id().to_bits(), Ordering::Release);
                let _ = tasks.into_queued();
            }
        })?;
        Ok(Self { object })
    }

    /// The queue with the name. Somebody must hold it during the call: a message that this process owns, for instance.
    ///
    /// # Errors
    /// It is gone, or something else.
    pub fn attach(id: BlockId) -> Result<Self> {
        Ok(Self {
            object: Object::attach(id)?,
        })
    }

    /// The queue that a handle in a message stands for.
    #[must_use]
    pub fn from_object(object: Object<QueueState>) -> Self {
        Self { object }
    }

    /// The queue as an object, to be put into messages.
    #[must_use]
    pub const fn object(&self) -> &Object<QueueState> {
        &self.object
    }

    /// Its name within the family.
    #[must_use]
    pub fn id(&self) -> BlockId {
        self.object.id()
    }

    #[inline]
    pub(super) fn state(&self) -> &QueueState {
        &self.object
    }

    /// How many messages wait: exactly, at one instant during the call.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state().len() as usize
    }

    /// Does no message wait?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state().is_empty()
    }

    /// Has a bounded queue no room?
    #[must_use]
    pub fn is_full(&self) -> bool {
        !self.state().has_room()
    }

    /// How many messages may wait at a time; `None` for any number.
    #[must_use]
    pub fn maxsize(&self) -> Option<usize> {
        self.state().maxsize().map(|maxsize| maxsize as usize)
    }

    /// Ends the queue for all processes: from now on `put` fails, and `get` too once no message is left.
    ///
    /// # Errors
    /// The operation was interrupted while another process was inside `put`.
    pub fn close(&self, wait: &mut Wait<'_>) -> Result<()> {
        let state = self.state();
        let held = lock_put_end(state, wait)?;
        // SYNC: queue closed -> get
        state.words.closed.store(1, Ordering::Release);
        drop(held);

        state.words.ready.notify_all(wait);
        state.words.space.notify_all(wait);
        state.words.polled.notify_all(wait);
        Ok(())
    }

    /// Was it closed?
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state().is_closed()
    }

    /// A descriptor that can be polled: readable while a `get` would not wait. The first one starts a thread, which ends
    /// with the last.
    ///
    /// Another process may take the message first: who polls then asks [`Readiness::is_ready`].
    ///
    /// # Errors
    /// No descriptor or thread is left for this process.
    pub fn readiness(&self) -> Result<Readiness> {
        self.state().words.is_polled.store(1, Ordering::Relaxed);

        notifier::register(self.clone())
    }

    /// Sleeps on `count` until `may_go_on`; the caller then tries again.
    #[cold]
    pub(super) fn sleep(
        &self,
        count: &RawEventCount,
        may_go_on: impl Fn() -> bool,
        wait: &mut Wait<'_>,
    ) -> Result<()> {
        if wait.is_never() {
            return if may_go_on() {
                Ok(())
            } else {
                wait.check_interrupt()
                    .and(Err(procession_sync::Stop::TimedOut))
                    .map_err(Error::from)
            };
        }
        loop {
            while wait.spin() {
                if may_go_on() {
                    return Ok(());
                }
            }
            let ticket = count.prepare();
            if may_go_on() {
                return Ok(());
            }
            if let Err(stop) = count.wait(ticket, wait, None) {
                return if may_go_on() {
                    Ok(())
                } else {
                    Err(stop.into())
                };
            }
        }
    }
}

impl Source for Queue {
    fn id(&self) -> BlockId {
        self.object.id()
    }

    fn event_count(&self) -> &RawEventCount {
        &self.state().words.polled
    }

    fn is_ready(&self) -> bool {
        self.is_closed() || !self.is_empty()
    }
}

/// Frees the messages and blocks of a queue that nobody holds. Runs again from the start if its process dies in it.
pub(crate) fn destroy(block: &Block) {
    let Some(state) = crate::shm::object::contents::<QueueState>(block) else {
        return;
    };

    recovery::put_end(state);
    recovery::get_end(state);
    state.drain();
    if let Ok(Some(tasks)) = Tasks::of(state) {
        tasks.destroy();
    }
    recovery::settle(&state.words.tasks, false);
}
