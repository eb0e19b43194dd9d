//! Named shared memory (`shm_open`), as the standard library of Python uses it.
//!
//! A name outlives every process until it is unlinked: who makes one sees to its removal.

use crate::memory::MemoryObject;
use crate::{Error, Result, fd};
use rustix::fs::{AtFlags, CWD, Mode};
use rustix::shm::{self, OFlags};
use std::os::fd::{AsFd, AsRawFd};

/// Where `shm_open` keeps its names.
const DIRECTORY: &str = "/dev/shm";

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

/// As [`create`], but shows the object to `prepare` before the name exists: what is shared memory of half a size, or
/// nobody's to clean up, never has a name. When `prepare` fails there is no name either.
///
/// # Errors
/// As [`create`], and what `prepare` says.
pub fn create_prepared<E: From<Error>>(
    name: &str,
    len: u64,
    prepare: impl FnOnce(&MemoryObject) -> std::result::Result<(), E>,
) -> std::result::Result<MemoryObject, E> {
    match create_nameless(len) {
        Ok(object) => {
            prepare(&object)?;
            give_name(&object, name)?;
            Ok(object)
        }
        // A file system that knows no nameless files: the next best order.
        Err(error) if error.is_unsupported() || error.code() == libc::EISDIR => {
            let object = create(name, len)?;
            prepare(&object).inspect_err(|_| drop(unlink(name)))?;
            Ok(object)
        }
        Err(error) => Err(error.with_subject(name).into()),
    }
}

fn create_nameless(len: u64) -> Result<MemoryObject> {
    let flags =
        rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC;
    let fd = rustix::fs::open(DIRECTORY, flags, Mode::RUSR | Mode::WUSR)
        .map_err(Error::of("create shared memory"))?;

    let object = MemoryObject::from_fd(fd::at_least_three(fd)?);
    object.grow_to(len)?;
    Ok(object)
}

/// Gives a nameless object its name, under the rules of `shm_open`.
fn give_name(object: &MemoryObject, name: &str) -> Result<()> {
    let failed = |errno| Error::of("create shared memory")(errno).with_subject(name);

    let entry = name.trim_start_matches('/');
    if matches!(entry, "" | "." | "..") || entry.contains('/') {
        return Err(failed(rustix::io::Errno::INVAL));
    }

    let object = format!("/proc/self/fd/{}", object.as_fd().as_raw_fd());
    let entry = format!("{DIRECTORY}/{entry}");
    rustix::fs::linkat(CWD, object, CWD, entry, AtFlags::SYMLINK_FOLLOW).map_err(failed)
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

#[cfg(test)]
mod tests {
    use super::{create, create_prepared, open, unlink};
    use crate::Error;

    fn name(what: &str) -> String {
        format!("procession-test-{what}-{}", std::process::id())
    }

    #[test]
    fn the_name_appears_after_the_preparation() {
        let name = name("prepared");
        let object = create_prepared(&name, 5000, |object| {
            assert_eq!(object.len().unwrap(), 5000);
            assert!(open(&name).unwrap_err().is_not_found());
            Ok::<(), Error>(())
        })
        .unwrap();

        let opened = open(&format!("/{name}")).unwrap();
        assert_eq!(opened.identity().unwrap(), object.identity().unwrap());
        assert!(create(&name, 1).unwrap_err().is_already_there());
        let again = create_prepared(&name, 1, |_| Ok::<(), Error>(()));
        assert!(again.unwrap_err().is_already_there());
        unlink(&name).unwrap();
        assert!(unlink(&name).unwrap_err().is_not_found());
    }

    #[test]
    fn a_failed_preparation_leaves_no_name() {
        let name = name("refused");
        let refused = create_prepared(&name, 1, |_| Err(Error::new("prepare", libc::EPERM)));

        assert!(refused.unwrap_err().is_denied());
        assert!(open(&name).unwrap_err().is_not_found());
    }

    #[test]
    fn names_are_single_path_entries() {
        for name in ["", "/", "a/b", "..", "/."] {
            let refused = create_prepared(name, 1, |_| Ok::<(), Error>(()));
            assert_eq!(refused.unwrap_err().code(), libc::EINVAL, "{name}");
        }
        let long = "x".repeat(256);
        let refused = create_prepared(&long, 1, |_| Ok::<(), Error>(()));
        assert_eq!(refused.unwrap_err().code(), libc::ENAMETOOLONG);
        let nul = create_prepared("a\0b", 1, |_| Ok::<(), Error>(()));
        assert_eq!(nul.unwrap_err().code(), libc::EINVAL);
    }
}
