//! A child by its pidfd: waiting, collecting its status, signalling.
//!
//! The status survives whoever collected it: since Linux 6.15 `PIDFD_GET_INFO` tells it through any pidfd that was
//! opened before. If the child was collected even before its pidfd could be opened (SIGCHLD ignored, or a loop around
//! `wait()` elsewhere), the value stands for a child that is gone: its descriptor is readable and its status is lost.

#![expect(unsafe_code, reason = "PIDFD_GET_INFO is an ioctl")]

use crate::process::ExitStatus;
use crate::signal::Signal;
use crate::{Error, Result, fd};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::ioctl::{Opcode, Updater, opcode};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, WaitIdStatus};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// A child, or any process that a pidfd was received for. Dropping it neither kills nor collects the child.
#[derive(Debug)]
pub struct ChildProcess {
    pid: u32,
    handle: Handle,
}

#[derive(Debug)]
enum Handle {
    Pidfd(OwnedFd),
    /// Collected by somebody else before a pidfd could be opened: an eventfd that is always readable.
    Gone(OwnedFd),
}

impl ChildProcess {
    /// The child `pid`, just started, which nobody but this process can collect.
    pub(super) fn adopt(pid: u32) -> Result<Self> {
        match pidfd_open(pid) {
            Ok(pidfd) => Ok(Self::from_pidfd(pid, pidfd)),
            Err(error) if error.is_no_process() => {
                let ready = rustix::event::eventfd(1, EventfdFlags::CLOEXEC)
                    .map_err(Error::of("stand in for a pidfd"))?;
                Ok(Self {
                    pid,
                    handle: Handle::Gone(fd::at_least_three(ready)?),
                })
            }
            Err(error) => Err(error),
        }
    }

    /// The process behind a pidfd.
    #[must_use]
    pub const fn from_pidfd(pid: u32, pidfd: OwnedFd) -> Self {
        Self {
            pid,
            handle: Handle::Pidfd(pidfd),
        }
    }

    /// Its number, valid as long as its status has not been collected.
    #[must_use]
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Collects its status if it has ended; `None` while it runs. Never blocks.
    ///
    /// # Errors
    /// [`Error::is_no_child`]: it has ended and its status is lost, or it is no child of this process and runs.
    pub fn try_wait(&self) -> Result<Option<ExitStatus>> {
        let Handle::Pidfd(pidfd) = &self.handle else {
            return Err(no_child(self.pid));
        };
        let collected = rustix::process::waitid(
            WaitId::PidFd(pidfd.as_fd()),
            WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
        );

        match collected {
            Ok(status) => Ok(status.as_ref().and_then(exit_status)),
            Err(Errno::CHILD) => exit_info(pidfd.as_fd())?
                .map(Some)
                .ok_or_else(|| no_child(self.pid)),
            Err(errno) => {
                Err(Error::of("wait for process")(errno).with_subject(self.pid.to_string()))
            }
        }
    }

    /// Sleeps until it has ended, at most for `timeout`, then collects its status; `None` if it still runs.
    ///
    /// # Errors
    /// [`Error::is_interrupted`] when a signal handler ran, and as [`ChildProcess::try_wait`].
    pub fn wait(&self, timeout: Option<Duration>) -> Result<Option<ExitStatus>> {
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut entries = [PollFd::from_borrowed_fd(self.as_fd(), PollFlags::IN)];

        rustix::event::poll(&mut entries, timeout.as_ref())
            .map_err(Error::of("wait for a process"))?;
        if entries[0].revents().is_empty() {
            Ok(None)
        } else {
            self.try_wait()
        }
    }

    /// Sends a signal, to this process and no other that has got its number since.
    ///
    /// # Errors
    /// [`Error::is_no_process`] once its status has been collected.
    pub fn kill(&self, signal: Signal) -> Result<()> {
        let errno = match &self.handle {
            Handle::Pidfd(pidfd) => match signal.to_rustix() {
                Some(signal) => rustix::process::pidfd_send_signal(pidfd, signal),
                None => Err(Errno::INVAL),
            },
            Handle::Gone(_) => Err(Errno::SRCH),
        };

        errno.map_err(|errno| Error::of("signal process")(errno).with_subject(self.pid.to_string()))
    }
}

impl AsFd for ChildProcess {
    /// Readable once the process has ended; not a pidfd if it was collected by others at once.
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.handle {
            Handle::Pidfd(fd) | Handle::Gone(fd) => fd.as_fd(),
        }
    }
}

/// Opens the process that has the number now.
///
/// # Errors
/// [`Error::is_no_process`], too many open descriptors.
pub fn pidfd_open(pid: u32) -> Result<OwnedFd> {
    let named = |error: Error| error.with_subject(pid.to_string());
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let number = number.ok_or_else(|| named(Error::new("open the pidfd of", libc::ESRCH)))?;
    let pidfd = rustix::process::pidfd_open(number, PidfdFlags::empty());

    fd::at_least_three(pidfd.map_err(|errno| named(Error::of("open the pidfd of")(errno)))?)
}

/// How the process ended, asked of the kernel after its status was collected; `None` where the kernel cannot tell
/// (before 6.15) or the process has not been collected yet.
///
/// # Errors
/// Not a pidfd.
pub fn exit_info(pidfd: BorrowedFd<'_>) -> Result<Option<ExitStatus>> {
    const GET_INFO: Opcode = opcode::read_write::<PidfdInfo>(0xff, 11);
    const INFO_EXIT: u64 = 1 << 3;

    let mut info = PidfdInfo {
        mask: INFO_EXIT,
        ..PidfdInfo::default()
    };
    // SAFETY: the kernel writes at most the size that the opcode encodes, plain integers all.
    let request = unsafe { Updater::<'_, GET_INFO, PidfdInfo>::new(&mut info) };

    // SAFETY: the request matches its opcode.
    match unsafe { rustix::ioctl::ioctl(pidfd, request) } {
        Ok(()) if info.mask & INFO_EXIT != 0 => Ok(Some(from_wait_status(info.exit_code))),
        Ok(()) | Err(Errno::NOTTY | Errno::INVAL | Errno::SRCH | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(Error::of("ask a pidfd for an exit status")(errno)),
    }
}

/// The first version of the kernel's `struct pidfd_info`.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    identities: [u32; 11],
    exit_code: i32,
}

const _: () = assert!(size_of::<PidfdInfo>() == 64);

const fn from_wait_status(status: i32) -> ExitStatus {
    match status & 0x7f {
        0 => ExitStatus::Exited((status >> 8) & 0xff),
        signal => ExitStatus::Signaled(signal),
    }
}

fn exit_status(status: &WaitIdStatus) -> Option<ExitStatus> {
    status
        .exit_status()
        .map(ExitStatus::Exited)
        .or_else(|| status.terminating_signal().map(ExitStatus::Signaled))
}

#[cold]
fn no_child(pid: u32) -> Error {
    Error::new("wait for process", libc::ECHILD).with_subject(pid.to_string())
}
