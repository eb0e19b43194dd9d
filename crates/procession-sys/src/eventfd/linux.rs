//! Pollable events on Linux, by `eventfd`.

use crate::{Error, Result, fd};
use rustix::event::EventfdFlags;
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A flag that is readable while raised. Nothing here blocks.
#[derive(Debug)]
pub struct EventFd(OwnedFd);

impl EventFd {
    /// A flag that is not raised.
    ///
    /// # Errors
    /// Too many open descriptors.
    pub fn new() -> Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let fd = rustix::event::eventfd(0, flags).map_err(Error::of("make an eventfd"))?;

        Ok(Self(fd::at_least_three(fd)?))
    }

    /// The flag behind a descriptor that this process was given.
    #[must_use]
    pub const fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Raises it.
    ///
    /// # Errors
    /// The descriptor is not an eventfd any more.
    pub fn signal(&self) -> Result<()> {
        match rustix::io::write(&self.0, &1_u64.to_ne_bytes()) {
            // EAGAIN: the counter is at its maximum, so it is raised.
            Ok(_) | Err(Errno::AGAIN) => Ok(()),
            Err(errno) => Err(Error::of("raise an eventfd")(errno)),
        }
    }

    /// Lowers it, and says whether it was raised.
    ///
    /// # Errors
    /// The descriptor is not an eventfd any more.
    pub fn drain(&self) -> Result<bool> {
        match rustix::io::read(&self.0, &mut [0_u8; 8]) {
            Ok(_) => Ok(true),
            Err(Errno::AGAIN) => Ok(false),
            Err(errno) => Err(Error::of("lower an eventfd")(errno)),
        }
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
