//! The floor of all errors: what the operating system said, in which operation, about what.
//!
//! Used by every wrapper of this crate and carried upwards as it is.

use std::fmt;
use std::io;

/// An operation that the operating system refused.
#[derive(Clone, Eq, PartialEq)]
pub struct Error {
    operation: &'static str,
    code: i32,
    subject: Option<Box<str>>,
}

/// A result whose error is the operating system's.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// The error `code` (an `errno` value) of `operation`, a phrase such as "open the pidfd of".
    #[cold]
    #[must_use]
    pub const fn new(operation: &'static str, code: i32) -> Self {
        Self {
            operation,
            code,
            subject: None,
        }
    }

    /// The calling thread's current `errno` as the error of `operation`.
    #[cold]
    pub(crate) fn last(operation: &'static str) -> Self {
        Self::from_io(operation, &io::Error::last_os_error())
    }

    /// An error of the standard library as the error of `operation`.
    #[cold]
    pub(crate) fn from_io(operation: &'static str, error: &io::Error) -> Self {
        Self::new(operation, error.raw_os_error().unwrap_or(libc::EIO))
    }

    /// For `map_err`: turns a code of rustix into the error of `operation`.
    pub(crate) const fn of(operation: &'static str) -> impl Fn(rustix::io::Errno) -> Self {
        move |errno| Self::new(operation, errno.raw_os_error())
    }

    /// Names what the operation was about, such as a path or a pid.
    #[must_use]
    pub fn with_subject(mut self, subject: impl Into<Box<str>>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// The operating system's code (`errno`).
    #[must_use]
    pub const fn code(&self) -> i32 {
        self.code
    }

    /// What was attempted.
    #[must_use]
    pub const fn operation(&self) -> &'static str {
        self.operation
    }

    /// The standard library's name for the code.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        io::Error::from_raw_os_error(self.code).kind()
    }

    /// Memory is exhausted (`ENOMEM`, `ENOSPC`).
    #[must_use]
    pub const fn is_no_memory(&self) -> bool {
        matches!(self.code, libc::ENOMEM | libc::ENOSPC)
    }

    /// The process or the system has too many open descriptors (`EMFILE`, `ENFILE`).
    #[must_use]
    pub const fn is_too_many_files(&self) -> bool {
        matches!(self.code, libc::EMFILE | libc::ENFILE)
    }

    /// The call would have blocked, or a resource is short for the moment (`EAGAIN`).
    #[must_use]
    pub const fn is_again(&self) -> bool {
        self.code == libc::EAGAIN
    }

    /// A signal handler ran during the call (`EINTR`).
    #[must_use]
    pub const fn is_interrupted(&self) -> bool {
        self.code == libc::EINTR
    }

    /// There is no such process (`ESRCH`).
    #[must_use]
    pub const fn is_no_process(&self) -> bool {
        self.code == libc::ESRCH
    }

    /// The process is no child of this one, or somebody else has collected its status (`ECHILD`).
    #[must_use]
    pub const fn is_no_child(&self) -> bool {
        self.code == libc::ECHILD
    }

    /// The other end is closed (`EPIPE`, `ECONNRESET`).
    #[must_use]
    pub const fn is_broken_pipe(&self) -> bool {
        matches!(self.code, libc::EPIPE | libc::ECONNRESET)
    }

    /// There is no such file or name (`ENOENT`).
    #[must_use]
    pub const fn is_not_found(&self) -> bool {
        self.code == libc::ENOENT
    }

    /// The name exists already (`EEXIST`, `EADDRINUSE`).
    #[must_use]
    pub const fn is_already_there(&self) -> bool {
        matches!(self.code, libc::EEXIST | libc::EADDRINUSE)
    }

    /// Nobody listens at the address (`ECONNREFUSED`).
    #[must_use]
    pub const fn is_connection_refused(&self) -> bool {
        self.code == libc::ECONNREFUSED
    }

    /// The thing is in use (`EBUSY`).
    #[must_use]
    pub const fn is_busy(&self) -> bool {
        self.code == libc::EBUSY
    }

    /// Permission is denied (`EPERM`, `EACCES`).
    #[must_use]
    pub const fn is_denied(&self) -> bool {
        matches!(self.code, libc::EPERM | libc::EACCES)
    }

    /// This operating system cannot do it (`ENOSYS`, `EOPNOTSUPP`, `ENOTTY`).
    #[must_use]
    pub const fn is_unsupported(&self) -> bool {
        matches!(self.code, libc::ENOSYS | libc::EOPNOTSUPP | libc::ENOTTY)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.operation)?;

        if let Some(subject) = &self.subject {
            write!(f, " {subject}")?;
        }

        write!(f, ": {}", io::Error::from_raw_os_error(self.code))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({self})")
    }
}

impl std::error::Error for Error {}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        Self::new(error.kind(), error)
    }
}

#[cfg(test)]
mod tests {
    use super::Error;

    #[test]
    fn says_what_failed_about_what_and_why() {
        let error = Error::new("open", libc::ENOENT).with_subject("/nowhere");

        assert_eq!(
            error.to_string(),
            "open /nowhere: No such file or directory (os error 2)"
        );
        assert!(error.is_not_found());
        assert_eq!(
            std::io::Error::from(error).kind(),
            std::io::ErrorKind::NotFound
        );
    }
}
