//! The members' side: finding the keeper, starting it if there is none, asking it.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use procession_sys::memory::FileId;
use procession_sys::poll::{Interest, PollEntry, PollOutcome, poll};
use procession_sys::process::ChildProcess;
use procession_sys::socket::{self, Backlog};

use super::server;
use super::wire::{Answer, MOST_AT_ONCE, Request};
use crate::engine::gate;
use crate::error::{Error, ErrorKind, Result};
use crate::process::{Launch, Role, StartMethod, bootstrap};
use crate::shm::family::{self, KeeperPlace};
use crate::shm::handles::{self, Collected, Keeping};
use crate::shm::{BlockId, FamilyId, Wait, named};

/// How many members may be about to ask at the same time before one has to wait.
const BACKLOG: Backlog = Backlog(1024);

/// A keeper that has not answered by then is stuck.
const PATIENCE: Duration = Duration::from_secs(20);

/// The keepers that this process started; it is their parent for the kernel.
static STARTED: Mutex<Vec<ChildProcess>> = Mutex::new(Vec::new());

/// Has this process's messages and names go to the keeper from now on.
pub(in crate::process) fn attach() {
    handles::keep_with(Keeping {
        deposit,
        claim,
        release,
    });
    let watched = named::watch(named::Watcher { created, unlinked });
    if let Err(error) = watched {
        tracing::debug!(%error, "somebody else looks after the names of shared memory");
    }
}

/// Reaps keepers that were killed.
pub(in crate::process) fn reap() {
    let _inside = gate::enter();
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);

    started.retain(|keeper| matches!(keeper.try_wait(), Ok(None)));
}

fn deposit(block: BlockId, descriptors: &[OwnedFd]) -> Result<()> {
    for some in descriptors.chunks(MOST_AT_ONCE) {
        match ask(&Request::Deposit(block), some)? {
            (Answer::Done, _) => {}
            (Answer::Full, _) => {
                return Err(Error::new(
                    ErrorKind::Full,
                    "send a descriptor in a message: too many descriptors wait in messages; receive some first, or raise \
                     the limit of open files",
                ));
            }
            (answer, _) => return Err(refused("send a descriptor in a message", answer)),
        }
    }
    Ok(())
}

fn claim(block: BlockId, index: u32) -> Result<OwnedFd> {
    const OPERATION: &str = "receive a descriptor from a message";
    match ask(&Request::Claim(block, index), &[])? {
        (Answer::Done, Some(descriptor)) => Ok(descriptor),
        (Answer::Unknown, _) => Err(Error::new(
            ErrorKind::StaleHandle,
            format!(
                "{OPERATION}: the family's keeper process does not have it; it was taken before, or the keeper was killed \
                 and started again since"
            ),
        )),
        (answer, _) => Err(refused(OPERATION, answer)),
    }
}

fn release(block: BlockId) {
    tell(&Request::Release(block));
}

fn created(name: &str, object: FileId) -> Result<()> {
    if bootstrap::require_init().is_err() {
        // A program that starts no processes has nobody who could look after its names.
        return Ok(());
    }
    match ask(&Request::Created(name.to_owned(), object), &[])? {
        (Answer::Done, _) => Ok(()),
        (answer, _) => Err(refused("name shared memory", answer)),
    }
}

fn unlinked(name: &str, object: FileId) {
    tell(&Request::Unlinked(name.to_owned(), object));
}

/// Asks the keeper, which is started if there is none; once more if it dies meanwhile.
fn ask(request: &Request, descriptors: &[OwnedFd]) -> Result<(Answer, Option<OwnedFd>)> {
    let family = family::id()?;
    let place = place()?;
    match exchange(&reach(place, family)?, request, family, descriptors) {
        Err(error) if error.kind() == ErrorKind::Broken => {
            exchange(&reach(place, family)?, request, family, descriptors)
        }
        answered => answered,
    }
}

/// Tells the keeper something, if there is one; it finds out by itself otherwise, or does not need to know.
fn tell(request: &Request) {
    if server::is_this_process() {
        return;
    }
    let (Ok(family), Ok(place)) = (family::id(), place()) else {
        return;
    };
    let told = connect(place.name.load(Ordering::Relaxed), family).and_then(|socket| {
        let Some(socket) = socket else { return Ok(()) };
        retrying(|| socket::send(socket.as_fd(), &request.encode(family)))?;
        Ok(())
    });
    if let Err(error) = told {
        tracing::debug!(%error, "the keeper could not be told");
    }
}

fn exchange(
    socket: &OwnedFd,
    request: &Request,
    family: FamilyId,
    descriptors: &[OwnedFd],
) -> Result<(Answer, Option<OwnedFd>)> {
    let borrowed: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    let bytes = request.encode(family);
    let sent = retrying(|| socket::send_with_descriptors(socket.as_fd(), &bytes, &borrowed));
    sent.map_err(broken)?;

    await_answer(socket)?;
    let mut answer = [0];
    let received =
        retrying(|| socket::receive_with_descriptors(socket.as_fd(), &mut answer)).map_err(broken);
    let (length, mut descriptors) = received?;
    match Answer::decode(answer[0]) {
        Some(answer) if length == 1 => Ok((answer, descriptors.pop())),
        _ => Err(Error::new(
            ErrorKind::Broken,
            "ask the family's keeper process: it has ended",
        )),
    }
}

fn await_answer(socket: &OwnedFd) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match poll(
            &mut [PollEntry::new(socket.as_fd(), Interest::READ)],
            Some(left),
        )? {
            PollOutcome::Ready(_) => return Ok(()),
            PollOutcome::TimedOut => {
                return Err(Error::new(
                    ErrorKind::TimedOut,
                    "ask the family's keeper process: it does not answer; somebody has stopped it",
                ));
            }
            PollOutcome::Interrupted => {}
        }
    }
}

/// A connection to the keeper, which is started if there is none.
fn reach(place: &KeeperPlace, family: FamilyId) -> Result<OwnedFd> {
    let name = place.name.load(Ordering::Relaxed);
    if let Some(socket) = connect(name, family)? {
        return Ok(socket);
    }

    bootstrap::require_init()?;
    // A child forked meanwhile would hold the new keeper's socket open after the keeper's end. Before the lock, which others take inside.
    let _inside = gate::enter();
    let mut wait = Wait::forever();
    // Whether its last owner died makes no difference: the name is there or not.
    let _ = place.lock.acquire(&mut wait)?;
    let started = find_or_start(place, family);
    // Only who holds it releases it, so it cannot be free.
    let _ = place.lock.release(&wait);
    started
}

/// The caller holds the place's lock.
fn find_or_start(place: &KeeperPlace, family: FamilyId) -> Result<OwnedFd> {
    if let Some(socket) = connect(place.name.load(Ordering::Relaxed), family)? {
        return Ok(socket);
    }
    let name = u64::from_le_bytes(procession_sys::random::bytes::<8>()?).max(1);
    let listener = socket::listen_abstract(&address(name, family), BACKLOG)?;
    let mut handles = Collected::none();
    handles.add_descriptor(listener);
    let launch = Launch {
        method: StartMethod::Spawn,
        name: "keeper".to_owned(),
        daemon: false,
        role: Role::Keeper,
        entry: 0,
        payload: Vec::new(),
        handles,
        memory_limit: None,
    };
    let keeper = launch.prepare()?.spawn_apart()?;
    STARTED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(keeper);
    place.name.store(name, Ordering::Relaxed);

    connect(name, family)?.ok_or_else(|| {
        Error::new(
            ErrorKind::Broken,
            "start the family's keeper process: it ended at once",
        )
    })
}

/// A connection to the keeper with the name, if it lives.
fn connect(name: u64, family: FamilyId) -> Result<Option<OwnedFd>> {
    if name == 0 {
        return Ok(None);
    }
    match retrying(|| socket::connect_abstract(&address(name, family))) {
        Ok(socket) if socket::is_own_user(socket.as_fd())? => Ok(Some(socket)),
        // The keeper was killed, and another user has taken its name.
        Ok(_) => Ok(None),
        Err(error) if error.is_connection_refused() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn address(name: u64, family: FamilyId) -> Vec<u8> {
    format!("procession/{family}/{name:016x}").into_bytes()
}

fn place() -> Result<&'static KeeperPlace> {
    let header = family::header().ok_or_else(|| {
        Error::new(
            ErrorKind::NotInFamily,
            "find the family's keeper: this process belongs to no family",
        )
    })?;
    Ok(&header.keeper)
}

/// An exchange with the keeper is short and takes no signals: what was begun is finished.
fn retrying<T>(mut call: impl FnMut() -> procession_sys::Result<T>) -> procession_sys::Result<T> {
    loop {
        match call() {
            Err(error) if error.is_interrupted() => {}
            other => return other,
        }
    }
}

fn broken(error: procession_sys::Error) -> Error {
    if error.is_broken_pipe() {
        Error::caused(
            ErrorKind::Broken,
            "ask the family's keeper process: it has ended",
            error,
        )
    } else {
        error.into()
    }
}

#[cold]
fn refused(operation: &str, answer: Answer) -> Error {
    Error::new(
        ErrorKind::Protocol,
        format!("{operation}: the family's keeper process answered {answer:?}"),
    )
}
