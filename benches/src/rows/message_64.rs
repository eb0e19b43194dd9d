//! How much one small message costs, one process sending and one receiving as fast as they can.

use crate::floors::{ring, socketpair};
use crate::harness::Kind::{Floor, Peer};
use crate::harness::{Entry, Row};
use crate::link::OneWay;
use crate::peers::{iceoryx2, ipc_channel};

pub(crate) fn row() -> Row {
    Row {
        name: "message-64",
        title: "64-byte messages, one to one",
        goal: "faster than iceoryx2, 5 x ipc-channel",
        floor: "bare shared ring",
        operations: 20_000,
        rounds: 81,
        entries: vec![
            Entry::new(Floor, "bare shared ring", || {
                Ok(Box::new(OneWay(ring::small()?)))
            }),
            Entry::new(Floor, "socketpair", || {
                Ok(Box::new(OneWay(socketpair::link()?)))
            }),
            Entry::new(Peer, "iceoryx2, polled", || {
                Ok(Box::new(OneWay(iceoryx2::polled()?)))
            }),
            Entry::new(Peer, "ipc-channel, bytes", || {
                Ok(Box::new(OneWay(ipc_channel::small_bytes()?)))
            }),
            Entry::new(Peer, "ipc-channel", || {
                Ok(Box::new(OneWay(ipc_channel::typed()?)))
            }),
        ],
    }
}
