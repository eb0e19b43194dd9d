//! The family: a program and the processes that it starts, around one heap.
//!
//! Used by everything that touches shared memory. A process belongs to at most one family for all its life, so all state
//! is the process's own: [`current`] creates the family on first use in a program's first process, [`join`] makes a
//! started child a member, and a forked child becomes one by the at-fork hooks (see `fork`).
//!
//! The heap's first segment begins with the [`FamilyHeader`]. The family lives as long as any member has it mapped;
//! nothing of it has a name. A member's death is found by its slot (see `slots`, `recovery`).

#![expect(
    unsafe_code,
    reason = "the header is reached through the address of the mapping"
)]

use super::arena::ArenaState;
use super::references::Shard;
use super::segment::{self, SegmentTable};
use super::slots::{self, SLOTS, Slot, SlotFlags};
use super::{fork, identity, recovery};
use crate::error::{Error, ErrorKind, Result};
use procession_sync::{OwnerId, RawLock};
use procession_sys::memory::{self, FileId, MemoryObject};
use std::fmt;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// "PROCSSN" and a zero byte.
const MAGIC: u64 = u64::from_le_bytes(*b"PROCSSN\0");

/// Goes up whenever anything in shared memory changes its shape.
const LAYOUT: u64 = 1;

/// What lies at offset 0 of the heap. Zero bytes are valid in every field.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct FamilyHeader {
    magic: AtomicU64,
    /// The layout's version and the size of this header.
    layout: AtomicU64,
    id: [AtomicU64; 2],
    /// How many bytes the heap may take.
    pub(crate) budget: AtomicU64,
    /// How many processors the first process might use: reading the control group takes a child too long.
    usable_cpus: AtomicU32,
    reserved: AtomicU32,
    /// Where the search for a free slot goes on.
    pub(crate) slot_cursor: AtomicU32,
    /// No slot from here on was ever used.
    pub(crate) slots_used: AtomicU32,
    pub(crate) segments: SegmentTable,
    pub(crate) arena: ArenaState,
    pub(crate) keeper: KeeperPlace,
    pub(crate) shards: [Shard; Shard::COUNT],
    pub(crate) slots: [Slot; SLOTS],
}

/// Where the family's keeper is found (see `process::keeper`).
#[derive(Debug)]
#[repr(C)]
pub(crate) struct KeeperPlace {
    /// Held by whoever starts a keeper. A starter that dies has stored the name or not; either is in order.
    pub(crate) lock: RawLock,
    reserved: AtomicU32,
    /// What tells its socket's name from those of its predecessors; 0 while there has been none.
    pub(crate) name: AtomicU64,
}

/// The name of a family: random, so that no two ever agree.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct FamilyId(pub u128);

impl fmt::Display for FamilyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// This process's family.
#[derive(Debug)]
pub struct Family {
    id: FamilyId,
    file: FileId,
}

static HEADER: AtomicPtr<FamilyHeader> = AtomicPtr::new(std::ptr::null_mut());
static CURRENT: OnceLock<Family> = OnceLock::new();
/// Held while the family is made; the prepare hook of a fork waits for it.
static MAKING: Mutex<()> = Mutex::new(());
static MUST_JOIN: AtomicBool = AtomicBool::new(false);
/// What [`set_budget`] asked for before there was a family; 0 = nothing.
static ASKED_BUDGET: AtomicU64 = AtomicU64::new(0);

/// This process's family; made on first use in a process that nobody of a family started.
///
/// # Errors
/// [`ErrorKind::NotInFamily`] in a child that has not joined yet, or that was forked unseen by the engine; otherwise
/// what the system says when the heap is made.
#[inline]
pub fn current() -> Result<&'static Family> {
    let family = match CURRENT.get() {
        Some(family) => family,
        None => create()?,
    };

    identity::me()?;
    Ok(family)
}

/// Makes this process, started with descriptor `memfd` of the heap and the slot that its parent reserved, a member.
///
/// # Errors
/// [`ErrorKind::WrongLayout`] if the descriptor is no heap or one of another version of this crate,
/// [`ErrorKind::NotInFamily`] if the reservation is over (it is kept for a minute), [`ErrorKind::WrongState`] if the
/// process belongs to a family already; otherwise what the system says.
pub fn join(memfd: OwnedFd, slot: OwnerId) -> Result<&'static Family> {
    fork::install()?;
    let _making = making();
    if CURRENT.get().is_some() {
        return Err(Error::new(
            ErrorKind::WrongState,
            "join a family: this process belongs to one already",
        ));
    }

    let memory = MemoryObject::from_fd(memfd);
    let file = memory.identity()?;
    let header = header_at(segment::join(memory, size_of::<FamilyHeader>())?);
    check(header)?;

    identity::prepare()?;
    super::wait::note_cpus(header.usable_cpus.load(Ordering::Relaxed));
    publish(header);
    if !slots::adopt(slot) {
        HEADER.store(std::ptr::null_mut(), Ordering::Relaxed);
        return Err(Error::new(
            ErrorKind::NotInFamily,
            "join the family: the slot reserved for this process is taken or was given up; the process started too slowly",
        ));
    }
    slots::give_up_older(slot);
    Ok(CURRENT.get_or_init(|| Family {
        id: id_in(header),
        file,
    }))
}

/// From now on only [`join`] makes a family: this process was started as the child of one.
pub fn expect_to_join() {
    MUST_JOIN.store(true, Ordering::Relaxed);
}

/// The descriptor of the heap, for a child that is to join.
///
/// # Errors
/// As [`current`].
pub fn descriptor() -> Result<BorrowedFd<'static>> {
    current()?;
    segment::memory()
        .ok_or_else(|| Error::new(ErrorKind::NotInFamily, "find the heap's descriptor"))
}

/// The family's name.
///
/// # Errors
/// As [`current`].
pub fn id() -> Result<FamilyId> {
    Ok(current()?.id)
}

/// Reserves a slot for a process that this one is about to start. It waits a minute for its process.
///
/// # Errors
/// [`ErrorKind::TooManyProcesses`] if none is free even after looking for dead processes; as [`current`].
pub fn reserve_slot(flags: SlotFlags) -> Result<OwnerId> {
    current()?;
    let me = identity::me()?;
    let header =
        header().ok_or_else(|| Error::new(ErrorKind::NotInFamily, "find the family's header"))?;

    match slots::reserve(header, Some(me), flags) {
        Err(error) if error.kind() == ErrorKind::TooManyProcesses && recovery::recover() > 0 => {
            slots::reserve(header, Some(me), flags)
        }
        result => result,
    }
}

/// Makes this process, a child that was forked without the at-fork hooks knowing, the one that `slot` is for.
///
/// # Errors
/// [`ErrorKind::NotInFamily`] if the reservation is over.
pub fn adopt(slot: OwnerId) -> Result<()> {
    if slots::adopt(slot) {
        Ok(())
    } else {
        Err(Error::new(
            ErrorKind::NotInFamily,
            "adopt a slot: its reservation is over",
        ))
    }
}

/// Gives a slot back: the launch failed, or the caller has collected the exit status of its process. What the process
/// held is given back at once (or, if daemonic processes of it still run, once they have ended).
pub fn release_slot(slot: OwnerId) {
    recovery::release(slot);
}

/// The word in which the exit status of `slot`'s process is left for its parent, 0 until then; its format is the
/// process module's. `None` once the slot is another process's.
#[must_use]
pub fn exit_status_word(slot: OwnerId) -> Option<&'static AtomicU32> {
    let entry = slots::of(slot)?;

    (entry.state().generation() == slot.generation()).then_some(&entry.exit_status)
}

/// Who started this process, if a member of the family did.
#[must_use]
pub fn parent() -> Option<OwnerId> {
    OwnerId::from_bits(
        slots::of(identity::cached()?)?
            .parent
            .load(Ordering::Relaxed),
    )
}

/// The pid of a member, once it has joined.
#[must_use]
pub fn pid(member: OwnerId) -> Option<u32> {
    let state = slots::of(member)?.state();

    (state.generation() == member.generation()
        && matches!(state.phase(), slots::Phase::Live | slots::Phase::Gone))
    .then(|| state.pid())
}

/// Sets how many bytes the heap may take, now or when it will be made. The default is half of the machine's memory, or
/// of the control group's limit if that is smaller.
pub fn set_budget(bytes: u64) {
    ASKED_BUDGET.store(bytes, Ordering::Relaxed);
    if let Some(header) = header() {
        header.budget.store(bytes, Ordering::Relaxed);
    }
}

impl Family {
    /// The family's name.
    #[must_use]
    pub const fn id(&self) -> FamilyId {
        self.id
    }
}

#[cold]
fn create() -> Result<&'static Family> {
    if MUST_JOIN.load(Ordering::Relaxed) {
        return Err(Error::new(
            ErrorKind::NotInFamily,
            "use shared memory: this process was started by a family and has not joined it yet; \
             enter the engine first thing in main",
        ));
    }
    fork::install()?;
    let _making = making();
    if let Some(family) = CURRENT.get() {
        return Ok(family);
    }

    identity::prepare()?;
    let memory = MemoryObject::create(c"procession")?;
    let file = memory.identity()?;
    let header = header_at(segment::create_first(memory, size_of::<FamilyHeader>())?);
    begin(header)?;
    segment::begin(&header.segments, size_of::<FamilyHeader>());
    super::wait::note_cpus(header.usable_cpus.load(Ordering::Relaxed));
    publish(header);

    let me = slots::reserve(header, None, SlotFlags::PLAIN)?;
    slots::adopt(me);
    Ok(CURRENT.get_or_init(|| Family {
        id: id_in(header),
        file,
    }))
}

fn begin(header: &FamilyHeader) -> Result<()> {
    let asked = ASKED_BUDGET.load(Ordering::Relaxed);
    let id = u128::from_le_bytes(procession_sys::random::bytes::<16>()?);

    header.budget.store(
        if asked == 0 { default_budget() } else { asked },
        Ordering::Relaxed,
    );
    header.id[0].store(id as u64, Ordering::Relaxed);
    header.id[1].store((id >> 64) as u64, Ordering::Relaxed);
    header.layout.store(
        LAYOUT << 32 | size_of::<FamilyHeader>() as u64,
        Ordering::Relaxed,
    );
    let cpus = u32::try_from(procession_sys::thread::usable_cpus()).unwrap_or(u32::MAX);
    header.usable_cpus.store(cpus, Ordering::Relaxed);
    // SYNC: header begun -> check
    header.magic.store(MAGIC, Ordering::Release);
    Ok(())
}

fn default_budget() -> u64 {
    let physical = memory::physical_memory();

    memory::cgroup_memory_limit().map_or(physical, |limit| limit.min(physical)) / 2
}

fn check(header: &FamilyHeader) -> Result<()> {
    // SYNC: header begun -> check
    if header.magic.load(Ordering::Acquire) != MAGIC {
        return Err(Error::new(
            ErrorKind::WrongLayout,
            "join a family: the descriptor is not a family's heap",
        ));
    }
    let layout = header.layout.load(Ordering::Relaxed);
    if layout != LAYOUT << 32 | size_of::<FamilyHeader>() as u64 {
        return Err(Error::new(
            ErrorKind::WrongLayout,
            format!(
                "join a family: its heap has layout {}, this program has {LAYOUT}; use one version of procession",
                layout >> 32
            ),
        ));
    }
    Ok(())
}

fn id_in(header: &FamilyHeader) -> FamilyId {
    let [low, high] =
        [&header.id[0], &header.id[1]].map(|half| u128::from(half.load(Ordering::Relaxed)));

    FamilyId(high << 64 | low)
}

/// The header of this process's family. Also inside a forked child that is not a member: its mapping is inherited.
#[inline]
pub(crate) fn header() -> Option<&'static FamilyHeader> {
    // SYNC: header mapped -> header
    let header = HEADER.load(Ordering::Acquire);
    // SAFETY: null, or what `publish` stored: a mapping of at least this size that is never unmapped, of atomics only.
    unsafe { header.as_ref() }
}

/// Which file the heap is.
pub(crate) fn file_id() -> Option<FileId> {
    CURRENT.get().map(|family| family.file)
}

/// Waits until no thread of this process is making the family.
pub(crate) fn making() -> MutexGuard<'static, ()> {
    MAKING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn header_at(base: NonNull<u8>) -> &'static FamilyHeader {
    // SAFETY: the first segment is page aligned, at least this long and mapped for ever; any bytes are valid atomics.
    unsafe { base.cast().as_ref() }
}

fn publish(header: &'static FamilyHeader) {
    // SYNC: header mapped -> header
    HEADER.store(std::ptr::from_ref(header).cast_mut(), Ordering::Release);
}
