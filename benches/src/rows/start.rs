//! How long a process takes that does nothing, from its start to the end of the wait for it.
//!
//! A fresh program is compared with a trivial fresh program, a copy of a running process with a bare copy.

use crate::floors::start;
use crate::harness::Kind::{Floor, Peer};
use crate::harness::{Entry, Row};
use crate::peers::procspawn;

pub(crate) const FORK: &str = "fork";

pub(crate) fn row() -> Row {
    Row {
        name: "start",
        title: "start a process and join it",
        goal: "spawn at most 1.4 x posix_spawn, forkserver at most 3 x fork",
        floor: "posix_spawn, trivial program",
        operations: 1,
        rounds: 401,
        entries: vec![
            Entry::new(
                Floor,
                "posix_spawn, trivial program",
                start::trivial_program,
            ),
            Entry::new(Floor, "posix_spawn, this program", start::this_program),
            Entry::new(Floor, FORK, start::fork).over(FORK),
            Entry::new(Peer, "procspawn", procspawn::start),
        ],
    }
}
