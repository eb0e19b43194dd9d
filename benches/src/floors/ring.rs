//! A bare ring in shared memory, one producer and one consumer: the least that passing messages on costs.
//!
//! Layout: how many were taken at 0, how many were put at 128, the slots from 4096 on. Each side keeps its own
//! count and a copy of the other's, which it reads again only when that copy says full or empty. Who waits spins
//! and then yields; nobody sleeps.

use std::hint;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::os::Shared;
use crate::Result;
use crate::link::{Bulk, Helper, Link, Pair, Place};
use crate::work::{self, BULK_BYTES, Message};

pub(crate) const SMALL_ROLE: &str = "ring-small";
pub(crate) const BULK_ROLE: &str = "ring-bulk";

const SLOTS_AT: usize = 4096;
const SMALL_SLOTS: usize = 1024;
const BULK_SLOTS: usize = 2;

/// One side of a ring.
struct Ring {
    shared: Shared,
    slots: usize,
    slot_bytes: usize,
    own: u64,
    other: u64,
}

impl Ring {
    fn new(shared: Shared, slots: usize, slot_bytes: usize) -> Self {
        Self {
            shared,
            slots,
            slot_bytes,
            own: 0,
            other: 0,
        }
    }

    fn create(slots: usize, slot_bytes: usize) -> Result<Self> {
        let shared = Shared::create(SLOTS_AT + slots * slot_bytes)?;
        Ok(Self::new(shared, slots, slot_bytes))
    }

    fn taken(&self) -> &AtomicU64 {
        self.shared.word64(0)
    }

    fn put(&self) -> &AtomicU64 {
        self.shared.word64(128)
    }

    fn slot(&self) -> usize {
        SLOTS_AT + (self.own as usize & (self.slots - 1)) * self.slot_bytes
    }

    /// Waits for a free slot, lets `write` fill it at its offset, and publishes it.
    #[inline]
    fn push(&mut self, write: impl FnOnce(&Shared, usize)) {
        while self.own - self.other == self.slots as u64 {
            self.other = until(|| self.taken().load(Ordering::Acquire), self.other);
        }
        write(&self.shared, self.slot());
        self.own += 1;
        self.put().store(self.own, Ordering::Release);
    }

    /// Waits for a full slot, lets `read` read it at its offset, and frees it.
    #[inline]
    fn pop<T>(&mut self, read: impl FnOnce(&Shared, usize) -> T) -> T {
        while self.own == self.other {
            self.other = until(|| self.put().load(Ordering::Acquire), self.other);
        }
        let value = read(&self.shared, self.slot());
        self.own += 1;
        self.taken().store(self.own, Ordering::Release);
        value
    }
}

/// Looks until the value is another than this one.
fn until(look: impl Fn() -> u64, seen: u64) -> u64 {
    const SPINS: u32 = 64;
    loop {
        for _ in 0..SPINS {
            let value = look();
            if value != seen {
                return value;
            }
            hint::spin_loop();
        }
        thread::yield_now();
    }
}

/// Two rings of small messages, one each way.
pub(crate) struct Small {
    outgoing: Ring,
    incoming: Ring,
}

impl Link for Small {
    fn send(&mut self, message: &Message) -> Result<()> {
        self.outgoing
            .push(|shared, slot| shared.write_message(slot, message));
        Ok(())
    }

    fn receive(&mut self) -> Result<Message> {
        Ok(self.incoming.pop(|shared, slot| shared.read_message(slot)))
    }
}

pub(crate) fn small() -> Result<Pair<Small>> {
    let bytes = size_of::<Message>();
    let outgoing = Ring::create(SMALL_SLOTS, bytes)?;
    let incoming = Ring::create(SMALL_SLOTS, bytes)?;
    let paths = [outgoing.shared.path(), incoming.shared.path()];
    let helper = Helper::start(SMALL_ROLE, &[&paths[0], &paths[1]], None)?;
    Ok(Pair {
        link: Small { outgoing, incoming },
        helper,
    })
}

pub(crate) fn serve_small(place: &Place) -> Result<()> {
    let ring = |index| -> Result<Ring> {
        let shared = Shared::open(place.argument(index)?)?;
        Ok(Ring::new(shared, SMALL_SLOTS, size_of::<Message>()))
    };
    let incoming = ring(0)?;
    let outgoing = ring(1)?;
    place.serve_link(Small { outgoing, incoming })
}

/// A ring of large messages, copied in from a buffer and out into one.
pub(crate) struct Copied {
    ring: Ring,
    buffer: Vec<u8>,
}

impl Bulk for Copied {
    fn send(&mut self, number: u64) -> Result<()> {
        work::fill(&mut self.buffer, number);
        let buffer = &self.buffer;
        self.ring.push(|shared, slot| shared.write(slot, buffer));
        Ok(())
    }

    fn receive(&mut self) -> Result<u64> {
        let buffer = &mut self.buffer;
        self.ring.pop(|shared, slot| shared.read(slot, buffer));
        Ok(work::sum(buffer))
    }
}

pub(crate) fn bulk() -> Result<Pair<Copied>> {
    let ring = Ring::create(BULK_SLOTS, BULK_BYTES)?;
    let helper = Helper::start(BULK_ROLE, &[&ring.shared.path()], None)?;
    let buffer = vec![0; BULK_BYTES];
    Ok(Pair {
        link: Copied { ring, buffer },
        helper,
    })
}

pub(crate) fn serve_bulk(place: &Place) -> Result<()> {
    let ring = Ring::new(Shared::open(place.argument(0)?)?, BULK_SLOTS, BULK_BYTES);
    place.serve_bulk(Copied {
        ring,
        buffer: vec![0; BULK_BYTES],
    })
}
