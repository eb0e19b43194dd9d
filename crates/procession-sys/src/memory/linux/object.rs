//! Anonymous memory objects: `memfd_create`.

use crate::memory::FileId;
use crate::{Error, Result, fd};
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// An anonymous object of shared memory, reached through its descriptor; closing it leaves mappings alone.
#[derive(Debug)]
pub struct MemoryObject {
    fd: OwnedFd,
}

impl MemoryObject {
    /// A new, empty object; `name` only shows up in `/proc`.
    ///
    /// # Errors
    /// Too many open descriptors, or no memory.
    pub fn create(name: &CStr) -> Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd =
            rustix::fs::memfd_create(name, flags).map_err(Error::of("create a memory object"))?;

        Ok(Self {
            fd: fd::at_least_three(fd)?,
        })
    }

    /// The object behind a descriptor that this process was given.
    #[must_use]
    pub const fn from_fd(fd: OwnedFd) -> Self {
        Self { fd }
    }

    /// Sets the length, in bytes; the new part is zero and takes no memory yet. Making it shorter fails once sealed.
    ///
    /// # Errors
    /// The length is too large for the file system or the process's file size limit.
    pub fn grow_to(&self, len: u64) -> Result<()> {
        rustix::fs::ftruncate(&self.fd, len).map_err(Error::of("grow a memory object"))
    }

    /// The length in bytes.
    ///
    /// # Errors
    /// The descriptor is not open any more.
    pub fn len(&self) -> Result<u64> {
        let stat = rustix::fs::fstat(&self.fd).map_err(Error::of("measure a memory object"))?;

        Ok(stat.st_size.unsigned_abs())
    }

    /// Does it have no bytes?
    ///
    /// # Errors
    /// The descriptor is not open any more.
    pub fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }

    /// How many bytes of memory it takes now.
    ///
    /// # Errors
    /// The descriptor is not open any more.
    pub fn resident(&self) -> Result<u64> {
        let stat = rustix::fs::fstat(&self.fd).map_err(Error::of("measure a memory object"))?;

        Ok(stat.st_blocks.unsigned_abs() * 512)
    }

    /// Forbids to make it shorter, for ever and for everyone: no mapped page can vanish under a reader.
    ///
    /// # Errors
    /// The object cannot be sealed.
    pub fn seal_shrink(&self) -> Result<()> {
        rustix::fs::fcntl_add_seals(&self.fd, SealFlags::SHRINK)
            .map_err(Error::of("seal a memory object"))
    }

    /// Takes memory for the range now, so that a later access cannot fail; grows the object if the range ends beyond it.
    ///
    /// # Errors
    /// [`Error::is_no_memory`]; [`Error::is_interrupted`] with part of the range reserved.
    pub fn reserve(&self, offset: u64, len: u64) -> Result<()> {
        rustix::fs::fallocate(&self.fd, FallocateFlags::empty(), offset, len)
            .map_err(Error::of("reserve shared memory"))
    }

    /// Gives the memory of the range's whole pages back; the range reads as zero afterwards.
    ///
    /// # Errors
    /// [`Error::is_interrupted`], and what the file system says.
    pub fn punch(&self, offset: u64, len: u64) -> Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;

        rustix::fs::fallocate(&self.fd, flags, offset, len)
            .map_err(Error::of("give shared memory back"))
    }

    /// Which object this is, whatever descriptor refers to it.
    ///
    /// # Errors
    /// The descriptor is not open any more.
    pub fn identity(&self) -> Result<FileId> {
        FileId::of(self.fd.as_fd())
    }

    /// The descriptor alone.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

impl AsFd for MemoryObject {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
