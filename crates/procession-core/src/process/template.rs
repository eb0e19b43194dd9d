//! A template: a process that does nothing but fork on request.
//!
//! The `forkserver` start method has one per program, started by `spawn` on first use: it never runs anything of the user's, so its
//! forks inherit no threads, no locks and no data. A pool under `fork` forks one of its own program when it is made, so that its workers can be
//! replaced later, when the program has threads. A request names the child's slot and its launch message and carries the descriptors of the
//! launch; the answer carries the child's pidfd. The template is the children's parent for the kernel: it reaps them and writes their status into
//! their slots. It ends with its program: its order socket closes, and it is tied to the program's life pipe as every helper is.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use procession_sync::OwnerId;
use procession_sys::poll::{Interest, PollEntry, poll};
use procession_sys::process::{ChildProcess, ExitStatus, Fork, fork};
use procession_sys::signal::{self, Signal};
use procession_sys::socket;

use super::child::Child;
use super::launch::{Launch, Prepared};
use super::order::Role;
use super::{StartMethod, bootstrap, fork as by_fork, status};
use crate::engine::gate;
use crate::error::{Error, ErrorKind, Result};
use crate::shm::fork::IntoSlot;
use crate::shm::handles::Collected;
use crate::shm::{BlockId, Wait};

/// Request: the launch message's block (0: end the child instead), the child's slot.
const REQUEST: usize = 8 + 4;
/// Answer: an error code (0 = none), the pid.
const ANSWER: usize = 4 + 4;

/// A template process and the way to ask it.
#[derive(Debug)]
pub(crate) struct Template {
    orders: Mutex<OwnedFd>,
    process: Child,
}

static OF_THIS_PROCESS: Mutex<Option<Template>> = Mutex::new(None);

/// Calls `work` with the template of the `forkserver` method, which is made
/// if there is none.
pub(super) fn of_this_process<R>(work: impl FnOnce(&Template) -> Result<R>) -> Result<R> {
    let _inside = gate::enter();
    let mut template = OF_THIS_PROCESS
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    match template.as_ref() {
        Some(template) if template.is_usable() => work(template),
        _ => work(template.insert(Template::spawn()?)),
    }
}

impl Template {
    fn is_usable(&self) -> bool {
        self.process.is_ours() && matches!(self.process.try_join(), Ok(None))
    }

    /// A template that is a fresh run of the program.
    fn spawn() -> Result<Self> {
        let (ours, theirs) = socket::pair()?;
        let process = template_launch(StartMethod::Spawn)
            .prepare()?
            .spawn(Some(&theirs))?;
        Ok(Self {
            orders: Mutex::new(ours),
            process,
        })
    }

    /// A template that is a fork of this process.
    ///
    /// # Errors
    /// This process has more than one thread.
    pub(crate) fn fork() -> Result<Self> {
        by_fork::require_one_thread()?;
        let (ours, theirs) = socket::pair()?;
        let mut launch = template_launch(StartMethod::Fork);
        launch.handles.add_descriptor(theirs);
        let process = launch.start()?;
        Ok(Self {
            orders: Mutex::new(ours),
            process,
        })
    }

    /// Has the template fork the child.
    pub(super) fn fork_child(&self, prepared: Prepared) -> Result<Child> {
        let _inside = gate::enter();
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        let process = ask(&orders, &prepared)?;
        Ok(prepared.into_child(process, Some(self.process.owner())))
    }
}

fn template_launch(method: StartMethod) -> Launch {
    Launch {
        method,
        name: "forkserver".to_owned(),
        daemon: true,
        role: Role::Forkserver,
        entry: 0,
        payload: Vec::new(),
        handles: Collected::none(),
        memory_limit: None,
    }
}

fn ask(orders: &OwnedFd, prepared: &Prepared) -> Result<ChildProcess> {
    let descriptors: Vec<_> = prepared.descriptors.iter().map(AsFd::as_fd).collect();
    let message = prepared.message.to_bits();
    let answered = exchange(orders, message, prepared.owner, &descriptors);
    let (length, answer, mut received) = match answered {
        Err(error)
            if error
                .os()
                .is_some_and(procession_sys::Error::is_too_many_files) =>
        {
            // The child may have been forked, and only its pidfd could not be received: it must not live on unknown.
            exchange(orders, 0, prepared.owner, &[])?;
            return Err(error);
        }
        answered => answered?,
    };
    if length < ANSWER {
        return Err(lost());
    }
    let code = word(&answer, 0);
    if code != 0 {
        return Err(procession_sys::Error::new("fork", code.cast_signed()).into());
    }
    let pidfd = received.pop().ok_or_else(lost)?;
    Ok(ChildProcess::from_pidfd(word(&answer, 4), pidfd))
}

/// Sends a request and receives its answer.
fn exchange(
    orders: &OwnedFd,
    message: u64,
    owner: OwnerId,
    descriptors: &[BorrowedFd<'_>],
) -> Result<(usize, [u8; ANSWER], Vec<OwnedFd>)> {
    let mut request = [0; REQUEST];
    request[..8].copy_from_slice(&message.to_le_bytes());
    request[8..].copy_from_slice(&owner.to_bits().to_le_bytes());
    retrying(|| socket::send_with_descriptors(orders.as_fd(), &request, descriptors))?;

    let mut answer = [0; ANSWER];
    let (length, received) =
        retrying(|| socket::receive_with_descriptors(orders.as_fd(), &mut answer))?;
    Ok((length, answer, received))
}

/// The template's whole life, after it has joined the family.
pub(super) fn serve(orders: OwnedFd, life: OwnedFd) -> ! {
    // Ctrl-C is for the program: it decides what becomes of its children, whose statuses only the template can tell.
    let ignored = signal::ignore(Signal::INTERRUPT);
    if let Err(error) = ignored {
        tracing::warn!(%error, "a forkserver ends with Ctrl-C");
    }
    // A program that ignores the end of its children passes that on, and the template would not be told their statuses.
    if let Err(error) = signal::default(Signal::CHILD) {
        tracing::warn!(%error, "a forkserver may not learn how its children end");
    }
    let mut children: Vec<(OwnerId, ChildProcess)> = Vec::new();
    let newborn = loop {
        match wait_for_work(&orders, &children) {
            Ok(true) => match answer(&orders, &mut children) {
                Ok(None) => {}
                Ok(Some(newborn)) => break newborn,
                Err(error) => {
                    tracing::info!(%error, "a forkserver ends");
                    procession_sys::process::exit_now(0);
                }
            },
            Ok(false) => {}
            Err(error) => {
                tracing::error!(%error, "a forkserver cannot wait");
                procession_sys::process::exit_now(1);
            }
        }
        children.retain(|(owner, child)| !reaped(*owner, child));
    };
    // Here is a child. The template's ends must not stay open in it: they tell others that the template lives.
    drop((orders, children));
    if let Err(error) = signal::default(Signal::INTERRUPT) {
        tracing::warn!(%error, "a child ignores Ctrl-C");
    }
    bootstrap::enter_fork(newborn.message, life, newborn.descriptors)
}

/// What a forked child of the template is to become.
struct Newborn {
    message: BlockId,
    descriptors: Vec<OwnedFd>,
}

/// Sleeps until a request comes (true) or a child ends.
fn wait_for_work(orders: &OwnedFd, children: &[(OwnerId, ChildProcess)]) -> Result<bool> {
    let mut entries = Vec::with_capacity(1 + children.len());
    entries.push(PollEntry::new(orders.as_fd(), Interest::READ));
    entries.extend(
        children
            .iter()
            .map(|(_, child)| PollEntry::new(child.as_fd(), Interest::READ)),
    );
    match poll(&mut entries, None::<Duration>) {
        Ok(_) => Ok(!entries[0].ready.is_empty()),
        Err(error) => Err(error.into()),
    }
}

fn reaped(owner: OwnerId, child: &ChildProcess) -> bool {
    let status = match child.try_wait() {
        Ok(None) => return false,
        Ok(Some(status)) => status,
        Err(_) => ExitStatus::Exited(255),
    };
    status::leave(owner, status);
    true
}

/// Takes one request, forks, answers; in the child, says what it is to become.
fn answer(
    orders: &OwnedFd,
    children: &mut Vec<(OwnerId, ChildProcess)>,
) -> Result<Option<Newborn>> {
    let mut request = [0; REQUEST];
    let received = retrying(|| socket::receive_with_descriptors(orders.as_fd(), &mut request));
    let (length, descriptors) = match received {
        Err(error) => {
            let too_many = error.os().filter(|error| error.is_too_many_files());
            let code = too_many.map(procession_sys::Error::code);
            reply(orders, code.ok_or(error)?, 0, None)?;
            return Ok(None);
        }
        Ok(received) => received,
    };
    if length < REQUEST {
        return Err(lost());
    }
    let message =
        BlockId::from_bits(u64::from(word(&request, 0)) | u64::from(word(&request, 4)) << 32);
    let owner = OwnerId::from_bits(word(&request, 8)).ok_or_else(lost)?;
    let Some(message) = message else {
        end(owner, children);
        reply(orders, 0, 0, None)?;
        return Ok(None);
    };

    let into_slot = IntoSlot::new(owner);
    #[expect(unsafe_code, reason = "fork is unsafe by nature")]
    // SAFETY: the template has one thread, which runs nothing but this loop.
    let forked = unsafe { fork() };
    drop(into_slot);
    match forked {
        Ok(Fork::Child) => Ok(Some(Newborn {
            message,
            descriptors,
        })),
        Ok(Fork::Parent(child)) => {
            reply(orders, 0, child.pid(), Some(&child))?;
            children.push((owner, child));
            Ok(None)
        }
        Err(error) => {
            reply(orders, error.code(), 0, None)?;
            Ok(None)
        }
    }
}

/// Ends a child whose parent could not be told about it.
fn end(owner: OwnerId, children: &mut Vec<(OwnerId, ChildProcess)>) {
    children.retain(|(other, child)| {
        if *other != owner {
            return true;
        }
        if let Err(error) = child.kill(Signal::KILL) {
            tracing::warn!(pid = child.pid(), %error, "a child could not be ended");
        }
        while let Err(error) = child.wait(None) {
            if !error.is_interrupted() {
                break;
            }
        }
        false
    });
}

fn reply(orders: &OwnedFd, code: i32, pid: u32, child: Option<&ChildProcess>) -> Result<()> {
    let mut answer = [0; ANSWER];
    answer[..4].copy_from_slice(&code.cast_unsigned().to_le_bytes());
    answer[4..].copy_from_slice(&pid.to_le_bytes());
    let pidfd: Vec<_> = child.iter().map(|child| child.as_fd()).collect();
    retrying(|| socket::send_with_descriptors(orders.as_fd(), &answer, &pidfd))?;
    Ok(())
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// An exchange with the template takes no signals: what was begun is
/// finished.
fn retrying<T>(mut call: impl FnMut() -> procession_sys::Result<T>) -> Result<T> {
    loop {
        match call() {
            Err(error) if error.is_interrupted() => {}
            other => return Ok(other?),
        }
    }
}

#[cold]
fn lost() -> Error {
    Error::new(
        ErrorKind::Broken,
        "start a process: the forkserver has ended; the next start makes a new one",
    )
}

impl Drop for Template {
    fn drop(&mut self) {
        if !self.process.is_ours() {
            return;
        }
        // It holds nothing but its children, which have their own ties to this process.
        let ended = self
            .process
            .kill()
            .and_then(|()| self.process.join(&mut Wait::forever()));
        if let Err(error) = ended {
            tracing::warn!(%error, "a forkserver could not be ended");
        }
    }
}
