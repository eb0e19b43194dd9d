//! The engine's one error type: an opaque value with a kind to match on and a text for people.
//!
//! Used by every module of this crate; the faces map [`ErrorKind`] to their own exceptions. Texts are lowercase
//! fragments that name the thing and, where there is one, the remedy.

use procession_sync::Stop;
use std::borrow::Cow;

/// A result whose error is the engine's.
pub type Result<T> = std::result::Result<T, Error>;

/// What went wrong, in the words of [`ErrorKind`] and of its text.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(Box<Inner>);

/// The kinds of errors, for callers that match.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The heap's byte budget is used up.
    OverBudget,
    /// The system has no memory, address space or segment left.
    NoMemory,
    /// Every slot of the process table is taken.
    TooManyProcesses,
    /// A handle belongs to another family.
    ForeignHandle,
    /// A handle names something that is gone.
    StaleHandle,
    /// A handle names something of another kind.
    WrongKind,
    /// A handle was serialised or read outside a message of the engine.
    OutsideMessage,
    /// This process belongs to no family.
    NotInFamily,
    /// Shared memory does not have the expected layout.
    WrongLayout,
    /// The process that held a lock has died.
    OwnerDied,
    /// A worker died with unfinished work.
    WorkerLost,
    /// The deadline passed.
    TimedOut,
    /// The caller asked to stop, for a signal for instance.
    Interrupted,
    /// The thing was closed.
    Closed,
    /// The other end, or a participant, is gone.
    Broken,
    /// Nothing is there to be taken.
    Empty,
    /// There is no room.
    Full,
    /// The other side could not prove who it is, or this side could not.
    Authentication,
    /// The other side ended the stream.
    EndOfStream,
    /// Received bytes do not follow the protocol.
    Protocol,
    /// A value exceeds a limit.
    TooLarge,
    /// The call does not fit the state of the thing.
    WrongState,
    /// An argument is not acceptable.
    Invalid,
    /// The operating system refused.
    Os,
}

#[derive(Debug, thiserror::Error)]
enum Inner {
    #[error(
        "allocate {asked} bytes of shared memory: {live} bytes of the budget of {budget} are in use; free something, \
         or raise the budget"
    )]
    OverBudget { asked: u64, live: u64, budget: u64 },

    #[error("{text}")]
    Plain {
        kind: ErrorKind,
        text: Cow<'static, str>,
    },

    #[error("{text}")]
    Caused {
        kind: ErrorKind,
        text: Cow<'static, str>,
        source: Box<dyn std::error::Error + Send + Sync>,
    },

    #[error(transparent)]
    Os(procession_sys::Error),
}

impl Error {
    /// An error of `kind`; `text` is a lowercase fragment that names the thing and the remedy.
    #[cold]
    pub fn new(kind: ErrorKind, text: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner::Plain {
            kind,
            text: text.into(),
        }))
    }

    /// As [`Error::new`], for something that another error led to.
    #[cold]
    pub fn caused(
        kind: ErrorKind,
        text: impl Into<Cow<'static, str>>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self(Box::new(Inner::Caused {
            kind,
            text: text.into(),
            source: source.into(),
        }))
    }

    /// The heap's budget does not allow `asked` more bytes.
    #[cold]
    pub fn over_budget(asked: u64, live: u64, budget: u64) -> Self {
        Self(Box::new(Inner::OverBudget {
            asked,
            live,
            budget,
        }))
    }

    /// The system itself has nothing left for `what`.
    #[cold]
    pub fn no_memory(what: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::NoMemory, what)
    }

    /// What to match on.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match &*self.0 {
            Inner::OverBudget { .. } => ErrorKind::OverBudget,
            Inner::Plain { kind, .. } | Inner::Caused { kind, .. } => *kind,
            Inner::Os(error) if error.is_no_memory() => ErrorKind::NoMemory,
            Inner::Os(_) => ErrorKind::Os,
        }
    }

    /// Did the deadline pass?
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.kind() == ErrorKind::TimedOut
    }

    /// The operating system's own error, if that is what this is.
    #[must_use]
    pub fn os(&self) -> Option<&procession_sys::Error> {
        match &*self.0 {
            Inner::Os(error) => Some(error),
            _ => None,
        }
    }
}

impl From<procession_sys::Error> for Error {
    #[cold]
    fn from(error: procession_sys::Error) -> Self {
        Self(Box::new(Inner::Os(error)))
    }
}

impl From<Stop> for Error {
    #[cold]
    fn from(stop: Stop) -> Self {
        let kind = match stop {
            Stop::TimedOut => ErrorKind::TimedOut,
            Stop::Interrupted => ErrorKind::Interrupted,
        };

        Self::new(kind, stop.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::{Error, ErrorKind};
    use procession_sync::Stop;

    #[test]
    fn kinds_survive_the_box() {
        assert_eq!(Error::over_budget(1, 2, 3).kind(), ErrorKind::OverBudget);
        assert_eq!(
            Error::from(Stop::Interrupted).kind(),
            ErrorKind::Interrupted
        );
        assert!(Error::from(Stop::TimedOut).is_timeout());
        assert_eq!(
            Error::caused(ErrorKind::Broken, "read", "gone").kind(),
            ErrorKind::Broken
        );
    }

    #[test]
    fn texts_name_numbers_and_remedy() {
        let text = Error::over_budget(10, 20, 25).to_string();

        assert!(
            text.contains("10 bytes")
                && text.contains("budget of 25")
                && text.contains("raise the budget"),
            "{text}"
        );
    }

    #[test]
    fn an_error_is_one_pointer() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }
}
