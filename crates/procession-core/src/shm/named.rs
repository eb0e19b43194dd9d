//! Named shared memory in the format of Python's `multiprocessing.shared_memory`: an object of plain bytes that any
//! process of this user can attach to by its name, whichever family or language it belongs to.
//!
//! Used by the faces' `SharedMemory`. Attaching never unlinks, and nothing here unlinks by itself.
//!
//! A name outlives its processes, so somebody must remove what a killed creator leaves. Whoever does that for the
//! family attaches itself with [`watch`]: it hears of an object before the object has its name, and of each name's
//! end. A process may therefore die anywhere in here: either the name does not exist, or the watcher knows it together
//! with the object's identity, and [`remove_leftover`] takes away that object and no later one of the same name.
//!
//! The bytes belong to everyone who has attached: they are copied in and out through raw pointers, nothing is ever
//! borrowed, and a copy that races with another process's write may see parts of both.

#![expect(unsafe_code, reason = "copies bytes out of and into mapped memory")]

use crate::error::{Error, ErrorKind, Result};
use procession_sys::memory::{FileId, Mapping, MemoryObject, named};
use std::fmt::Write as _;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::OnceLock;

/// What generated names begin with, as the standard library's.
const PREFIX: &str = "psm_";

/// Who is told about names that begin and end to exist.
#[derive(Clone, Copy, Debug)]
pub struct Watcher {
    /// The name is about to be given to the object. An error prevents it.
    pub created: fn(name: &str, object: FileId) -> Result<()>,
    /// The object no longer has the name, or did not get it.
    pub unlinked: fn(name: &str, object: FileId),
}

static WATCHER: OnceLock<Watcher> = OnceLock::new();

/// Attaches the watcher of this process, once for its life; names made before are not told.
///
/// # Errors
/// The process has a watcher already.
pub fn watch(watcher: Watcher) -> Result<()> {
    WATCHER.set(watcher).map_err(|_| {
        Error::new(
            ErrorKind::WrongState,
            "watch the names of shared memory: somebody watches them already",
        )
    })
}

fn created(name: &str, object: FileId) -> Result<()> {
    WATCHER
        .get()
        .map_or(Ok(()), |watcher| (watcher.created)(name, object))
}

fn unlinked(name: &str, object: FileId) {
    if let Some(watcher) = WATCHER.get() {
        (watcher.unlinked)(name, object);
    }
}

/// A named object, mapped into this process; unmapped when dropped, its name stays.
#[derive(Debug)]
pub struct NamedMemory {
    name: Box<str>,
    object: FileId,
    mapping: Mapping,
}

impl NamedMemory {
    /// Makes a zeroed object of `len` bytes, accessible to this user alone, with memory reserved for all of it.
    /// Without a name it gets a fresh one, `psm_` and eight hexadecimal digits.
    ///
    /// # Errors
    /// The name exists already or contains a further `/`; the length is zero; there is no room for it.
    pub fn create(name: Option<&str>, len: usize) -> Result<Self> {
        if len == 0 {
            return Err(Error::new(
                ErrorKind::Invalid,
                "create shared memory of 0 bytes: the size must be at least 1",
            ));
        }
        let Some(name) = name else {
            return Self::create_fresh(len);
        };
        Self::create_named(name, len)
    }

    fn create_fresh(len: usize) -> Result<Self> {
        loop {
            let mut name = String::from(PREFIX);
            for byte in procession_sys::random::bytes::<4>()? {
                // Writing to a string cannot fail.
                let _ = write!(name, "{byte:02x}");
            }
            match Self::create_named(&name, len) {
                Err(error)
                    if error
                        .os()
                        .is_some_and(procession_sys::Error::is_already_there) => {}
                other => return other,
            }
        }
    }

    fn create_named(name: &str, len: usize) -> Result<Self> {
        let mut announced = None;
        let mut mapped = None;
        let entry = entry(name);

        let result = named::create_prepared(name, len as u64, |object| {
            reserve(object, len).map_err(|error| with_room(error, name, len))?;
            mapped = Some(Mapping::map_shared(object.as_fd(), 0, len)?);
            let identity = object.identity()?;
            announced = Some(identity);
            created(entry, identity)
        });

        match (result, mapped, announced) {
            (Ok(_), Some(mapping), Some(object)) => Ok(Self {
                name: name.into(),
                object,
                mapping,
            }),
            (result, _, announced) => {
                if let Some(object) = announced {
                    unlinked(entry, object);
                }
                Err(result.err().unwrap_or_else(|| {
                    Error::new(ErrorKind::WrongState, "create shared memory: not prepared")
                }))
            }
        }
    }

    /// Maps the object that has the name, all of it. Whoever made it keeps the duty to unlink it.
    ///
    /// # Errors
    /// No object has the name; its maker has not given it a size yet; no address space.
    pub fn attach(name: &str) -> Result<Self> {
        let object = named::open(name)?;
        let len = usize::try_from(object.len()?).unwrap_or(usize::MAX);
        if len == 0 {
            return Err(Error::new(
                ErrorKind::WrongState,
                format!("attach to shared memory {name}: its maker has not given it a size yet"),
            ));
        }

        Ok(Self {
            name: name.into(),
            object: object.identity()?,
            mapping: Mapping::map_shared(object.as_fd(), 0, len)?,
        })
    }

    /// The name, as it was given or generated.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The size in bytes, as it was at the time of mapping.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.mapping.len()
    }

    /// Never true: an object without bytes cannot be made or attached to.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// The first byte, valid for [`NamedMemory::len`] bytes while this value lives. Others may write there any time.
    #[must_use]
    pub const fn base(&self) -> NonNull<u8> {
        self.mapping.base()
    }

    /// Copies bytes out, from `offset` on.
    ///
    /// # Errors
    /// The range ends beyond the object.
    pub fn read(&self, offset: usize, into: &mut [u8]) -> Result<()> {
        let source = self.range(offset, into.len())?;
        // SAFETY: `range` has checked the mapped bytes, and this process's `into` does not lie among them: no
        // reference into the mapping ever exists.
        unsafe { std::ptr::copy_nonoverlapping(source, into.as_mut_ptr(), into.len()) }
        Ok(())
    }

    /// Copies bytes in, from `offset` on.
    ///
    /// # Errors
    /// The range ends beyond the object.
    pub fn write(&self, offset: usize, from: &[u8]) -> Result<()> {
        let target = self.range(offset, from.len())?;
        // SAFETY: as in `read`, with the directions changed.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), target, from.len()) }
        Ok(())
    }

    fn range(&self, offset: usize, len: usize) -> Result<*mut u8> {
        match offset.checked_add(len) {
            Some(end) if end <= self.len() => {
                // SAFETY: `offset` lies within the mapping or at its end.
                Ok(unsafe { self.base().as_ptr().add(offset) })
            }
            _ => Err(Error::new(
                ErrorKind::Invalid,
                format!(
                    "access {len} bytes at {offset} of shared memory {}: it has {} bytes",
                    self.name,
                    self.len()
                ),
            )),
        }
    }

    /// Takes the object's name away, everywhere. Whoever has attached keeps the bytes.
    ///
    /// # Errors
    /// The object does not have the name any more: it was unlinked, and maybe another has the name now.
    pub fn unlink(&self) -> Result<()> {
        if !has_name(&self.name, self.object)? {
            return Err(Error::new(
                ErrorKind::StaleHandle,
                format!(
                    "unlink shared memory {}: another object has the name now",
                    self.name
                ),
            ));
        }

        named::unlink(&self.name)?;
        unlinked(entry(&self.name), self.object);
        Ok(())
    }
}

/// For the watcher: takes the name away if that object still has it. Returns whether it did.
///
/// # Errors
/// The operating system refuses.
pub fn remove_leftover(name: &str, object: FileId) -> Result<bool> {
    match has_name(name, object) {
        Ok(true) => {}
        Ok(false) => return Ok(false),
        Err(error) if error.os().is_some_and(procession_sys::Error::is_not_found) => {
            return Ok(false);
        }
        Err(error) => return Err(error),
    }
    named::unlink(name)?;
    Ok(true)
}

fn has_name(name: &str, object: FileId) -> Result<bool> {
    Ok(named::open(name)?.identity()? == object)
}

/// The one spelling of a name for those who compare names: `shm_open` ignores leading slashes.
fn entry(name: &str) -> &str {
    name.trim_start_matches('/')
}

/// Reserves all memory at once: touching a page for which there is no room would be a SIGBUS later on.
fn reserve(object: &MemoryObject, len: usize) -> procession_sys::Result<()> {
    loop {
        match object.reserve(0, len as u64) {
            Err(error) if error.is_interrupted() => {}
            // Sparse memory is what a file system without reservation has to offer.
            Err(error) if error.is_unsupported() => return Ok(()),
            other => return other,
        }
    }
}

fn with_room(error: procession_sys::Error, name: &str, len: usize) -> Error {
    if !error.is_no_memory() {
        return error.with_subject(name).into();
    }
    Error::caused(
        ErrorKind::NoMemory,
        format!(
            "create shared memory {name} of {len} bytes: there is no room for it; enlarge /dev/shm, or use an Array \
             or a Value, which do not live there"
        ),
        error,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// What the watcher heard, of the one process that all tests of this file share.
    static HEARD: Mutex<Vec<(bool, String, FileId)>> = Mutex::new(Vec::new());

    fn watched() {
        // Whichever test comes first attaches it.
        let _ = watch(Watcher {
            created: |name, object| {
                if name.ends_with("-refused") {
                    return Err(Error::new(ErrorKind::Invalid, "refused"));
                }
                assert!(
                    named::open(name).is_err_and(|error| error.is_not_found())
                        || name.ends_with("-taken")
                );
                HEARD.lock().unwrap().push((true, name.to_owned(), object));
                Ok(())
            },
            unlinked: |name, object| HEARD.lock().unwrap().push((false, name.to_owned(), object)),
        });
    }

    fn heard(name: &str) -> Vec<bool> {
        let heard = HEARD.lock().unwrap();
        heard
            .iter()
            .filter(|(_, of, _)| of == name)
            .map(|(is_new, ..)| *is_new)
            .collect()
    }

    fn unique(what: &str) -> String {
        format!("procession-core-{}-{what}", std::process::id())
    }

    #[test]
    fn bytes_are_shared_by_name() {
        watched();
        let made = NamedMemory::create(None, 100).unwrap();
        let digits = made.name().strip_prefix("psm_").unwrap();
        assert!(digits.len() == 8 && digits.bytes().all(|b| b.is_ascii_hexdigit()));
        assert_eq!(made.len(), 100);

        let attached = NamedMemory::attach(made.name()).unwrap();
        made.write(90, b"0123456789").unwrap();
        let mut bytes = [0; 10];
        attached.read(90, &mut bytes).unwrap();
        assert_eq!(&bytes, b"0123456789");
        assert_eq!(
            attached.read(91, &mut bytes).unwrap_err().kind(),
            ErrorKind::Invalid
        );
        assert_eq!(
            made.write(usize::MAX, b"x").unwrap_err().kind(),
            ErrorKind::Invalid
        );

        let name = made.name().to_owned();
        drop(made);
        drop(NamedMemory::attach(&name).unwrap());
        attached.unlink().unwrap();
        assert!(attached.unlink().unwrap_err().os().unwrap().is_not_found());
        assert_eq!(heard(&name), [true, false]);
        attached.read(90, &mut bytes).unwrap();
        assert_eq!(&bytes, b"0123456789");
    }

    #[test]
    fn a_name_is_taken_once_and_may_begin_with_slashes() {
        watched();
        let name = unique("taken");
        let made = NamedMemory::create(Some(&format!("/{name}")), 1).unwrap();
        assert_eq!(made.name(), format!("/{name}"));
        let again = NamedMemory::create(Some(&name), 1).unwrap_err();
        assert!(again.os().unwrap().is_already_there());
        assert_eq!(heard(&name), [true, true, false]);

        made.unlink().unwrap();
        let another = NamedMemory::create(Some(&name), 1).unwrap();
        assert_eq!(made.unlink().unwrap_err().kind(), ErrorKind::StaleHandle);
        assert!(!remove_leftover(&name, made.object).unwrap());
        assert!(remove_leftover(&name, another.object).unwrap());
        assert!(!remove_leftover(&name, another.object).unwrap());
    }

    #[test]
    fn what_cannot_be_made_leaves_no_name() {
        watched();
        assert_eq!(
            NamedMemory::create(None, 0).unwrap_err().kind(),
            ErrorKind::Invalid
        );
        let name = unique("refused");
        assert!(NamedMemory::create(Some(&name), 1).is_err());
        assert!(
            NamedMemory::attach(&name)
                .unwrap_err()
                .os()
                .unwrap()
                .is_not_found()
        );

        let name = unique("huge");
        let huge = NamedMemory::create(Some(&name), 1 << 50).unwrap_err();
        assert_eq!(huge.kind(), ErrorKind::NoMemory, "{huge}");
        assert!(NamedMemory::attach(&name).is_err());
    }
}
