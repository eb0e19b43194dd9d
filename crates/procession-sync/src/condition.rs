//! `RawCondition`: waiting for a notification, with the user's lock given up meanwhile.
//!
//! Used by the faces' `Condition`. A table of waiters that only whoever holds the user's lock
//! changes, each change by one store: each waiter sleeps on its own entry, so `notify(n)` wakes
//! exactly n, oldest first, and a timeout can be told from a notification afterwards.
//!
//! A killed waiter leaves its entry behind with its name. Whoever next holds the lock in `notify`
//! or `wait` frees it, and hands a notification that the dead one had received but not used to
//! the next in line; sleepers look for such entries whenever they wake, once a second at least.
//! A notifier that is killed held the user's lock: the next to acquire it gets
//! [`Acquired::OwnerDied`], and a waiter marked but not woken finds its mark within a second.

use core::fmt;

use crate::primitive::{AtomicU32, AtomicU64, Ordering};
use crate::{Acquired, OwnerId, Stop, Waiter};

/// How many can wait before the table needs [`Overflow`] chunks.
pub const INLINE_ENTRIES: usize = 8;

const FREE: u32 = 0;
const WAITING: u32 = 1;
const NOTIFIED: u32 = 2;

/// The user's lock, as a condition gives it up and takes it back.
pub trait Monitor {
    /// Releases the lock, however often it is held.
    fn unlock(&mut self);

    /// Acquires the lock again as it was held, with neither deadline nor interruption.
    fn relock(&mut self) -> Acquired;
}

/// Where entries beyond the first [`INLINE_ENTRIES`] come from.
pub trait Overflow {
    /// Why the table cannot grow.
    type Error;

    /// The chunk after `index` others; `None` beyond the last. Chunks never go away while the
    /// condition lives.
    fn chunk(&self, index: usize) -> Option<&[WaiterEntry]>;

    /// Links one more chunk of fresh entries at the end. Called with the user's lock held.
    ///
    /// # Errors
    ///
    /// When there is no room for one; the wait that asked for it fails with that error.
    fn grow(&self) -> Result<(), Self::Error>;
}

/// An [`Overflow`] without chunks: more than [`INLINE_ENTRIES`] waiters are an error.
#[derive(Copy, Clone, Debug, Default)]
pub struct NoOverflow;

/// More waiters than the table holds.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub struct TableFull;

impl Overflow for NoOverflow {
    type Error = TableFull;

    fn chunk(&self, _index: usize) -> Option<&[WaiterEntry]> {
        None
    }

    fn grow(&self) -> Result<(), TableFull> {
        Err(TableFull)
    }
}

impl fmt::Display for TableFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "wait for a condition that has {INLINE_ENTRIES} waiters: give its table room to grow"
        )
    }
}

impl core::error::Error for TableFull {}

/// How a wait for a condition ended; the user's lock is held again.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
#[must_use = "the wait may have timed out, and the lock's owner may have died"]
pub struct Waited {
    /// `Ok` if a notification came, even one that came after the deadline. With
    /// [`Acquired::OwnerDied`] it may be `Ok` without one.
    pub outcome: Result<(), Stop>,
    /// In what state the user's lock was acquired again.
    pub lock: Acquired,
}

/// One waiter. All-zero bytes are a free entry.
#[derive(Debug)]
#[repr(C)]
pub struct WaiterEntry {
    /// | value | meaning | next |
    /// |---|---|---|
    /// | 0 | free | 1 by a waiter, after `owner` and `order` |
    /// | 1 | its waiter sleeps | 2 by `notify`; 0 by its waiter when it gives up, or by anyone if it is dead |
    /// | 2 | notified | 0 by its waiter, or by whoever hands a dead waiter's notification on |
    state: AtomicU32,
    owner: AtomicU32,
    order: AtomicU64,
}

/// A condition. All-zero bytes are one that nobody waits for.
///
/// All its methods but [`waiting`](Self::waiting) are called with the user's lock held.
#[derive(Debug)]
#[repr(C)]
pub struct RawCondition {
    /// The order of the latest waiter; written with the user's lock held.
    last_order: AtomicU64,
    entries: [WaiterEntry; INLINE_ENTRIES],
}

impl WaiterEntry {
    crate::primitive::const_unless_loom! {
        /// A free entry.
        #[must_use]
        pub const fn new() -> Self {
            Self {
                state: AtomicU32::new(FREE),
                owner: AtomicU32::new(0),
                order: AtomicU64::new(0),
            }
        }
    }

    fn state(&self) -> u32 {
        // SYNC: notified -> looked
        self.state.load(Ordering::Acquire)
    }

    fn order(&self) -> u64 {
        self.order.load(Ordering::Relaxed)
    }

    fn enlist(&self, owner: OwnerId, order: u64) {
        self.owner.store(owner.to_bits(), Ordering::Relaxed);
        self.order.store(order, Ordering::Relaxed);
        // SYNC: enlisted -> looked
        self.state.store(WAITING, Ordering::Release);
    }

    fn free(&self) {
        self.state.store(FREE, Ordering::Relaxed);
    }

    fn notify<W: Waiter>(&self, waiter: &W) {
        // SYNC: notified -> looked
        self.state.store(NOTIFIED, Ordering::Release);
        waiter.wake(&self.state, 1);
    }

    fn is_dead<W: Waiter>(&self, waiter: &W) -> bool {
        OwnerId::from_bits(self.owner.load(Ordering::Relaxed))
            .is_none_or(|owner| !waiter.is_alive(owner))
    }
}

impl Default for WaiterEntry {
    fn default() -> Self {
        Self::new()
    }
}

impl RawCondition {
    crate::primitive::const_unless_loom! {
        /// A condition that nobody waits for.
        #[must_use]
        pub const fn new() -> Self {
            Self {
                last_order: AtomicU64::new(0),
                entries: [
                    WaiterEntry::new(), WaiterEntry::new(), WaiterEntry::new(),
                    WaiterEntry::new(), WaiterEntry::new(), WaiterEntry::new(),
                    WaiterEntry::new(), WaiterEntry::new(),
                ],
            }
        }
    }

    /// Gives the user's lock up, waits for a notification for as long as `waiter` allows, and
    /// takes the lock back, for however long that takes.
    ///
    /// # Errors
    ///
    /// What [`Overflow::grow`] answered, with the lock still held, if there was no free entry.
    pub fn wait<W: Waiter, M: Monitor, O: Overflow>(
        &self,
        waiter: &mut W,
        monitor: &mut M,
        overflow: &O,
    ) -> Result<Waited, O::Error> {
        self.sweep(waiter, overflow);
        let entry = loop {
            match self.table(overflow).find(|entry| entry.state() == FREE) {
                Some(entry) => break entry,
                None => overflow.grow()?,
            }
        };
        let order = self.last_order.load(Ordering::Relaxed) + 1;
        self.last_order.store(order, Ordering::Relaxed);
        entry.enlist(waiter.owner(), order);

        let mut lock = Acquired::Clean;
        loop {
            monitor.unlock();
            let slept = self.sleep(entry, order, waiter, overflow);
            if monitor.relock() == Acquired::OwnerDied {
                lock = Acquired::OwnerDied;
            }

            self.sweep(waiter, overflow);
            let mine = entry.order() == order && entry.state() != FREE;
            if !mine {
                // This process was taken for dead and its entry given away; to wake for nothing
                // is all that is left.
                return Ok(Waited {
                    outcome: Ok(()),
                    lock,
                });
            }
            let notified = entry.state() == NOTIFIED;
            if notified || slept.is_err() || lock == Acquired::OwnerDied {
                entry.free();
                let outcome = if notified { Ok(()) } else { slept };
                return Ok(Waited { outcome, lock });
            }
        }
    }

    /// Notifies up to `count` of those who wait, oldest first, and says how many; `u32::MAX`
    /// notifies all.
    pub fn notify<W: Waiter, O: Overflow>(&self, count: u32, waiter: &W, overflow: &O) -> u32 {
        self.sweep(waiter, overflow);
        self.notify_living(count, waiter, overflow)
    }

    /// How many wait and have not been notified. Exact while the caller holds the user's lock.
    pub fn waiting<O: Overflow>(&self, overflow: &O) -> usize {
        self.table(overflow)
            .filter(|entry| entry.state() == WAITING)
            .count()
    }

    /// Sleeps until `entry` is notified or there is a reason to take the lock and look closer.
    fn sleep<W: Waiter, O: Overflow>(
        &self,
        entry: &WaiterEntry,
        order: u64,
        waiter: &mut W,
        overflow: &O,
    ) -> Result<(), Stop> {
        while entry.state() == WAITING && waiter.spin() {}
        loop {
            if entry.state() != WAITING || entry.order() != order {
                return Ok(());
            }
            waiter.wait(&entry.state, WAITING, None)?;

            let stranded = |entry: &WaiterEntry| entry.state() == NOTIFIED && entry.is_dead(waiter);
            if entry.state() == WAITING && self.table(overflow).any(stranded) {
                return Ok(());
            }
        }
    }

    /// Frees the entries of the dead, and hands the notifications that they did not use on.
    fn sweep<W: Waiter, O: Overflow>(&self, waiter: &W, overflow: &O) {
        for entry in self.table(overflow) {
            let state = entry.state();
            if state == FREE || !entry.is_dead(waiter) {
                continue;
            }
            // Handed on before it is freed: if this process dies in between, one notification
            // is doubled, but none is lost.
            if state == NOTIFIED {
                self.notify_living(1, waiter, overflow);
            }
            entry.free();
        }
    }

    fn notify_living<W: Waiter, O: Overflow>(&self, count: u32, waiter: &W, overflow: &O) -> u32 {
        let living = || {
            self.table(overflow)
                .filter(|entry| entry.state() == WAITING && !entry.is_dead(waiter))
        };
        let mut notified = 0;
        if count == u32::MAX {
            for entry in living() {
                entry.notify(waiter);
                notified += 1;
            }
            return notified;
        }

        while notified < count
            && let Some(oldest) = living().min_by_key(|entry| entry.order())
        {
            oldest.notify(waiter);
            notified += 1;
        }
        notified
    }

    fn table<'a, O: Overflow>(&'a self, overflow: &'a O) -> impl Iterator<Item = &'a WaiterEntry> {
        let chunks = (0..).map_while(|index| overflow.chunk(index)).flatten();
        self.entries.iter().chain(chunks)
    }
}

impl Default for RawCondition {
    fn default() -> Self {
        Self::new()
    }
}
