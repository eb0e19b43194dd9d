//! What happens around every `fork()` of a member, whoever calls it.
//!
//! ```text
//! prepare  take the process-local locks; reserve a slot; give it a ledger like this process's
//! parent   release the locks
//! child    adopt the slot (allocating nothing); release the locks
//! ```
//!
//! So a child is a member from its first instruction, and what it inherited by memory it holds by its own ledger: what
//! the parent gives up meanwhile stays until the child has given it up, has gone on to another program by exec, or is
//! dead. If the fork fails, or the child does not come to adopt its slot, the slot is given back after a minute; a child
//! that comes later, or for which no slot was free, is outside the family and every operation there says so.
//!
//! The process launcher reserves slots itself: see [`IntoSlot`].

use super::slots::SlotFlags;
use super::{family, identity, ledger, recovery, slots};
use crate::error::Result;
use procession_sync::OwnerId;
use procession_sys::fork_hooks::{self, Hooks};
use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::sync::MutexGuard;

/// What the prepare hook leaves for the other two.
struct Prepared {
    child: Option<OwnerId>,
    _ledger: MutexGuard<'static, ledger::Ledger>,
    _making: MutexGuard<'static, ()>,
}

thread_local! {
    static PREPARED: RefCell<Option<Prepared>> = const { RefCell::new(None) };
    static SLOT: Cell<Option<OwnerId>> = const { Cell::new(None) };
}

/// While it lives, a child that the calling thread forks gets this slot, reserved by [`family::reserve_slot`].
#[derive(Debug)]
#[must_use]
pub struct IntoSlot {
    not_send: PhantomData<*const ()>,
}

impl IntoSlot {
    /// The next fork of this thread makes the process of `slot`.
    pub fn new(slot: OwnerId) -> Self {
        SLOT.set(Some(slot));
        Self {
            not_send: PhantomData,
        }
    }
}

impl Drop for IntoSlot {
    fn drop(&mut self) {
        SLOT.set(None);
    }
}

/// Installs the hooks, if they are not. Afterwards no fork is under way that has not run them.
pub(crate) fn install() -> Result<()> {
    static HOOKS: Hooks = Hooks {
        prepare,
        parent,
        child,
    };

    Ok(fork_hooks::register(&HOOKS)?)
}

fn prepare() {
    let making = family::making();
    let ledger = ledger::lock();
    let child = identity::cached().and_then(|_| {
        identity::prepare_fork();
        reserve(&ledger)
    });

    PREPARED.set(Some(Prepared {
        child,
        _ledger: ledger,
        _making: making,
    }));
}

/// The child's slot, with its ledger; `None` if it has to stay outside.
fn reserve(ledger: &ledger::Ledger) -> Option<OwnerId> {
    let child = match SLOT.take() {
        Some(slot) => slot,
        None => family::reserve_slot(SlotFlags::PLAIN).ok()?,
    };
    if ledger.copy_for(child).is_err() {
        recovery::release(child);
        return None;
    }
    Some(child)
}

fn parent() {
    PREPARED.take();
}

fn child() {
    if let Some(child) = PREPARED.take().and_then(|prepared| prepared.child) {
        slots::adopt(child);
    }
}
