//! procession's own contenders, one list a row.

use crate::harness::Entry;
use crate::roles::Serve;

/// The child roles of procession's contenders: none, as it starts its own children.
pub(crate) const ROLES: &[(&str, Serve)] = &[];

/// procession's contenders of a row.
pub(crate) fn entries(_row: &str) -> Vec<Entry> {
    Vec::new()
}
