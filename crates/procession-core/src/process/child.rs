//! A child process, as its parent holds it.
//!
//! Everything goes through the pidfd, so a pid that the kernel has given to somebody else is never waited for or killed. The exit status
//! is taken once, by whoever looks first, and kept. A user's own `waitpid`, or an ignored SIGCHLD, may be faster: then the kernel's record of the
//! pidfd tells, or the child's slot, where a forkserver writes the status of its children.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use procession_sync::{OwnerId, Waiter};
use procession_sys::poll::{Interest, PollEntry};
use procession_sys::process::{ChildProcess, ExitStatus, exit_info};
use procession_sys::signal::Signal;

use super::launch::Launch;
use super::{Role, StartMethod, status};
use crate::error::Result;
use crate::ipc::local_lock::LocalLock;
use crate::ipc::readiness;
use crate::shm::Wait;
use crate::shm::{family, identity};

/// What is said of a child whose status nobody kept: its forkserver died, say,
/// before it could.
const STATUS_LOST: ExitStatus = ExitStatus::Exited(255);

/// How long a child that has ended may take to be collected by somebody else.
const LONGEST_COLLECTION: Duration = Duration::from_secs(1);

/// A process that this one started. Clones are the same child; dropping all of
/// them does not end it.
#[derive(Clone, Debug)]
pub struct Child(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    owner: OwnerId,
    process: ChildProcess,
    name: String,
    daemon: bool,
    role: Role,
    method: StartMethod,
    /// Who is the process's parent for the kernel, if not this process.
    forkserver: Option<OwnerId>,
    creator: Option<OwnerId>,
    /// In the format of the word in a slot; 0 = not taken yet.
    status: AtomicU32,
    /// A fork may come while it is held: the child finds out for itself.
    reaping: LocalLock<()>,
}

impl Child {
    pub(super) fn new(
        owner: OwnerId,
        process: ChildProcess,
        launch: &Launch,
        forkserver: Option<OwnerId>,
    ) -> Self {
        Self(Arc::new(Shared {
            owner,
            process,
            name: launch.name.clone(),
            daemon: launch.daemon,
            role: launch.role,
            method: launch.method,
            forkserver,
            creator: identity::cached(),
            status: AtomicU32::new(0),
            reaping: LocalLock::new(()),
        }))
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.0.process.pid()
    }

    /// Its place in the family.
    #[must_use]
    pub fn owner(&self) -> OwnerId {
        self.0.owner
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether it ends with this process.
    #[must_use]
    pub fn is_daemon(&self) -> bool {
        self.0.daemon
    }

    /// What it was started for.
    #[must_use]
    pub fn role(&self) -> Role {
        self.0.role
    }

    /// How it was started.
    #[must_use]
    pub fn method(&self) -> StartMethod {
        self.0.method
    }

    /// Whether this process started it, and is not a fork of the one that did.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.0.creator == identity::cached()
    }

    /// A descriptor that becomes readable when the child ends.
    #[must_use]
    pub fn sentinel(&self) -> BorrowedFd<'_> {
        self.0.process.as_fd()
    }

    /// The exit status, if the child has ended; never blocks.
    ///
    /// # Errors
    /// The operating system's.
    pub fn try_join(&self) -> Result<Option<ExitStatus>> {
        self.join(&mut Wait::never())
    }

    /// Waits until the child has ended, for as long as `wait` allows; `None`
    /// when that was not long enough.
    ///
    /// # Errors
    /// An interruption, or the operating system's.
    pub fn join(&self, wait: &mut Wait<'_>) -> Result<Option<ExitStatus>> {
        if let Some(status) = self.known() {
            return Ok(Some(status));
        }
        if !readiness::sleep(&mut [PollEntry::new(self.sentinel(), Interest::READ)], wait)? {
            return Ok(None);
        }
        self.reap().map(Some)
    }

    /// Ends the child with `SIGTERM`. A child that has ended is left alone.
    ///
    /// # Errors
    /// The operating system's.
    pub fn terminate(&self) -> Result<()> {
        self.signal(Signal::TERMINATE)
    }

    /// Ends the child with `SIGKILL`. A child that has ended is left alone.
    ///
    /// # Errors
    /// The operating system's.
    pub fn kill(&self) -> Result<()> {
        self.signal(Signal::KILL)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        if self.known().is_some() {
            return Ok(());
        }
        match self.0.process.kill(signal) {
            Err(error) if error.is_no_process() => Ok(()),
            other => Ok(other?),
        }
    }

    fn known(&self) -> Option<ExitStatus> {
        // SYNC: exit status taken -> known
        let bits = self.0.status.load(Ordering::Acquire);
        (bits != 0).then(|| status::from_bits(bits))
    }

    /// Takes the status of a child that has ended, and gives back what it
    /// held.
    fn reap(&self) -> Result<ExitStatus> {
        let _reaping = self.0.reaping.acquire(&mut Wait::forever())?;
        if let Some(status) = self.known() {
            return Ok(status);
        }
        let status = self.final_status()?;
        // SYNC: exit status taken -> known
        self.0
            .status
            .store(status::to_bits(status), Ordering::Release);
        family::release_slot(self.0.owner);
        Ok(status)
    }

    fn final_status(&self) -> Result<ExitStatus> {
        if self.0.forkserver.is_none() && self.is_ours() {
            match self.0.process.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) => {}
                Err(error) if error.is_no_child() => {}
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(status) = status::left(self.0.owner) {
            return Ok(status);
        }
        if let Ok(Some(status)) = exit_info(self.sentinel()) {
            return Ok(status);
        }
        if self.0.forkserver.is_none() {
            return Ok(self.status_from_collector());
        }
        Ok(self.status_from_forkserver())
    }

    /// Somebody else in this process has collected the child, or the system
    /// has because nobody wants to know: its record is complete when the pidfd
    /// hangs up, which is a moment later. (Systems that keep no record may not
    /// hang up either.)
    fn status_from_collector(&self) -> ExitStatus {
        let mut entries = [PollEntry::new(self.sentinel(), Interest::HANGUP)];
        let mut wait = Wait::for_duration(Some(LONGEST_COLLECTION));
        if let Err(error) = readiness::sleep(&mut entries, &mut wait) {
            tracing::warn!(pid = self.pid(), %error, "the end of a child cannot be waited for");
        }
        match exit_info(self.sentinel()) {
            Ok(Some(status)) => status,
            _ => STATUS_LOST,
        }
    }

    /// Waits for the forkserver to write the status down: it has been woken
    /// by the same death.
    fn status_from_forkserver(&self) -> ExitStatus {
        let Some(word) = family::exit_status_word(self.0.owner) else {
            return STATUS_LOST;
        };
        let mut wait = Wait::forever();
        loop {
            if let Some(status) = status::left(self.0.owner) {
                return status;
            }
            match self.0.forkserver {
                Some(forkserver) if wait.is_alive(forkserver) => {
                    wait.wait_regardless(word, 0, Some(forkserver));
                }
                _ => return STATUS_LOST,
            }
        }
    }
}
