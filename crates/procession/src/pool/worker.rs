//! The worker's side: the initializer, then one trampoline call for each item.

use procession_core::pool::{Executor, Worker};
use procession_core::process::{Entered, image};
use procession_core::shm::handles::Collected;
use procession_core::shm::message::View;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::outcome::{self, Failure};
use crate::codec;
use crate::error::Result;
use crate::panics;
use crate::process::Outcome;
use crate::runtime::{function_at, report};
use crate::target::{self, Target};

/// What a task's position stands for: runs one item, appends its outcome.
pub(super) type TaskTrampoline = fn(&[u8], &View, &mut Vec<u8>, &mut Collected) -> bool;

/// The entry of a worker whose pool has no initializer.
pub(super) fn enter_plain(entered: &Entered, payload: &[u8]) -> i32 {
    enter(entered, payload, |_| Ok(()))
}

/// The entry of a worker whose pool has one.
pub(super) fn enter_with<F, Arguments>(entered: &Entered, payload: &[u8]) -> i32
where
    F: Target<Arguments>,
    F::Output: Outcome,
    Arguments: DeserializeOwned + 'static,
{
    enter(entered, payload, |bytes| {
        let arguments = {
            let _reading = entered.begin_reading().map_err(|error| error.to_string())?;
            codec::decode::<Arguments>(bytes).map_err(|error| error.to_string())?
        };
        let run = || target::conjure::<F>().call(arguments).report();
        match catch(run) {
            Ok(0) => Ok(()),
            Ok(_) => Err("it returned an error".to_owned()),
            Err(Failure::Panicked {
                message, location, ..
            }) => Err(format!("it panicked at {location}: {message}")),
            Err(_) => Err("it failed".to_owned()),
        }
    })
}

fn enter(
    entered: &Entered,
    payload: &[u8],
    initialize: impl FnOnce(&[u8]) -> std::result::Result<(), String>,
) -> i32 {
    let run = || -> Result<()> {
        let (worker, initializer) = Worker::enter(entered, payload)?;
        panics::note_those_of_tasks();
        if let Err(text) = initialize(initializer) {
            worker.initializer_failed(&text)?;
            return Ok(());
        }
        worker.run(&mut Trampolines)?;
        Ok(())
    };
    match run() {
        Ok(()) => 0,
        Err(error) => {
            report(&error.to_string());
            1
        }
    }
}

/// Runs items by calling the trampoline at the task's position.
struct Trampolines;

impl Executor for Trampolines {
    fn execute(
        &mut self,
        entry: u64,
        item: &[u8],
        task: &View,
        output: &mut Vec<u8>,
        handles: &mut Collected,
    ) -> bool {
        match image::address_of(entry) {
            Ok(address) => function_at::<TaskTrampoline>(address)(item, task, output, handles),
            Err(error) => {
                outcome::write_failure(&Failure::BadArguments(error.to_string()), output);
                false
            }
        }
    }
}

/// The trampoline of one target.
pub(super) fn run_item<F, Arguments>(
    item: &[u8],
    task: &View,
    output: &mut Vec<u8>,
    handles: &mut Collected,
) -> bool
where
    F: Target<Arguments>,
    F::Output: Serialize + 'static,
    Arguments: DeserializeOwned + 'static,
{
    let result = decode_arguments::<Arguments>(item, task)
        .and_then(|arguments| catch(|| target::conjure::<F>().call(arguments)))
        .and_then(|result| {
            let start = output.len();
            outcome::begin_finished(output);
            codec::encode_into(&result, output, handles).map_err(|error| {
                output.truncate(start);
                Failure::BadResult(error.to_string())
            })
        });
    match result {
        Ok(()) => true,
        Err(failure) => {
            outcome::write_failure(&failure, output);
            false
        }
    }
}

fn decode_arguments<A: DeserializeOwned + 'static>(
    item: &[u8],
    task: &View,
) -> std::result::Result<A, Failure> {
    // Most tasks carry no handles, and need no table of them.
    let _reading = task
        .has_handles()
        .then(|| task.begin_reading())
        .transpose()
        .map_err(|error| Failure::BadArguments(error.to_string()))?;
    codec::decode(item).map_err(|error| Failure::BadArguments(error.to_string()))
}

/// Runs the user's code; a panic becomes a failure.
fn catch<R>(run: impl FnOnce() -> R) -> std::result::Result<R, Failure> {
    panics::catch(run).map_err(|panic| Failure::Panicked {
        message: panic.message,
        location: panic.location,
        backtrace: panic.backtrace,
    })
}
