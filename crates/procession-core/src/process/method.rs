//! Start methods, with the names the stdlib gives them.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind};

/// How a child process comes to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StartMethod {
    /// A fresh run of the program: slowest to start, inherits nothing but
    /// what it is given.
    #[default]
    Spawn,
    /// A fork of a clean template process, which is started on first use: the
    /// fast choice for many starts, as safe as `Spawn`.
    Forkserver,
    /// A fork of this process, with all its memory. Safe only while this
    /// process has one thread, and refused otherwise.
    Fork,
}

impl StartMethod {
    /// The name: `"spawn"`, `"forkserver"` or `"fork"`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spawn => "spawn",
            Self::Forkserver => "forkserver",
            Self::Fork => "fork",
        }
    }

    pub(crate) fn from_bits(bits: u8) -> Option<Self> {
        [Self::Spawn, Self::Forkserver, Self::Fork]
            .into_iter()
            .find(|method| *method as u8 == bits)
    }
}

impl fmt::Display for StartMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for StartMethod {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        [Self::Spawn, Self::Forkserver, Self::Fork]
            .into_iter()
            .find(|method| method.name() == name)
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Invalid,
                    format!(
                        "unknown start method {name:?}: use \"spawn\", \"forkserver\" or \"fork\""
                    ),
                )
            })
    }
}
