//! Named shared memory (`shm_open`), as the standard library of Python uses it.
//!
//! A name outlives every process until it is unlinked: who makes one sees to its removal.

use crate::memory::MemoryObject;
use crate::{Error, Result, fd};
use rustix::fs::Mode;
use rustix::shm::{self, OFlags};

/// Makes a zeroed object of `len` bytes under a name that must not exist yet, readable by its owner alone.
///
/// # Errors
/// [`Error::is_already_there`], too many open descriptors, a name with a further slash.
pub fn create(name: &str, len: u64) -> Result<MemoryObject> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
    let object = open_with("create shared memory", name, flags)?;

    object.grow_to(len).inspect_err(|_| drop(unlink(name)))?;
    Ok(object)
}

/// Opens the object that has the name.
///
/// # Errors
/// [`Error::is_not_found`], too many open descriptors.
pub fn open(name: &str) -> Result<MemoryObject> {
    open_with("open shared memory", name, OFlags::RDWR)
}

/// Removes the name; the object lives on while it is open or mapped anywhere.
///
/// # Errors
/// [`Error::is_not_found`].
pub fn unlink(name: &str) -> Result<()> {
    shm::unlink(name).map_err(|errno| Error::of("unlink shared memory")(errno).with_subject(name))
}

fn open_with(operation: &'static str, name: &str, flags: OFlags) -> Result<MemoryObject> {
    // `shm_open` adds close-on-exec itself.
    let fd = shm::open(name, flags, Mode::RUSR | Mode::WUSR)
        .map_err(|errno| Error::of(operation)(errno).with_subject(name))?;

    Ok(MemoryObject::from_fd(fd::at_least_three(fd)?))
}
