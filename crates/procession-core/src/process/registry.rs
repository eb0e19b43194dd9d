//! The children of this process: reaped at the next call that looks at processes, joined or ended when this process ends.
//!
//! Pool workers are not here: their pool's supervisor reaps them at once.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::child::Child;
use super::{Role, keeper};
use crate::engine::gate;
use crate::error::Result;
use crate::shm::Wait;

static CHILDREN: Mutex<Vec<Child>> = Mutex::new(Vec::new());

/// Remembers a child; helpers of the engine and pool workers have owners of
/// their own.
pub(super) fn add(child: &Child) {
    if child.role() == Role::Process {
        children().push(child.clone());
    }
}

/// The children of this process that have not ended; reaps those that have.
#[must_use]
pub fn active_children() -> Vec<Child> {
    reap();
    children().clone()
}

/// Takes the status of every child that has ended.
pub(super) fn reap() {
    keeper::reap();
    let snapshot = children().clone();
    for child in snapshot {
        let over = !child.is_ours() || matches!(child.try_join(), Ok(Some(_)));
        if over {
            forget(&child);
        }
    }
}

/// How long a daemonic child has to heed `SIGTERM` before it is killed.
const GRACE: Duration = Duration::from_secs(1);

/// What a process owes its children before it ends: those that must not
/// outlive it are terminated, and killed if they do not heed that; the others
/// are joined.
pub(super) fn finish() {
    reap();
    let (daemonic, others): (Vec<Child>, Vec<Child>) =
        children().iter().cloned().partition(Child::is_daemon);
    for child in &daemonic {
        note(child, child.terminate());
    }
    for child in others {
        note(&child, join(&child));
        forget(&child);
    }
    for child in daemonic {
        if !matches!(
            child.join(&mut Wait::for_duration(Some(GRACE))),
            Ok(Some(_))
        ) {
            note(&child, child.kill());
            note(&child, join(&child));
        }
        forget(&child);
    }
}

/// Waits until the child has ended.
fn join(child: &Child) -> Result<()> {
    while child.join(&mut Wait::forever())?.is_none() {}
    Ok(())
}

fn note(child: &Child, result: Result<()>) {
    if let Err(error) = result {
        tracing::error!(pid = child.pid(), %error, "a child could not be settled");
    }
}

fn forget(child: &Child) {
    children().retain(|other| other.owner() != child.owner());
}

fn children() -> Children {
    let inside = gate::enter();
    Children {
        list: CHILDREN.lock().unwrap_or_else(PoisonError::into_inner),
        _inside: inside,
    }
}

/// The list while this thread has it; no fork meanwhile.
struct Children {
    list: MutexGuard<'static, Vec<Child>>,
    _inside: gate::Inside,
}

impl Deref for Children {
    type Target = Vec<Child>;

    fn deref(&self) -> &Vec<Child> {
        &self.list
    }
}

impl DerefMut for Children {
    fn deref_mut(&mut self) -> &mut Vec<Child> {
        &mut self.list
    }
}
