//! The process table: one slot per process of the family, in the header of the heap.
//!
//! Used by whoever starts, joins, watches or recovers a process. A slot's life is one word, changed by CAS only:
//!
//! ```text
//! FREE --reserve--> RESERVED(by owner) --adopt--> LIVE(pid) --kernel says it is over--> GONE --recover--> DYING(recoverer)
//!   ^                     |                                                                                  |    ^ |
//!   |                     +------ launch failed, or nobody adopted it in time ------------------------------>+    +-+
//!   +----------------------------------------------------------------------------------------------------------+  recoverer dead
//! ```
//!
//! The generation goes up at each reservation, so an [`OwnerId`] names one process for ever. Slots are taken round-robin
//! to make generations advance slowly. A process may die in any state: LIVE is told by its life word and its pid,
//! RESERVED by its age, DYING by its recoverer.

use super::family::FamilyHeader;
use crate::error::{Error, ErrorKind, Result};
use procession_sync::OwnerId;
use procession_sys::life::LifeWord;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// How many processes a family can have at one time.
pub const SLOTS: usize = OwnerId::SLOTS as usize;

/// How many ledger pages a slot can refer to, each twice as large as the one before.
pub(crate) const LEDGER_PAGES: usize = 16;

/// How long a reserved slot waits for its process.
pub(crate) const ADOPTION_NANOS: u64 = 60_000_000_000;

/// What a slot says about its process; all fields but `state` are valid only for the generation in it.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Slot {
    pub(crate) life: LifeWord,
    /// | bits | meaning |
    /// |---|---|
    /// | 0 to 3 | [`Phase`] |
    /// | 4 to 23 | generation |
    /// | 24 to 54 | RESERVED: who reserved it; LIVE and GONE: the pid; DYING: who recovers it |
    pub(crate) state: AtomicU64,
    pub(crate) start_time: AtomicU64,
    /// When it was reserved (monotonic); 0 = not yet recorded.
    pub(crate) reserved_at: AtomicU64,
    /// Who started it; 0 = nobody of the family.
    pub(crate) parent: AtomicU32,
    pub(crate) flags: AtomicU32,
    /// Left by the process, or by whoever reaped it, for its parent; 0 = nothing yet. A futex word.
    pub(crate) exit_status: AtomicU32,
    pub(crate) reserved: AtomicU32,
    /// The blocks of the process's ledger (`BlockId` bits; 0 = none yet).
    pub(crate) ledger: [AtomicU64; LEDGER_PAGES],
}

/// What kind of process a slot is for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SlotFlags(u32);

impl SlotFlags {
    /// A process of its own right: it may outlive its parent.
    pub const PLAIN: Self = Self(0);
    /// It ends with its parent, and until then may write into what the parent holds.
    pub const DAEMONIC: Self = Self(1);
    /// A daemonic process that works for a pool.
    pub const WORKER: Self = Self(3);
    /// It serves the family and ends with it: nobody's child, and no reason for the family to go on.
    pub const KEEPER: Self = Self(4);

    /// Does the process end with its parent?
    #[must_use]
    pub const fn is_daemonic(self) -> bool {
        self.0 & 1 != 0
    }

    /// Does the family end without regard to the process?
    #[must_use]
    pub const fn is_keeper(self) -> bool {
        self.0 & 4 != 0
    }
}

/// Where a slot is in its life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u64)]
pub(crate) enum Phase {
    Free = 0,
    Reserved = 1,
    Live = 2,
    Gone = 3,
    Dying = 4,
}

/// The value of a slot's state word.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct State(u64);

impl State {
    pub(crate) fn new(phase: Phase, generation: u32, by: u32) -> Self {
        Self(phase as u64 | u64::from(generation) << 4 | u64::from(by) << 24)
    }

    pub(crate) fn phase(self) -> Phase {
        match self.0 & 0xf {
            1 => Phase::Reserved,
            2 => Phase::Live,
            3 => Phase::Gone,
            4 => Phase::Dying,
            _ => Phase::Free,
        }
    }

    pub(crate) fn generation(self) -> u32 {
        (self.0 >> 4) as u32 & (OwnerId::GENERATIONS - 1)
    }

    /// The pid of a LIVE or GONE slot.
    pub(crate) fn pid(self) -> u32 {
        (self.0 >> 24) as u32 & OwnerId::MASK
    }

    /// Who reserved a RESERVED slot, or recovers a DYING one.
    pub(crate) fn by(self) -> Option<OwnerId> {
        OwnerId::from_bits(self.pid())
    }
}

impl Slot {
    pub(crate) fn state(&self) -> State {
        // SYNC: slot changed -> state
        State(self.state.load(Ordering::Acquire))
    }

    /// Moves the slot on; false if it is not in state `from` any more.
    pub(crate) fn advance(&self, from: State, to: State) -> bool {
        // SYNC: slot changed -> state
        self.state
            .compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Relaxed)
            .is_ok()
    }

    pub(crate) fn flags(&self) -> SlotFlags {
        SlotFlags(self.flags.load(Ordering::Relaxed))
    }
}

/// The slot of `owner`, whatever its generation now; `None` outside any family.
#[inline]
pub(crate) fn of(owner: OwnerId) -> Option<&'static Slot> {
    Some(&super::family::header()?.slots[usize::from(owner.slot())])
}

/// Takes a free slot for a process that `by` (nobody: this process itself) is about to start.
pub(crate) fn reserve(
    header: &'static FamilyHeader,
    by: Option<OwnerId>,
    flags: SlotFlags,
) -> Result<OwnerId> {
    for _ in 0..SLOTS {
        let index = header.slot_cursor.fetch_add(1, Ordering::Relaxed) as usize % SLOTS;
        let slot = &header.slots[index];
        let state = slot.state();
        if state.phase() != Phase::Free {
            continue;
        }

        let generation = match (state.generation() + 1) % OwnerId::GENERATIONS {
            0 => 1,
            next => next,
        };
        let Some(owner) = OwnerId::new(index as u16, generation) else {
            continue;
        };
        let by = by.map_or(0, OwnerId::to_bits);
        if slot.advance(state, State::new(Phase::Reserved, generation, by)) {
            header
                .slots_used
                .fetch_max(index as u32 + 1, Ordering::Relaxed);
            begin(slot, by, flags)?;
            return Ok(owner);
        }
    }

    Err(Error::new(
        ErrorKind::TooManyProcesses,
        format!("start a process: the family has {SLOTS} already; join some of them first"),
    ))
}

fn begin(slot: &'static Slot, by: u32, flags: SlotFlags) -> Result<()> {
    #![expect(unsafe_code, reason = "a life word is initialised in place")]

    slot.start_time.store(0, Ordering::Relaxed);
    slot.parent.store(by, Ordering::Relaxed);
    slot.flags.store(flags.0, Ordering::Relaxed);
    slot.exit_status.store(0, Ordering::Relaxed);
    // SAFETY: a slot that was free is held by nobody; others only look at its word atomically, and whoever still sleeps
    // on it for the process before looks again within a second.
    unsafe { LifeWord::initialize((&raw const slot.life).cast_mut()) }?;
    // SYNC: reserved_at recorded -> recovery
    slot.reserved_at.store(
        procession_sys::time::monotonic_nanos().max(1),
        Ordering::Release,
    );
    Ok(())
}

/// Makes the calling process the one that `owner` was reserved for. Allocates nothing.
///
/// False if the reservation is over: it was too old, or somebody else took it; or if the process is daemonic and its
/// parent is dead, for it might write into what the parent held.
pub(crate) fn adopt(owner: OwnerId) -> bool {
    let Some(slot) = of(owner) else { return false };
    let from = slot.state();
    if from.phase() != Phase::Reserved || from.generation() != owner.generation() {
        return false;
    }

    let live = State::new(
        Phase::Live,
        owner.generation(),
        procession_sys::process::id(),
    );
    if !slot.advance(from, live) {
        return false;
    }
    // SYNC: daemonic child live, then parent alive? -> parent gone, then daemonic children live?
    fence(Ordering::SeqCst);
    let parent = OwnerId::from_bits(slot.parent.load(Ordering::Relaxed));
    if slot.flags().is_daemonic() && parent.is_some_and(|parent| !super::liveness::is_alive(parent))
    {
        super::liveness::mark_gone(slot, live);
        return false;
    }

    // Until the next line the pid alone stands for the process.
    slot.start_time.store(
        procession_sys::vitals::start_time_of_this_process(),
        Ordering::Relaxed,
    );
    super::identity::assume(owner);
    true
}

/// How many processes the family has, as far as is known without asking the kernel.
pub(crate) fn count() -> usize {
    let Some(header) = super::family::header() else {
        return 0;
    };
    let used = header.slots_used.load(Ordering::Relaxed) as usize;

    header
        .slots
        .iter()
        .take(used)
        .filter(|slot| slot.state().phase() == Phase::Live)
        .count()
}

/// A process that has just joined has nothing to do with what its pid was before an exec.
pub(crate) fn give_up_older(mine: OwnerId) {
    let Some(header) = super::family::header() else {
        return;
    };
    let (pid, start_time) = (
        procession_sys::process::id(),
        procession_sys::vitals::start_time_of_this_process(),
    );

    for (index, slot) in header
        .slots
        .iter()
        .enumerate()
        .take(header.slots_used.load(Ordering::Relaxed) as usize)
    {
        let state = slot.state();
        let same = state.pid() == pid && slot.start_time.load(Ordering::Relaxed) == start_time;
        if index != usize::from(mine.slot()) && state.phase() == Phase::Live && same {
            super::liveness::mark_gone(slot, state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Phase, SlotFlags, State};

    #[test]
    fn states_keep_their_parts() {
        let state = State::new(Phase::Live, 0xf_ffff, 0x7fff_ffff);

        assert_eq!(
            (state.phase(), state.generation(), state.pid()),
            (Phase::Live, 0xf_ffff, 0x7fff_ffff)
        );
        assert_eq!(State::new(Phase::Free, 3, 0).by(), None);
    }

    #[test]
    fn workers_are_daemonic() {
        assert!(
            SlotFlags::WORKER.is_daemonic()
                && SlotFlags::DAEMONIC.is_daemonic()
                && !SlotFlags::PLAIN.is_daemonic()
        );
    }
}
