//! How long a small message and its answer take.
//!
//! There are two floors: who sleeps at once is compared with the futex word that sleeps at once, who looks for a
//! while before it sleeps with the one that does so too.

use crate::floors::{futex, ring, socketpair};
use crate::harness::Kind::{Floor, Peer};
use crate::harness::{Entry, Row};
use crate::link::RoundTrip;
use crate::peers::{iceoryx2, ipc_channel};

pub(crate) const SLEEPING: &str = "futex word, sleep at once";
pub(crate) const SPINNING: &str = "futex word, 30 µs then sleep";

pub(crate) fn row() -> Row {
    Row {
        name: "round-trip",
        title: "a 64-byte message and its answer",
        goal: "at most 1.2 x the futex word with the same waiting policy",
        floor: SPINNING,
        operations: 200,
        rounds: 81,
        entries: vec![
            Entry::new(Floor, SLEEPING, futex::sleeping).over(SLEEPING),
            Entry::new(Floor, SPINNING, futex::spinning),
            Entry::new(Floor, "the same with a message, sleep", || {
                Ok(Box::new(RoundTrip(futex::sleeping_mailbox()?)))
            })
            .over(SLEEPING),
            Entry::new(Floor, "the same with a message, 30 µs", || {
                Ok(Box::new(RoundTrip(futex::spinning_mailbox()?)))
            }),
            Entry::new(Floor, "two bare rings, polled", || {
                Ok(Box::new(RoundTrip(ring::small()?)))
            }),
            Entry::new(Floor, "socketpair", || {
                Ok(Box::new(RoundTrip(socketpair::link()?)))
            })
            .over(SLEEPING),
            Entry::new(Peer, "iceoryx2, polled", || {
                Ok(Box::new(RoundTrip(iceoryx2::polled()?)))
            }),
            Entry::new(Peer, "iceoryx2, event", || {
                Ok(Box::new(RoundTrip(iceoryx2::notified()?)))
            })
            .over(SLEEPING),
            Entry::new(Peer, "ipc-channel, bytes", || {
                Ok(Box::new(RoundTrip(ipc_channel::small_bytes()?)))
            })
            .over(SLEEPING),
            Entry::new(Peer, "ipc-channel", || {
                Ok(Box::new(RoundTrip(ipc_channel::typed()?)))
            })
            .over(SLEEPING),
        ],
    }
}
