//! procession's own contenders, one list a row.

mod lock;
mod pool;
mod process;
mod queue;

use crate::harness::Entry;
use crate::harness::Kind::Ours;
use crate::link::{BulkOneWay, OneWay, RoundTrip};
use crate::roles::Serve;
use crate::rows::round_trip::SLEEPING;
use crate::rows::start::FORK;

/// The child roles of procession's contenders: none, as it starts its own children.
pub(crate) const ROLES: &[(&str, Serve)] = &[];

/// procession's contenders of a row.
pub(crate) fn entries(row: &str) -> Vec<Entry> {
    match row {
        "message-64" => vec![Entry::new(Ours, "procession Queue", || {
            Ok(Box::new(OneWay(queue::small()?)))
        })],
        "message-1m" => vec![Entry::new(Ours, "procession Queue", || {
            Ok(Box::new(BulkOneWay(queue::large()?)))
        })],
        "round-trip" => vec![Entry::new(Ours, "procession, two Queues", || {
            Ok(Box::new(RoundTrip(queue::small()?)))
        })],
        "lock" => vec![Entry::new(Ours, "procession Lock", lock::uncontended)],
        "start" => vec![
            Entry::new(Ours, "procession, spawn", process::spawn),
            Entry::new(Ours, "procession, forkserver", process::forkserver).over(FORK),
        ],
        "apply" => vec![Entry::new(Ours, "procession Pool", pool::apply).over(SLEEPING)],
        "throughput" => vec![Entry::new(Ours, "procession Pool", pool::throughput)],
        "map" => vec![Entry::new(Ours, "procession Pool", pool::map)],
        _ => Vec::new(),
    }
}
