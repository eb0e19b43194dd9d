//! The heap's segments: ranges of one memory object that every process maps when it first touches them.
//!
//! Used by all that resolves offsets. The table in the family header says where each segment lies in the object; it only
//! grows, under the arena lock, and an entry counts from the store of `count` on. Each segment is twice as long as the
//! one before, or as long as the block that did not fit. Address space alone is taken: the object grows with use, so a
//! stray access beyond what was handed out is SIGBUS and no silent zero page; it is sealed against shrinking.
//!
//! Layout of a segment: header (of the first only), one [`Descriptor`] per chunk, one table of [`Entry`] per chunk,
//! chunks. A process that dies while it adds a segment leaves an entry that does not count yet.

#![expect(
    unsafe_code,
    reason = "the heap's parts are reached through the addresses of its segments"
)]

use super::chunk::{Descriptor, ENTRIES, Entry};
use super::family;
use super::offset::{Offset, SEGMENT_LIMIT};
use crate::crash::crash_point;
use crate::error::{Error, ErrorKind, Result};
use procession_sys::memory::{FileId, Mapping, MemoryObject};
use std::os::fd::{AsFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// The unit in which the arena hands out memory.
pub(crate) const CHUNK: usize = 64 * 1024;
/// The most segments there can be.
pub(crate) const SEGMENTS: usize = 32;
const FIRST_CHUNKS: u64 = 48;
const SECOND_CHUNKS: u64 = 128;
/// Beyond this a segment is only as long as the block that needs it.
const DOUBLE_TO: u64 = 1 << 20;
const PAGE: u64 = 4096;

/// Where the segments lie; part of the family header. Zero bytes are an empty table.
#[derive(Debug)]
#[repr(C)]
pub struct SegmentTable {
    count: AtomicU32,
    header_len: AtomicU32,
    entries: [SegmentEntry; SEGMENTS],
}

/// One segment.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct SegmentEntry {
    /// Where it begins in the memory object.
    start: AtomicU64,
    /// How many chunks it has room for.
    pub(crate) chunks: AtomicU64,
    /// How many chunks belong to runs; changes under the arena lock.
    pub(crate) top: AtomicU64,
    /// Hint: how many of them are free.
    pub(crate) free: AtomicU64,
    /// Hint: no free run is this long; 0 when unknown.
    pub(crate) miss: AtomicU64,
}

impl SegmentTable {
    /// How many segments there are.
    #[inline]
    pub(crate) fn count(&self) -> usize {
        // SYNC: segment added -> count
        (self.count.load(Ordering::Acquire) as usize).min(SEGMENTS)
    }

    #[inline]
    pub(crate) fn entry(&self, segment: usize) -> &SegmentEntry {
        &self.entries[segment]
    }

    /// The bytes of address space that all segments take.
    pub(crate) fn mapped_bytes(&self) -> u64 {
        (0..self.count())
            .map(|segment| self.layout(segment).len)
            .sum()
    }

    fn layout(&self, segment: usize) -> Layout {
        let header = if segment == 0 {
            u64::from(self.header_len.load(Ordering::Relaxed))
        } else {
            0
        };

        Layout::new(header, self.entries[segment].chunks.load(Ordering::Relaxed))
    }

    /// Adds a segment with room for a run of `chunks`; the caller holds the arena lock.
    ///
    /// # Errors
    /// All segments are in use, or the run is too long for any.
    pub(crate) fn add(&self, chunks: u64) -> Result<usize> {
        let segment = self.count();
        let room = if segment == 1 {
            SECOND_CHUNKS
        } else {
            self.last_chunks(segment) * 2
        };
        let room = room.min(DOUBLE_TO).max(chunks);
        let layout = Layout::new(0, room);
        if segment == SEGMENTS || layout.len > SEGMENT_LIMIT {
            return Err(Error::no_memory(format!(
                "allocate {} bytes of shared memory: the heap has no segment left for a block of this size",
                chunks * CHUNK as u64
            )));
        }

        let last = &self.entries[segment - 1];
        let start = last.start.load(Ordering::Relaxed) + self.layout(segment - 1).len;
        let entry = &self.entries[segment];
        entry.start.store(start, Ordering::Relaxed);
        entry.chunks.store(room, Ordering::Relaxed);
        entry.top.store(0, Ordering::Relaxed);
        entry.free.store(0, Ordering::Relaxed);
        entry.miss.store(0, Ordering::Relaxed);
        grow(start + layout.data)?;
        crash_point!("heap.segment.written");
        // SYNC: segment added -> count
        self.count.store(segment as u32 + 1, Ordering::Release);
        crash_point!("heap.segment.added");
        Ok(segment)
    }

    fn last_chunks(&self, count: usize) -> u64 {
        self.entries[count - 1].chunks.load(Ordering::Relaxed)
    }
}

/// Where the parts of a segment begin.
#[derive(Clone, Copy, Debug)]
struct Layout {
    descriptors: u64,
    entries: u64,
    data: u64,
    len: u64,
}

impl Layout {
    const fn new(header_len: u64, chunks: u64) -> Self {
        let descriptors = header_len.next_multiple_of(64);
        let entries =
            (descriptors + chunks * size_of::<Descriptor>() as u64).next_multiple_of(PAGE);
        let data = (entries + chunks * size_of::<[Entry; ENTRIES]>() as u64)
            .next_multiple_of(CHUNK as u64);

        Self {
            descriptors,
            entries,
            data,
            len: data + chunks * CHUNK as u64,
        }
    }
}

/// A segment as this process has it mapped.
struct View {
    /// Null until it is mapped; the others are stored before.
    base: AtomicPtr<u8>,
    descriptors: AtomicU64,
    entries: AtomicU64,
    data: AtomicU64,
    chunks: AtomicU64,
}

/// The family's memory object, and what `fstat` says of it.
struct Memory {
    object: MemoryObject,
    file: FileId,
}

static MEMORY: OnceLock<Memory> = OnceLock::new();
static VIEWS: [View; SEGMENTS] = [const {
    View {
        base: AtomicPtr::new(std::ptr::null_mut()),
        descriptors: AtomicU64::new(0),
        entries: AtomicU64::new(0),
        data: AtomicU64::new(0),
        chunks: AtomicU64::new(0),
    }
}; SEGMENTS];

/// Makes the first segment of a fresh memory object and maps it; its bytes are zero. The caller writes the family header
/// and then calls [`begin`].
///
/// # Errors
/// No memory, or no address space.
pub(crate) fn create_first(memory: MemoryObject, header_len: usize) -> Result<NonNull<u8>> {
    let layout = Layout::new(header_len as u64, FIRST_CHUNKS);
    memory.grow_to(layout.data)?;
    memory.seal_shrink()?;
    map_first(memory, layout)
}

/// Enters the first segment into the table of the header that now lies in it.
pub(crate) fn begin(table: &SegmentTable, header_len: usize) {
    table.header_len.store(header_len as u32, Ordering::Relaxed);
    table.entries[0]
        .chunks
        .store(FIRST_CHUNKS, Ordering::Relaxed);
    // SYNC: segment added -> count
    table.count.store(1, Ordering::Release);
}

/// Maps the first segment of a family that exists; the caller checks the header's magic and version.
///
/// # Errors
/// The object is too short to be a family's, or cannot be mapped.
pub(crate) fn join(memory: MemoryObject, header_len: usize) -> Result<NonNull<u8>> {
    let layout = Layout::new(header_len as u64, FIRST_CHUNKS);
    if memory.len()? < layout.data {
        return Err(Error::new(
            ErrorKind::WrongLayout,
            "join the family: the descriptor is not that of a family's memory",
        ));
    }
    map_first(memory, layout)
}

fn map_first(object: MemoryObject, layout: Layout) -> Result<NonNull<u8>> {
    let memory = Memory {
        file: object.identity()?,
        object,
    };
    let mapping = Mapping::map_shared(memory.object.as_fd(), 0, layout.len as usize)?;
    if MEMORY.set(memory).is_err() {
        return Err(Error::new(
            ErrorKind::WrongState,
            "join the family: this process already belongs to one",
        ));
    }
    Ok(publish(0, layout, FIRST_CHUNKS, mapping))
}

/// The family's descriptor.
pub(crate) fn memory() -> Option<BorrowedFd<'static>> {
    MEMORY.get().map(|memory| memory.object.as_fd())
}

/// The memory object, after making sure that its descriptor is still the family's: programs close descriptors they do
/// not know.
///
/// # Errors
/// The descriptor was closed, or is something else by now; there is no family.
pub(crate) fn object() -> Result<&'static MemoryObject> {
    let memory = MEMORY.get().ok_or_else(outside)?;

    match memory.object.identity() {
        Ok(file) if file == memory.file => Ok(&memory.object),
        _ => Err(Error::new(
            ErrorKind::WrongState,
            "use more shared memory: the family's descriptor was closed; leave descriptors alone that you did not open",
        )),
    }
}

/// Makes the object at least `len` long; the caller holds the arena lock.
pub(crate) fn grow(len: u64) -> Result<()> {
    let object = object()?;
    if object.len()? < len {
        object.grow_to(len)?;
    }
    Ok(())
}

/// The address of a segment.
#[inline]
pub(crate) fn base(segment: usize) -> Result<NonNull<u8>> {
    if let Some(view) = VIEWS.get(segment) {
        // SYNC: segment mapped -> base
        if let Some(base) = NonNull::new(view.base.load(Ordering::Acquire)) {
            return Ok(base);
        }
    }
    map(segment)
}

#[cold]
fn map(segment: usize) -> Result<NonNull<u8>> {
    let table = &family::header().ok_or_else(outside)?.segments;
    if segment >= table.count() {
        return Err(Error::new(
            ErrorKind::StaleHandle,
            "resolve an offset: it lies in no segment of this family's heap",
        ));
    }
    let layout = table.layout(segment);
    let entry = table.entry(segment);
    let start = entry.start.load(Ordering::Relaxed);

    let mapping = Mapping::map_shared(object()?.as_fd(), start, layout.len as usize)?;
    Ok(publish(
        segment,
        layout,
        entry.chunks.load(Ordering::Relaxed),
        mapping,
    ))
}

/// Makes a mapping the segment's, unless another thread was faster; then that thread's stays.
fn publish(segment: usize, layout: Layout, chunks: u64, mapping: Mapping) -> NonNull<u8> {
    let view = &VIEWS[segment];
    view.descriptors
        .store(layout.descriptors, Ordering::Relaxed);
    view.entries.store(layout.entries, Ordering::Relaxed);
    view.data.store(layout.data, Ordering::Relaxed);
    view.chunks.store(chunks, Ordering::Relaxed);

    let null = std::ptr::null_mut();
    // SYNC: segment mapped -> base
    match view.base.compare_exchange(
        null,
        mapping.base().as_ptr(),
        Ordering::AcqRel,
        Ordering::Acquire,
    ) {
        Ok(_) => mapping.leak(),
        Err(other) => NonNull::new(other).unwrap_or_else(|| mapping.leak()),
    }
}

#[cold]
pub(crate) fn outside() -> Error {
    Error::new(
        ErrorKind::NotInFamily,
        "use shared memory: this process belongs to no family",
    )
}

/// One mapped segment with its parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Region {
    base: NonNull<u8>,
    segment: usize,
    descriptors: usize,
    entries: usize,
    data: usize,
    chunks: usize,
}

impl Region {
    #[inline]
    pub(crate) fn of(segment: usize) -> Result<Self> {
        let base = base(segment)?;
        let view = &VIEWS[segment];

        Ok(Self {
            base,
            segment,
            descriptors: view.descriptors.load(Ordering::Relaxed) as usize,
            entries: view.entries.load(Ordering::Relaxed) as usize,
            data: view.data.load(Ordering::Relaxed) as usize,
            chunks: view.chunks.load(Ordering::Relaxed) as usize,
        })
    }

    #[inline]
    pub(crate) fn segment(&self) -> usize {
        self.segment
    }

    /// The descriptor of chunk `index`.
    #[inline]
    pub(crate) fn descriptor(&self, index: usize) -> &'static Descriptor {
        assert!(
            index < self.chunks,
            "chunk {index} lies outside its segment"
        );
        // SAFETY: the segment has that many descriptors at this place, is mapped for ever and is longer than them.
        let first = unsafe { self.base.add(self.descriptors) }.cast::<Descriptor>();
        // SAFETY: as above; the index was checked.
        let place = unsafe { first.add(index) };
        // SAFETY: the place is aligned, inside the object, and any bytes are valid atomics, which is all that it holds.
        unsafe { place.as_ref() }
    }

    /// The entries of the blocks in chunk `index`.
    #[inline]
    pub(crate) fn entries(&self, index: usize) -> &'static [Entry; ENTRIES] {
        assert!(
            index < self.chunks,
            "chunk {index} lies outside its segment"
        );
        // SAFETY: the segment has that many tables of entries at this place, is mapped for ever and is longer than them.
        let first = unsafe { self.base.add(self.entries) }.cast::<[Entry; ENTRIES]>();
        // SAFETY: as above; the index was checked.
        let place = unsafe { first.add(index) };
        // SAFETY: the place is aligned, inside the object, and any bytes are valid atomics, which is all that it holds.
        unsafe { place.as_ref() }
    }

    /// Where the bytes of chunk `index` begin.
    #[inline]
    pub(crate) fn data(&self, index: usize) -> NonNull<u8> {
        assert!(
            index < self.chunks,
            "chunk {index} lies outside its segment"
        );
        // SAFETY: the chunk is part of the segment, which is mapped as a whole.
        unsafe { self.base.add(self.data + index * CHUNK) }
    }

    #[inline]
    pub(crate) fn offset(&self, index: usize) -> Offset {
        Offset::new(self.segment, (self.data + index * CHUNK) as u64)
    }

    /// The chunk that `offset` lies in and the byte in it.
    #[inline]
    pub(crate) fn chunk_of(&self, offset: Offset) -> Option<(usize, usize)> {
        let at = (offset.at() as usize).checked_sub(self.data)?;
        let index = at / CHUNK;

        (index < self.chunks).then_some((index, at % CHUNK))
    }

    /// Where the first `chunks` chunks from `index` lie in the memory object: place and length.
    pub(crate) fn file_range(
        &self,
        table: &SegmentTable,
        index: usize,
        chunks: usize,
    ) -> (u64, u64) {
        let start = table.entry(self.segment).start.load(Ordering::Relaxed);

        (
            start + (self.data + index * CHUNK) as u64,
            (chunks * CHUNK) as u64,
        )
    }
}
