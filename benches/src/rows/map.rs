//! How well a pool keeps all cores busy: tasks of five milliseconds of CPU each.

use crate::harness::Kind::Peer;
use crate::harness::{Entry, Row};
use crate::machine;
use crate::peers::{procspawn, rayon};

pub(crate) fn row() -> Row {
    Row {
        name: "map",
        title: "map of 5 ms CPU tasks on all cores; perfect is 5 ms over the CPUs",
        goal: "at most 1.03 x rayon",
        floor: "rayon, threads",
        operations: 16 * machine::usable_cpus() as u64,
        rounds: 21,
        entries: vec![
            Entry::new(Peer, "rayon, threads", rayon::map),
            Entry::new(Peer, "procspawn", procspawn::map),
        ],
    }
}
