//! Processes: starting, forking, watching, killing, identifying.
//!
//! A child is held by a descriptor (pidfd), never by its number alone: numbers are reused. Whoever collects a child's
//! status first gets it; afterwards the kernel is asked for it through the descriptor (Linux 6.15), else the status is
//! reported as lost ([`crate::Error::is_no_child`]).

#[cfg(target_os = "linux")]
mod linux;

#[cfg(target_os = "linux")]
pub use linux::{
    BuildId, ChildProcess, Fork, ImageRange, Spawn, StatusLine, at_exit, die_with_parent_pipe,
    executable_identity, exists, exit_info, exit_now, fork, id, is_zombie, main_executable,
    new_session, parent_id, pidfd_open, raise_descriptor_limit, set_address_space_limit,
    set_descriptor_limit, set_memory_limit, start_time, status_line,
};

/// How a process ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ExitStatus {
    /// It exited with this code, 0 to 255.
    Exited(i32),
    /// This signal killed it.
    Signaled(i32),
}

impl std::fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit code {code}"),
            Self::Signaled(signal) => write!(f, "signal {signal}"),
        }
    }
}

impl ExitStatus {
    /// The exit code, or the signal's number negated.
    #[must_use]
    pub const fn code(self) -> i32 {
        match self {
            Self::Exited(code) => code,
            Self::Signaled(signal) => -signal,
        }
    }

    /// Did it exit with code 0?
    #[must_use]
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Exited(0))
    }
}
