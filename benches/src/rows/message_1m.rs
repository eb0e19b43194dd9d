//! How much one large message costs, filled by its sender and read by its receiver.

use crate::floors::{memcpy, ring};
use crate::harness::Kind::{Floor, Peer};
use crate::harness::{Entry, Row};
use crate::link::BulkOneWay;
use crate::peers::{iceoryx2, ipc_channel};

pub(crate) fn row() -> Row {
    Row {
        name: "message-1m",
        title: "1 MiB messages, filled and read, one to one",
        goal: "within 2 x memcpy in and out",
        floor: "memcpy in and out",
        operations: 40,
        rounds: 81,
        entries: vec![
            Entry::new(Floor, "memcpy in and out", memcpy::bare),
            Entry::new(Floor, "memcpy, filled and read", memcpy::filled_and_read),
            Entry::new(Floor, "bare shared ring, copied", || {
                Ok(Box::new(BulkOneWay(ring::bulk()?)))
            }),
            Entry::new(Peer, "iceoryx2, in place, polled", || {
                Ok(Box::new(BulkOneWay(iceoryx2::bulk()?)))
            }),
            Entry::new(Peer, "ipc-channel, bytes", || {
                Ok(Box::new(BulkOneWay(ipc_channel::bytes()?)))
            }),
            Entry::new(Peer, "ipc-channel, shared memory", || {
                Ok(Box::new(BulkOneWay(ipc_channel::shared()?)))
            }),
        ],
    }
}
