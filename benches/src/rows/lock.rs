//! How long it takes to take and give back a lock that nobody else wants.

use crate::floors::lock;
use crate::harness::Kind::{Floor, Peer};
use crate::harness::{Entry, Row};
use crate::peers::pthread;

pub(crate) fn row() -> Row {
    Row {
        name: "lock",
        title: "acquire and release an uncontended lock",
        goal: "15 ns where the futex word takes 10 ns",
        floor: "futex word",
        operations: 200_000,
        rounds: 81,
        entries: vec![
            Entry::new(Floor, "futex word", lock::futex_word),
            Entry::new(Floor, "std Mutex, one process", lock::std_mutex),
            Entry::new(Peer, "pthread mutex, shared", pthread::shared_mutex),
            Entry::new(Peer, "pthread mutex, shared, robust", pthread::robust_mutex),
        ],
    }
}
