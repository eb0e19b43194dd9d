//! What can be said about one submission.

use std::time::Duration;

/// Limits of the tasks of one submission.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    pub(super) timeout: Option<Duration>,
    pub(super) retries: u32,
    pub(super) announced: bool,
}
