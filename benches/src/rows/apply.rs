//! How long a pool takes to run one tiny task and hand back its result.

use super::round_trip::{SLEEPING, SPINNING};
use crate::floors::futex;
use crate::harness::Kind::{Floor, Peer};
use crate::harness::{Entry, Row};
use crate::peers::procspawn;

pub(crate) fn row() -> Row {
    Row {
        name: "apply",
        title: "round trip of one tiny task through a pool",
        goal: "5 x procspawn",
        floor: SPINNING,
        operations: 200,
        rounds: 81,
        entries: vec![
            Entry::new(Floor, SLEEPING, futex::sleeping).over(SLEEPING),
            Entry::new(Floor, SPINNING, futex::spinning),
            Entry::new(Peer, "procspawn", procspawn::apply).over(SLEEPING),
        ],
    }
}
