//! The crate's errors: [`Error`] with its [`ErrorKind`], and [`TaskError`] for what happens inside a pool's task.

use std::any::type_name;
use std::fmt;
use std::time::Duration;

use procession_core::pool::Fault;

use crate::process::ExitStatus;

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, with a text for people; [`kind`](Error::kind) is for code.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(Box<Inner>);

#[derive(Debug, thiserror::Error)]
enum Inner {
    #[error(transparent)]
    Engine(procession_core::Error),
    #[error("encode a value of type {what}: {source}")]
    Encode {
        what: &'static str,
        source: postcard::Error,
    },
    #[error("decode a value of type {what}: {source}")]
    Decode {
        what: &'static str,
        source: postcard::Error,
    },
    #[error("{0}")]
    Handle(String),
    #[error(transparent)]
    Task(TaskError),
    #[error("{text}")]
    Plain { kind: ErrorKind, text: String },
}

/// The kinds of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The deadline passed.
    TimedOut,
    /// There was nothing to get.
    Empty,
    /// There was no room to put.
    Full,
    /// The queue, pool or other thing was closed.
    Closed,
    /// The other end of a connection is closed and everything was read.
    EndOfFile,
    /// The other end, a participant of a barrier, or a pool is broken.
    Broken,
    /// A process that held a lock died, and this caller is the one that is told.
    OwnerDied,
    /// A worker died with tasks that it had taken.
    WorkerLost,
    /// A task of a pool failed; see [`Error::task`].
    Task,
    /// A value could not be encoded: a type that serde or the format refuses,
    /// or a handle outside a message.
    Encode,
    /// A value could not be decoded.
    Decode,
    /// A handle belongs to another family of processes.
    ForeignHandle,
    /// A handle names something that is gone or of another type.
    BadHandle,
    /// The shared heap is full: its budget or the system's memory is used up.
    OutOfMemory,
    /// A semaphore has all the permits that it may have.
    TooManyReleases,
    /// The call does not fit the state of the thing.
    WrongState,
    /// An argument is not acceptable.
    InvalidArgument,
    /// The wait was interrupted.
    Interrupted,
    /// The operating system refused.
    Os,
    /// Anything else.
    Other,
}

/// Why one task of a pool has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskError {
    /// The function panicked. The worker lives on.
    Panicked {
        /// The function.
        task: String,
        /// The panic's message.
        message: String,
        /// Where: file, line and column.
        location: String,
        /// The worker's stack when it panicked; empty unless
        /// `RUST_BACKTRACE` is set.
        backtrace: String,
    },
    /// The worker died while it ran the task: it was killed, crashed, or
    /// called `exit`. Another one took its place.
    WorkerLost {
        /// The function.
        task: String,
        /// The worker's process id.
        pid: u32,
        /// How it ended.
        status: ExitStatus,
    },
    /// The task took longer than it was allowed to; its worker was replaced.
    TimedOut {
        /// The function.
        task: String,
        /// How long it was allowed to take.
        limit: Option<Duration>,
    },
    /// The task was cancelled.
    Cancelled {
        /// The function.
        task: String,
    },
    /// The pool was terminated before the task was finished.
    Terminated {
        /// The function.
        task: String,
    },
    /// The pool cannot run tasks.
    BrokenPool {
        /// Why.
        reason: String,
    },
    /// The arguments could not be decoded in the worker.
    DecodeArguments {
        /// The function.
        task: String,
        /// What the decoder said.
        message: String,
    },
    /// The result could not be encoded in the worker.
    EncodeResult {
        /// The function.
        task: String,
        /// What the encoder said.
        message: String,
    },
    /// The result could not be decoded by the program that asked for it.
    DecodeResult {
        /// The function.
        task: String,
        /// What the decoder said.
        message: String,
    },
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked {
                task,
                message,
                location,
                ..
            } => {
                write!(f, "task {task} panicked at {location}: {message}")
            }
            Self::WorkerLost { task, pid, status } => {
                write!(
                    f,
                    "task {task}: its worker (pid {pid}) was lost with {status}"
                )
            }
            Self::TimedOut {
                task,
                limit: Some(limit),
            } => {
                write!(f, "task {task} took longer than {limit:?}")
            }
            Self::TimedOut { task, limit: None } => write!(f, "task {task} took too long"),
            Self::Cancelled { task } => write!(f, "task {task} was cancelled"),
            Self::Terminated { task } => write!(
                f,
                "task {task}: the pool was terminated before it was finished"
            ),
            Self::BrokenPool { reason } => write!(f, "the pool is broken: {reason}"),
            Self::DecodeArguments { task, message } => {
                write!(f, "decode the arguments of task {task}: {message}")
            }
            Self::EncodeResult { task, message } => {
                write!(f, "encode the result of task {task}: {message}")
            }
            Self::DecodeResult { task, message } => {
                write!(f, "decode the result of task {task}: {message}")
            }
        }
    }
}

impl std::error::Error for TaskError {}

impl TaskError {
    pub(crate) fn from_fault(task: &str, fault: Fault, limit: Option<Duration>) -> Self {
        let task = task.to_owned();
        match fault {
            Fault::WorkerLost { pid, status } => Self::WorkerLost { task, pid, status },
            Fault::TimedOut => Self::TimedOut { task, limit },
            Fault::Cancelled => Self::Cancelled { task },
            Fault::NoRoom => Self::EncodeResult {
                task,
                message: "shared memory has no room for it: take results sooner, or raise the budget with \
                          heap::set_budget"
                    .to_owned(),
            },
            Fault::Broken(reason) => Self::BrokenPool {
                reason: reason.to_string(),
            },
            _ => Self::Terminated { task },
        }
    }
}

impl Error {
    /// What to match on.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match &*self.0 {
            Inner::Engine(error) => kind_of_engine(error),
            Inner::Encode { .. } | Inner::Handle(_) => ErrorKind::Encode,
            Inner::Decode { .. } => ErrorKind::Decode,
            Inner::Task(_) => ErrorKind::Task,
            Inner::Plain { kind, .. } => *kind,
        }
    }

    /// Whether a deadline passed: nothing to get, no room to put, or no end
    /// of a wait in time.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        matches!(
            self.kind(),
            ErrorKind::TimedOut | ErrorKind::Empty | ErrorKind::Full
        )
    }

    /// Whether the thing was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.kind() == ErrorKind::Closed
    }

    /// What happened to the pool's task, if this is about one.
    #[must_use]
    pub fn task(&self) -> Option<&TaskError> {
        match &*self.0 {
            Inner::Task(error) => Some(error),
            _ => None,
        }
    }

    /// An error of `kind`, in words.
    #[cold]
    pub(crate) fn new(kind: ErrorKind, text: impl Into<String>) -> Self {
        Self(Box::new(Inner::Plain {
            kind,
            text: text.into(),
        }))
    }

    /// The value's own serialisation failed; a handle in it may be the cause.
    #[cold]
    pub(crate) fn encode<T>(source: postcard::Error) -> Self {
        match crate::codec::take_handle_error() {
            Some(text) => Self(Box::new(Inner::Handle(format!(
                "encode a value of type {}: {text}",
                type_name::<T>()
            )))),
            None => Self(Box::new(Inner::Encode {
                what: type_name::<T>(),
                source,
            })),
        }
    }

    /// The bytes are not an encoded `T`.
    #[cold]
    pub(crate) fn decode<T>(source: postcard::Error) -> Self {
        match crate::codec::take_handle_error() {
            Some(text) => Self::new(
                ErrorKind::BadHandle,
                format!("decode a value of type {}: {text}", type_name::<T>()),
            ),
            None => Self(Box::new(Inner::Decode {
                what: type_name::<T>(),
                source,
            })),
        }
    }

    /// This process has no memory for a received value.
    #[cold]
    pub(crate) fn out_of_memory(bytes: usize) -> Self {
        Self::new(
            ErrorKind::OutOfMemory,
            format!("receive a value of {bytes} bytes: no memory is left in this process"),
        )
    }
}

impl From<procession_core::Error> for Error {
    #[cold]
    fn from(error: procession_core::Error) -> Self {
        Self(Box::new(Inner::Engine(error)))
    }
}

impl From<TaskError> for Error {
    #[cold]
    fn from(error: TaskError) -> Self {
        Self(Box::new(Inner::Task(error)))
    }
}

fn kind_of_engine(error: &procession_core::Error) -> ErrorKind {
    use procession_core::ErrorKind as Engine;
    match error.kind() {
        Engine::TimedOut => ErrorKind::TimedOut,
        Engine::Empty => ErrorKind::Empty,
        Engine::Full => ErrorKind::Full,
        Engine::Closed => ErrorKind::Closed,
        Engine::EndOfStream => ErrorKind::EndOfFile,
        Engine::Broken => ErrorKind::Broken,
        Engine::OwnerDied => ErrorKind::OwnerDied,
        Engine::WorkerLost => ErrorKind::WorkerLost,
        Engine::OutsideMessage => ErrorKind::Encode,
        Engine::ForeignHandle => ErrorKind::ForeignHandle,
        Engine::StaleHandle | Engine::WrongKind => ErrorKind::BadHandle,
        Engine::OverBudget | Engine::NoMemory => ErrorKind::OutOfMemory,
        Engine::WrongState | Engine::NotInFamily => ErrorKind::WrongState,
        Engine::Invalid => ErrorKind::InvalidArgument,
        Engine::Interrupted => ErrorKind::Interrupted,
        Engine::Os | Engine::TooManyProcesses => ErrorKind::Os,
        _ => ErrorKind::Other,
    }
}
