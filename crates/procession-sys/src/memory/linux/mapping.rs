//! Mappings of shared memory into this process, by `mmap`.

#![expect(unsafe_code, reason = "mmap hands out addresses")]

use crate::{Error, Result};
use rustix::mm::{Advice, MapFlags, ProtFlags};
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU64;

/// A range of shared memory at an address of this process; unmapped when dropped.
#[derive(Debug)]
pub struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping is an address range of the process, no thread's own; it hands out raw pointers only.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `len` bytes from `offset` (a multiple of the page size) for reading and writing. They are left out of core
    /// dumps: dumping a sparse object would make all of it resident.
    ///
    /// Access beyond the object's end raises SIGBUS.
    ///
    /// # Errors
    /// No address space or too many mappings; the offset is no multiple of the page size.
    pub fn map_shared(fd: BorrowedFd<'_>, offset: u64, len: usize) -> Result<Self> {
        Self::map(fd, offset, len, ProtFlags::READ | ProtFlags::WRITE)
    }

    /// As [`Mapping::map_shared`], for reading only: a write through it raises SIGSEGV.
    ///
    /// # Errors
    /// As [`Mapping::map_shared`].
    pub fn map_shared_read_only(fd: BorrowedFd<'_>, offset: u64, len: usize) -> Result<Self> {
        Self::map(fd, offset, len, ProtFlags::READ)
    }

    fn map(fd: BorrowedFd<'_>, offset: u64, len: usize, protection: ProtFlags) -> Result<Self> {
        // SAFETY: the kernel chooses an unused address.
        let base = unsafe {
            rustix::mm::mmap(
                ptr::null_mut(),
                len,
                protection,
                MapFlags::SHARED,
                fd,
                offset,
            )
        }
        .map_err(Error::of("map shared memory"))?;
        let mapping = Self {
            base: NonNull::new(base.cast()).ok_or(Error::new("map shared memory", libc::ENOMEM))?,
            len,
        };

        // SAFETY: the range was mapped just now; leaving it out of core dumps changes nothing else.
        unsafe { rustix::mm::madvise(base, len, Advice::LinuxDontDump) }
            .map_err(Error::of("leave shared memory out of core dumps"))?;
        Ok(mapping)
    }

    /// The first byte.
    #[inline]
    #[must_use]
    pub const fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// The length in bytes.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Never true: a mapping has at least one byte.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Keeps the memory mapped until the process ends.
    #[must_use]
    pub fn leak(self) -> NonNull<u8> {
        std::mem::ManuallyDrop::new(self).base
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this value alone stands for the range; who made pointers into it keeps the value alive.
        let result = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.len) };
        debug_assert!(result.is_ok(), "a mapping can be unmapped");
    }
}

/// A zeroed private page that a forked child finds zeroed again. It stays for ever.
///
/// # Errors
/// No memory, or a kernel before 4.14.
pub fn wipe_on_fork_page() -> Result<&'static [AtomicU64; 512]> {
    const LEN: usize = size_of::<[AtomicU64; 512]>();
    const OPERATION: &str = "make a page that forks wipe";

    let len = LEN.max(rustix::param::page_size());
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: the kernel chooses an unused address.
    let base =
        unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), len, protection, MapFlags::PRIVATE) }
            .map_err(Error::of(OPERATION))?;

    // SAFETY: the pages were mapped just now and hold nothing yet.
    unsafe { rustix::mm::madvise(base, len, Advice::LinuxWipeOnFork) }
        .map_err(Error::of(OPERATION))?;
    // SAFETY: the pages are aligned, zero (valid atomics), long enough, and never unmapped.
    Ok(unsafe { &*base.cast() })
}
