//! How much one tiny task costs when many are handed to a pool before the first result is taken.

use crate::floors::ring;
use crate::harness::Kind::{Floor, Peer};
use crate::harness::{Entry, Row};
use crate::link::OneWay;
use crate::peers::procspawn;

pub(crate) fn row() -> Row {
    Row {
        name: "throughput",
        title: "tiny tasks handed to a pool all at once",
        goal: "at most 1.5 µs a task",
        floor: "bare shared ring, one way",
        operations: 20_000,
        rounds: 41,
        entries: vec![
            Entry::new(Floor, "bare shared ring, one way", || {
                Ok(Box::new(OneWay(ring::small()?)))
            }),
            // Each task of procspawn's holds descriptors until its result is taken.
            Entry::new(Peer, "procspawn", procspawn::throughput).operations(200),
        ],
    }
}
