//! What every process of a pool holds: the task queue and the pool's state with its records.

#![expect(unsafe_code, reason = "the records lie behind the state in its block")]

use std::sync::atomic::Ordering;

use procession_sync::OwnerId;

use super::record::{PoolState, Record};
use crate::bytes::{Reader, Writer};
use crate::error::Result;
use crate::ipc::queue::Queue;
use crate::shm::handles::{self, Collected};
use crate::shm::{Kind, Layout, Message, Object};

// SAFETY: only atomics, and zero bytes are a fresh state.
unsafe impl Layout for PoolState {
    const KIND: Kind = Kind::POOL;
}

/// The shared objects of one pool.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) queue: Queue,
    state: Object<PoolState>,
}

/// The pool's part of a worker's launch message.
#[derive(Debug)]
pub(super) struct WorkerOrder {
    pub(super) index: u32,
    pub(super) max_tasks: u64,
    /// The program, whose the results become.
    pub(super) program: OwnerId,
    queue: u32,
    state: u32,
}

impl Shared {
    /// Makes the objects of a pool with `workers` workers.
    pub(super) fn create(workers: u32) -> Result<Self> {
        let behind = workers as usize * size_of::<Record>();
        let state = Object::<PoolState>::create(behind, |state, _| {
            state.workers.store(workers, Ordering::Relaxed);
        })?;
        Ok(Self {
            queue: Queue::new(None)?,
            state,
        })
    }

    /// The objects of the pool that started this process.
    pub(super) fn open(message: &Message, order: &WorkerOrder) -> Result<Self> {
        let _reading = message.begin_reading()?;
        Ok(Self {
            queue: Queue::from_object(handles::resolve(order.queue)?),
            state: handles::resolve(order.state)?,
        })
    }

    pub(super) fn state(&self) -> &'static PoolState {
        let state: &PoolState = &self.state;
        // SAFETY: the object stays mapped for the life of the process, and a worker or supervisor holds it as long as it uses this.
        unsafe { &*std::ptr::from_ref(state) }
    }

    /// The record of worker `index`.
    pub(super) fn record(&self, index: u32) -> &'static Record {
        let count = self.state.workers.load(Ordering::Relaxed);
        assert!(index < count, "worker {index} of {count}");
        let records = self.state.extra().cast::<Record>();
        // SAFETY: `create` reserved `count` zeroed records behind the state.
        let record = unsafe { records.add(index as usize) };
        // SAFETY: their size and alignment of 64 keep them aligned behind a block's start; they are atomics, and stay mapped for the
        // life of the process.
        unsafe { record.as_ref() }
    }

    /// The launch payload of worker `index`: the face's prefix, the pool's
    /// part, then the face's; its handles are added to the face's own.
    pub(super) fn worker_payload(
        &self,
        index: u32,
        max_tasks: u64,
        program: OwnerId,
        prefix: &[u8],
        face: &[u8],
        handles: &mut Collected,
    ) -> Vec<u8> {
        let order = Writer::default()
            .u32(index)
            .u64(max_tasks)
            .u32(program.to_bits())
            .u32(handles.add_object(self.queue.object()))
            .u32(handles.add_object(&self.state))
            .finish();
        let mut payload = prefix.to_vec();
        payload.extend_from_slice(&Writer::default().bytes(&order).finish());
        payload.extend_from_slice(face);
        payload
    }
}

impl WorkerOrder {
    pub(super) fn decode(payload: &[u8]) -> Option<(Self, &[u8])> {
        let mut reader = Reader::new(payload);
        let mut order = Reader::new(reader.bytes()?);
        let decoded = Self {
            index: order.u32()?,
            max_tasks: order.u64()?,
            program: OwnerId::from_bits(order.u32()?)?,
            queue: order.u32()?,
            state: order.u32()?,
        };
        Some((decoded, reader.rest()))
    }
}
