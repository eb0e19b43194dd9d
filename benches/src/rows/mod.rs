//! The questions, one file each: what is timed, against which floor, and what is to be reached.

mod apply;
mod lock;
mod map;
mod message_1m;
mod message_64;
pub(crate) mod round_trip;
pub(crate) mod start;
mod throughput;

use crate::harness::Row;
use crate::ours;

/// All rows, with procession's contenders last.
pub(crate) fn all() -> Vec<Row> {
    let mut rows = vec![
        message_64::row(),
        message_1m::row(),
        round_trip::row(),
        lock::row(),
        start::row(),
        apply::row(),
        throughput::row(),
        map::row(),
    ];
    for row in &mut rows {
        row.entries.extend(ours::entries(row.name));
    }
    rows
}
