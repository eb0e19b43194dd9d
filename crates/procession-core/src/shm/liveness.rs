//! Is a process of the family still there?
//!
//! Used by every waiter whose lock has an owner, and by recovery. A held life word is proof of life and one load; a dead
//! one only says that *one thread* ended. The process is over when the kernel says that none of its threads can return
//! to user code, or when it runs another program by exec (then it keeps its pid but not the mapping of the heap). Only
//! then does anybody take over: a dead owner writes nothing more.

use super::slots::{self, Phase, Slot, State};
use procession_sync::OwnerId;
use procession_sys::vitals::{self, Vitals};
use std::sync::atomic::Ordering;

/// Can `owner` still run code of its family? False for good once it cannot.
#[inline]
#[must_use]
pub fn is_alive(owner: OwnerId) -> bool {
    let Some(slot) = slots::of(owner) else {
        return true;
    };
    let state = slot.state();

    if state.generation() != owner.generation() {
        return false;
    }
    match state.phase() {
        Phase::Live => slot.life.is_held() || !is_over(slot, state),
        Phase::Reserved => true,
        Phase::Free | Phase::Gone | Phase::Dying => false,
    }
}

/// Asks the kernel about a LIVE slot whose life word nobody holds, and records the answer.
#[cold]
pub(crate) fn is_over(slot: &Slot, state: State) -> bool {
    let pid = state.pid();
    let start_time = slot.start_time.load(Ordering::Relaxed);
    let over = match vitals::of(pid, start_time) {
        Vitals::Over => true,
        Vitals::FirstThreadEnded => false,
        // The map of a process whose first thread has just ended is empty too, so that is asked again afterwards.
        Vitals::Runs => {
            runs_another_program(pid) && vitals::of(pid, start_time) != Vitals::FirstThreadEnded
        }
    };

    if over {
        mark_gone(slot, state);
    }
    over || slot.state() != state
}

/// A member of the family that is no keeper: one that runs, or one that is about to come (which has no pid yet).
pub(crate) fn any_member() -> Option<(OwnerId, Option<u32>)> {
    let header = super::family::header()?;
    let used = header.slots_used.load(Ordering::Relaxed) as usize;
    let now = procession_sys::time::monotonic_nanos();

    std::iter::zip(0.., header.slots.iter().take(used))
        .filter(|(_, slot)| !slot.flags().is_keeper())
        .filter_map(|(index, slot)| {
            let state = slot.state();
            let owner = OwnerId::new(index, state.generation())?;
            match state.phase() {
                Phase::Live if slot.life.is_held() || !is_over(slot, state) => {
                    Some((owner, Some(state.pid())))
                }
                Phase::Reserved if is_expected(slot, state, now) => Some((owner, None)),
                _ => None,
            }
        })
        .min_by_key(|(_, pid)| pid.is_none())
}

/// Will a process come for a reserved slot? One whose parent has died since is not waited for long.
fn is_expected(slot: &Slot, state: State, now: u64) -> bool {
    const ON_ITS_WAY: u64 = 5_000_000_000;

    // SYNC: reserved_at recorded -> recovery
    let since = slot.reserved_at.load(Ordering::Acquire);
    state.by().is_some_and(is_alive) || now.saturating_sub(since) < ON_ITS_WAY
}

/// Notes for everybody that the process of a LIVE slot is over.
pub(crate) fn mark_gone(slot: &Slot, state: State) {
    slot.advance(
        state,
        State::new(Phase::Gone, state.generation(), state.pid()),
    );
    slot.life.wake_all_if_dead();
}

/// A process that exists but does not map the heap has gone on to another program.
fn runs_another_program(pid: u32) -> bool {
    super::family::file_id()
        .is_some_and(|file| procession_sys::memory::mapped_file(pid, file) == Some(false))
}
