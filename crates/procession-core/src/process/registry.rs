//! The children of this process: reaped at the next call that looks at processes, joined or ended when this process ends.
//!
//! Pool workers are not here: their pool's supervisor reaps them at once.

use std::sync::{Mutex, PoisonError};

use super::Role;
use super::child::Child;
use crate::shm::wait::Wait;

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
    let snapshot = children().clone();
    for child in snapshot {
        let over = !child.is_ours() || matches!(child.try_join(), Ok(Some(_)));
        if over {
            forget(&child);
        }
    }
}

/// What a process owes its children before it ends: those that must not
/// outlive it are terminated, the others joined.
pub(super) fn finish() {
    reap();
    for child in children().clone() {
        if child.is_daemon()
            && let Err(error) = child.terminate()
        {
            tracing::warn!(pid = child.pid(), %error, "a daemonic child could not be ended");
        }
    }
    loop {
        let Some(child) = children().first().cloned() else {
            return;
        };
        if let Err(error) = child.join(&mut Wait::forever()) {
            tracing::error!(pid = child.pid(), %error, "a child could not be joined");
        }
        forget(&child);
    }
}

fn forget(child: &Child) {
    children().retain(|other| other.owner() != child.owner());
}

fn children() -> std::sync::MutexGuard<'static, Vec<Child>> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}
