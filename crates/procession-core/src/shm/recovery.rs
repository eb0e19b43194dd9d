//! Recovery: giving back what dead processes held.
//!
//! Run by whoever notices or wants to know: when a parent has collected a child, when no slot is free, when the heap is
//! over its budget, by `stats` and on request; never inside an internal lock. One process recovers one slot at a time:
//!
//! ```text
//! GONE -> DYING(me): settle redo records, the arena -> give back the ledger -> sweep private blocks -> FREE
//! ```
//!
//! Each step may be repeated, wholly or in part: if the recoverer dies, another takes the slot over from DYING(dead) and
//! begins again. A process whose daemonic children still run waits for their end, since they may write into what it held.

use super::slots::{ADOPTION_NANOS, Phase, Slot, State};
use super::{arena, family, identity, ledger, liveness, references, slots, sweep};
use crate::crash::crash_point;
use crate::error::Result;
use procession_sync::OwnerId;
use std::sync::atomic::{Ordering, fence};

/// Looks at all members and gives back what the dead ones held; returns how many were recovered. Does not block, except
/// for short internal locks.
pub fn recover() -> usize {
    recover_at(procession_sys::time::monotonic_nanos())
}

/// As [`recover`], with another idea of what time it is (monotonic nanoseconds).
#[doc(hidden)]
pub fn recover_at(now: u64) -> usize {
    let (Some(header), Some(me)) = (family::header(), identity::cached()) else {
        return 0;
    };
    let used = header.slots_used.load(Ordering::Relaxed) as usize;

    let mut recovered = 0;
    for (index, slot) in header.slots.iter().enumerate().take(used) {
        let state = slot.state();
        let Some(owner) = OwnerId::new(index as u16, state.generation()) else {
            continue;
        };
        let due = match state.phase() {
            Phase::Free => false,
            Phase::Live => owner != me && !slot.life.is_held() && liveness::is_over(slot, state),
            Phase::Gone => true,
            Phase::Dying => state
                .by()
                .is_none_or(|recoverer| !liveness::is_alive(recoverer)),
            Phase::Reserved => is_abandoned(slot, state, now),
        };
        if due && dismantle(slot, owner, me) {
            recovered += 1;
        }
    }
    recovered
}

/// Recovers one slot whose process its parent has collected, or that was never started.
pub(crate) fn release(owner: OwnerId) {
    let (Some(slot), Some(me)) = (slots::of(owner), identity::cached()) else {
        return;
    };
    let state = slot.state();

    if owner != me && state.generation() == owner.generation() {
        if state.phase() == Phase::Live {
            liveness::mark_gone(slot, state);
        }
        dismantle(slot, owner, me);
    }
}

/// Takes the slot over and gives back all that its process held. False if it is somebody else's, or not yet time.
fn dismantle(slot: &Slot, owner: OwnerId, me: OwnerId) -> bool {
    let state = slot.state();
    let dying = State::new(Phase::Dying, owner.generation(), me.to_bits());
    let takes = match state.phase() {
        _ if state.generation() != owner.generation() => false,
        Phase::Gone => !has_daemonic_children(owner),
        Phase::Reserved => true,
        Phase::Dying => state
            .by()
            .is_none_or(|recoverer| !liveness::is_alive(recoverer)),
        Phase::Live | Phase::Free => false,
    };
    if !takes || !slot.advance(state, dying) {
        return false;
    }

    crash_point!("recovery.begun");
    if give_back_all(slot, owner).is_err() {
        // This process cannot map what the dead one had: another may.
        slot.advance(dying, State::new(Phase::Gone, owner.generation(), 0));
        return false;
    }
    slot.reserved_at.store(0, Ordering::Relaxed);
    slot.advance(dying, State::new(Phase::Free, owner.generation(), 0));
    true
}

fn give_back_all(slot: &Slot, owner: OwnerId) -> Result<()> {
    references::settle();
    arena::settle()?;
    crash_point!("recovery.settled");
    ledger::dissolve(slot);
    crash_point!("recovery.dissolved");
    sweep::owner(owner)?;
    crash_point!("recovery.swept");
    Ok(())
}

/// Do processes still run that end with `parent` and may write into what it held?
fn has_daemonic_children(parent: OwnerId) -> bool {
    let Some(header) = family::header() else {
        return false;
    };
    let used = header.slots_used.load(Ordering::Relaxed) as usize;

    // SYNC: daemonic child live, then parent alive? -> parent gone, then daemonic children live?
    fence(Ordering::SeqCst);
    header.slots.iter().take(used).any(|slot| {
        let state = slot.state();

        state.phase() == Phase::Live
            && slot.parent.load(Ordering::Relaxed) == parent.to_bits()
            && slot.flags().is_daemonic()
            && (slot.life.is_held() || !liveness::is_over(slot, state))
    })
}

/// Has the process that a slot was reserved for failed to come?
fn is_abandoned(slot: &Slot, state: State, now: u64) -> bool {
    // SYNC: reserved_at recorded -> recovery
    match slot.reserved_at.load(Ordering::Acquire) {
        // Whoever reserves it is about to record the time, or is dead.
        0 => state.by().is_some_and(|by| !liveness::is_alive(by)),
        since => now.saturating_sub(since) > ADOPTION_NANOS,
    }
}
