//! What a worker writes for one item, and how the program reads it.
//!
//! One tag byte, then: the encoded result, or the texts that describe a failure, each behind its length. Written by
//! [`super::worker`], read where the result is asked for.

use std::time::Duration;

use procession_core::pool::{ItemOutcome, Task};
use procession_core::shm::Message;
use serde::de::DeserializeOwned;

use crate::codec;
use crate::error::TaskError;

const FINISHED: u8 = 0;
const PANICKED: u8 = 1;
const BAD_ARGUMENTS: u8 = 2;
const BAD_RESULT: u8 = 3;

/// A failure as the worker knows it.
#[derive(Debug)]
pub(super) enum Failure {
    Panicked {
        message: String,
        location: String,
        backtrace: String,
    },
    BadArguments(String),
    BadResult(String),
}

/// Begins a result that `encode` appends.
pub(super) fn begin_finished(output: &mut Vec<u8>) {
    output.push(FINISHED);
}

/// Whether a result's bytes are those of a result, not of a failure.
pub(super) fn is_finished(bytes: &[u8]) -> bool {
    bytes.first() == Some(&FINISHED)
}

/// Writes a failure.
pub(super) fn write_failure(failure: &Failure, output: &mut Vec<u8>) {
    let (tag, texts) = match failure {
        Failure::Panicked {
            message,
            location,
            backtrace,
        } => (
            PANICKED,
            [message.as_str(), location.as_str(), backtrace.as_str()],
        ),
        Failure::BadArguments(message) => (BAD_ARGUMENTS, [message.as_str(), "", ""]),
        Failure::BadResult(message) => (BAD_RESULT, [message.as_str(), "", ""]),
    };
    output.push(tag);
    for text in texts {
        output.extend_from_slice(&(text.len() as u64).to_le_bytes());
        output.extend_from_slice(text.as_bytes());
    }
}

/// What became of one item.
pub(super) fn read<R: DeserializeOwned + 'static>(
    task: &Task,
    outcome: ItemOutcome<'_>,
    message: Option<&Message>,
    limit: Option<Duration>,
) -> Result<R, TaskError> {
    let bytes = match outcome {
        ItemOutcome::Finished(bytes) => bytes,
        ItemOutcome::Failed(fault) => return Err(TaskError::from_fault(task.name(), fault, limit)),
    };
    let name = || task.name().to_owned();
    match bytes.split_first() {
        Some((&FINISHED, result)) => {
            let reading = message.map(Message::begin_reading).transpose();
            let decoded = reading
                .map_err(Into::into)
                .and_then(|_reading| codec::decode(result));
            decoded.map_err(|error| TaskError::DecodeResult {
                task: name(),
                message: error.to_string(),
            })
        }
        Some((&PANICKED, texts)) => {
            let [message, location, backtrace] = read_texts(texts);
            Err(TaskError::Panicked {
                task: name(),
                message,
                location,
                backtrace,
            })
        }
        Some((&BAD_ARGUMENTS, texts)) => {
            let [message, ..] = read_texts(texts);
            Err(TaskError::DecodeArguments {
                task: name(),
                message,
            })
        }
        Some((&BAD_RESULT, texts)) => {
            let [message, ..] = read_texts(texts);
            Err(TaskError::EncodeResult {
                task: name(),
                message,
            })
        }
        _ => Err(TaskError::DecodeResult {
            task: name(),
            message: "the result is damaged".to_owned(),
        }),
    }
}

fn read_texts(mut bytes: &[u8]) -> [String; 3] {
    std::array::from_fn(|_| {
        let Some((length, rest)) = bytes.split_first_chunk::<8>() else {
            return String::new();
        };
        let length = usize::try_from(u64::from_le_bytes(*length))
            .unwrap_or(usize::MAX)
            .min(rest.len());
        let (text, rest) = rest.split_at(length);
        bytes = rest;
        String::from_utf8_lossy(text).into_owned()
    })
}
