//! The primitives between real processes: holders and waiters that are killed at the worst moment, releases by others,
//! timeouts, and many processes at once.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test program of its own"
)]

mod board;
mod cell;
mod chaos;
#[path = "../common/mod.rs"]
mod common;
mod condition;
mod locks;
mod meeting;

use libtest_mimic::{Arguments, Failed, Trial};
use std::time::Duration;

/// A test's name and body.
type Test = (&'static str, fn());

fn main() {
    common::watchdog(Duration::from_secs(240));

    let mut arguments = Arguments::from_args();
    // Children are forked from this very thread.
    arguments.test_threads = Some(1);
    let tests = [
        locks::TESTS,
        meeting::TESTS,
        condition::TESTS,
        cell::TESTS,
        chaos::TESTS,
    ];
    let trials = tests
        .concat()
        .into_iter()
        .map(|(name, test)| {
            Trial::test(name, move || -> Result<(), Failed> {
                test();
                Ok(())
            })
        })
        .collect();

    libtest_mimic::run(&arguments, trials).exit();
}
