//! The keeper's own life: a loop over its listener, its callers and one member of the family.
//!
//! It sleeps until somebody calls, or the member that it watches ends (then it looks for another one), and for a second at
//! most: messages may be gone, the member may run another program now.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use procession_sync::OwnerId;
use procession_sys::memory::FileId;
use procession_sys::poll::{Interest, PollEntry, poll};
use procession_sys::signal::{self, Signal};
use procession_sys::{fd, process, socket};

use super::deposits::Deposits;
use super::wire::{Answer, LONGEST_REQUEST, Request};
use crate::error::{Error, ErrorKind, Result};
use crate::shm::{FamilyId, family, heap, liveness, named};

const LONGEST_SLEEP: Duration = Duration::from_secs(1);

static IS_THIS_PROCESS: AtomicBool = AtomicBool::new(false);

/// Is this process the keeper, which must not call itself?
pub(super) fn is_this_process() -> bool {
    IS_THIS_PROCESS.load(Ordering::Relaxed)
}

/// The keeper's whole life, after it has joined the family.
pub(in crate::process) fn serve(descriptors: Vec<OwnedFd>) -> ! {
    IS_THIS_PROCESS.store(true, Ordering::Relaxed);
    let code = match Keeper::new(descriptors).and_then(|mut keeper| keeper.run()) {
        Ok(()) => 0,
        Err(error) => {
            tracing::error!(%error, "the keeper cannot go on");
            1
        }
    };
    process::exit_now(code)
}

#[derive(Debug)]
struct Keeper {
    family: FamilyId,
    listener: OwnedFd,
    /// Given up to answer one caller when no descriptor is left.
    spare: Option<OwnedFd>,
    callers: Vec<OwnedFd>,
    deposits: Deposits,
    names: Vec<(String, FileId)>,
    /// Whose end is waited for.
    member: Option<(OwnerId, OwnedFd)>,
    swept: Instant,
}

impl Keeper {
    fn new(mut descriptors: Vec<OwnedFd>) -> Result<Self> {
        for signal in [
            Signal::INTERRUPT,
            Signal::TERMINATE,
            Signal::HANGUP,
            Signal::QUIT,
            Signal::PIPE,
        ] {
            signal::ignore(signal)?;
        }
        fd::leave_standard_streams()?;
        // It would keep a file system busy. Where there is no root to go to it stays where it is.
        let _ = std::env::set_current_dir("/");
        if let Err(error) = process::raise_descriptor_limit() {
            tracing::debug!(%error, "the keeper keeps its limit of descriptors");
        }
        let listener = descriptors.pop().ok_or_else(|| {
            Error::new(
                ErrorKind::WrongState,
                "begin as the family's keeper: there is no socket",
            )
        })?;
        fd::set_nonblocking(listener.as_fd(), true)?;
        Ok(Self {
            family: family::id()?,
            listener,
            spare: Some(fd::open_null()?),
            callers: Vec::new(),
            deposits: Deposits::default(),
            names: Vec::new(),
            member: None,
            swept: Instant::now(),
        })
    }

    fn run(&mut self) -> Result<()> {
        loop {
            let member_ended = self.serve_once(LONGEST_SLEEP)?;
            self.sweep();
            if !member_ended && self.is_member_alive() {
                continue;
            }
            if !self.watch_another() {
                break;
            }
        }
        // Who called before it died is heard: a name may exist by now.
        while self.is_called()? {
            self.serve_once(Duration::ZERO)?;
        }
        self.remove_names();
        Ok(())
    }

    /// Sleeps until there is something to do, and does it; true if the watched member has ended.
    fn serve_once(&mut self, limit: Duration) -> Result<bool> {
        let mut entries = vec![PollEntry::new(self.listener.as_fd(), Interest::READ)];
        let callers = self.callers.iter();
        entries.extend(callers.map(|caller| PollEntry::new(caller.as_fd(), Interest::READ)));
        if let Some((_, process)) = &self.member {
            entries.push(PollEntry::new(process.as_fd(), Interest::READ));
        }
        poll(&mut entries, Some(limit))?;

        let is_called = !entries[0].ready.is_empty();
        let ready: Vec<bool> = entries[1..]
            .iter()
            .map(|entry| !entry.ready.is_empty())
            .collect();
        let member_ended = self.member.is_some() && ready.last() == Some(&true);
        let callers = std::mem::take(&mut self.callers);
        for (caller, is_ready) in std::iter::zip(callers, ready) {
            if !is_ready || self.answer(&caller) {
                self.callers.push(caller);
            }
        }
        if is_called {
            self.accept();
        }
        Ok(member_ended)
    }

    fn is_called(&self) -> Result<bool> {
        let mut entries = vec![PollEntry::new(self.listener.as_fd(), Interest::READ)];
        let callers = self.callers.iter();
        entries.extend(callers.map(|caller| PollEntry::new(caller.as_fd(), Interest::READ)));
        poll(&mut entries, Some(Duration::ZERO))?;

        Ok(entries.iter().any(|entry| !entry.ready.is_empty()))
    }

    fn accept(&mut self) {
        loop {
            match socket::accept(self.listener.as_fd()) {
                Ok(caller) => {
                    let is_ours = socket::is_own_user(caller.as_fd()).unwrap_or(false)
                        && fd::set_nonblocking(caller.as_fd(), true).is_ok();
                    if is_ours {
                        self.callers.push(caller);
                    }
                }
                Err(error) if error.is_interrupted() => {}
                Err(error) if error.is_too_many_files() && self.spare.is_some() => {
                    self.turn_away();
                    return;
                }
                Err(_) => return,
            }
        }
    }

    /// No descriptor is left: the next caller is told so, instead of waiting for ever.
    fn turn_away(&mut self) {
        self.spare = None;
        if let Ok(caller) = socket::accept(self.listener.as_fd()) {
            let _ = socket::send(caller.as_fd(), &[Answer::Full as u8]);
        }
        self.spare = fd::open_null().ok();
    }

    /// Answers what a caller has asked; false if it is done.
    fn answer(&mut self, caller: &OwnedFd) -> bool {
        let mut request = [0; LONGEST_REQUEST];
        let received = socket::receive_with_descriptors(caller.as_fd(), &mut request);
        let (answer, descriptor) = match received {
            Ok((0, _)) => return false,
            Ok((length, descriptors)) => match Request::decode(&request[..length], self.family) {
                Some(request) => {
                    let is_answered = request.is_answered();
                    let answer = self.fulfil(request, descriptors);
                    if !is_answered {
                        return true;
                    }
                    answer
                }
                None => (Answer::Refused, None),
            },
            Err(error) if error.is_too_many_files() => (Answer::Full, None),
            Err(error) => return error.is_interrupted() || error.is_again(),
        };
        // A caller that is gone needs no answer; one that does not listen gets none.
        let descriptor: Vec<_> = descriptor.iter().map(AsFd::as_fd).collect();
        socket::send_with_descriptors(caller.as_fd(), &[answer as u8], &descriptor).is_ok()
    }

    fn fulfil(&mut self, request: Request, descriptors: Vec<OwnedFd>) -> (Answer, Option<OwnedFd>) {
        match request {
            Request::Deposit(block) => self.deposits.add(block, descriptors),
            Request::Claim(block, index) => {
                return match self.deposits.take(block, index) {
                    None => (Answer::Unknown, None),
                    descriptor => (Answer::Done, descriptor),
                };
            }
            Request::Release(block) => self.deposits.remove(block),
            Request::Created(name, object) => self.names.push((name, object)),
            Request::Unlinked(name, object) => self
                .names
                .retain(|(other, its)| (other, its) != (&name, &object)),
        }
        (Answer::Done, None)
    }

    /// Once a second: closes the descriptors of messages that are gone, and what dead processes held goes first.
    fn sweep(&mut self) {
        if self.swept.elapsed() < LONGEST_SLEEP {
            return;
        }
        self.swept = Instant::now();
        if !self.deposits.is_empty() {
            heap::recover();
            self.deposits.sweep();
        }
    }

    fn is_member_alive(&self) -> bool {
        self.member
            .as_ref()
            .is_some_and(|(member, _)| liveness::is_alive(*member))
    }

    /// Chooses whose end to wait for; false if the family has ended.
    fn watch_another(&mut self) -> bool {
        self.member = None;
        loop {
            let Some((member, pid)) = liveness::any_member() else {
                return false;
            };
            // One that has no process yet is looked at again in a second.
            let Some(pid) = pid else { return true };
            match process::pidfd_open(pid) {
                Ok(process) if liveness::is_alive(member) => {
                    self.member = Some((member, process));
                    return true;
                }
                Ok(_) => {}
                // No descriptor is left, or it is on its way out: the clock tells.
                Err(_) => return true,
            }
        }
    }

    fn remove_names(&mut self) {
        for (name, object) in self.names.drain(..) {
            match named::remove_leftover(&name, object) {
                Ok(true) => tracing::warn!(name, "shared memory was left behind, and is removed"),
                Ok(false) => {}
                Err(error) => tracing::warn!(name, %error, "shared memory stays behind"),
            }
        }
    }
}
