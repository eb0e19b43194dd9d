//! The main executable as it is loaded: where its code lies, and which build it is.
//!
//! A task's position inside the executable means the same function in another process only if both run the same
//! build; the link editor's build id says so, the file's identity where there is none.

#![expect(unsafe_code, reason = "program headers are read from memory")]

use crate::{Error, Result};
use std::ffi::{c_int, c_void};
use std::fmt;
use std::ops::Range;

/// Where the main executable lies in memory.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ImageRange {
    /// What its addresses are relative to.
    pub base: usize,
    /// The ranges that hold code.
    pub text: Vec<Range<usize>>,
}

impl ImageRange {
    /// Is the address code of the main executable?
    #[must_use]
    pub fn contains(&self, address: usize) -> bool {
        self.text.iter().any(|range| range.contains(&address))
    }
}

/// Which build of a program this is. Equal in all processes that run the same executable.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct BuildId([u8; Self::LEN]);

impl BuildId {
    /// The length of [`BuildId::to_bytes`].
    pub const LEN: usize = 40;

    const NOTE: u8 = 1;
    const FILE: u8 = 2;

    /// The id as bytes, to be compared elsewhere.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; Self::LEN] {
        self.0
    }

    /// The id from its bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    /// A kind, a length, and the id's first 38 bytes (the usual id has 20).
    fn new(kind: u8, id: &[u8]) -> Self {
        let len = id.len().min(Self::LEN - 2);
        let mut bytes = [0; Self::LEN];

        bytes[0] = kind;
        bytes[1] = len as u8;
        bytes[2..2 + len].copy_from_slice(&id[..len]);
        Self(bytes)
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0[0] == Self::NOTE {
            "build "
        } else {
            "file "
        })?;
        self.0[2..2 + usize::from(self.0[1]).min(Self::LEN - 2)]
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BuildId({self})")
    }
}

/// Where the main executable's code lies.
#[must_use]
pub fn main_executable() -> ImageRange {
    headers().image
}

/// Which build the main executable is.
///
/// # Errors
/// It has no build id and `/proc/self/exe` cannot be examined.
pub fn executable_identity() -> Result<BuildId> {
    if let Some(id) = headers().build_id {
        return Ok(BuildId::new(BuildId::NOTE, &id));
    }

    let stat = rustix::fs::stat("/proc/self/exe")
        .map_err(|errno| Error::of("identify")(errno).with_subject("/proc/self/exe"))?;
    let mut id = Vec::with_capacity(BuildId::LEN);
    id.extend(stat.st_dev.to_ne_bytes());
    id.extend(stat.st_ino.to_ne_bytes());
    id.extend(stat.st_size.to_ne_bytes());
    id.extend(stat.st_mtime.to_ne_bytes());
    id.extend((stat.st_mtime_nsec as u32).to_ne_bytes());
    Ok(BuildId::new(BuildId::FILE, &id))
}

#[derive(Default)]
struct Headers {
    image: ImageRange,
    build_id: Option<Vec<u8>>,
}

fn headers() -> Headers {
    let mut headers = Headers::default();

    // SAFETY: the callback is given a valid `info` and the pointer passed here, during the call only.
    unsafe { libc::dl_iterate_phdr(Some(first_object), (&raw mut headers).cast()) };
    headers
}

/// The main executable comes first; returning non-zero ends the iteration.
unsafe extern "C" fn first_object(
    info: *mut libc::dl_phdr_info,
    _size: usize,
    data: *mut c_void,
) -> c_int {
    // SAFETY: the loader passes a valid description.
    let info = unsafe { &*info };
    // SAFETY: `headers` passed a pointer to its local value, which nobody else uses now.
    let headers = unsafe { &mut *data.cast::<Headers>() };
    // SAFETY: the loader's table has that many entries.
    let table = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
    let base = info.dlpi_addr as usize;

    headers.image.base = base;
    for header in table {
        let start = base.wrapping_add(header.p_vaddr as usize);
        let len = header.p_memsz as usize;

        if header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_X != 0 {
            headers.image.text.push(start..start.wrapping_add(len));
        } else if header.p_type == libc::PT_NOTE && headers.build_id.is_none() {
            // SAFETY: a note segment is part of a loaded, readable segment of the executable.
            let notes = unsafe { std::slice::from_raw_parts(start as *const u8, len) };
            headers.build_id = build_id(notes);
        }
    }
    1
}

/// Finds the note `GNU` / `NT_GNU_BUILD_ID` among notes: each is three words (the name's length, the contents' length,
/// the type), the name and the contents, both padded to 4 bytes.
fn build_id(mut notes: &[u8]) -> Option<Vec<u8>> {
    const BUILD_ID: u32 = 3;

    while let Some((header, rest)) = notes.split_at_checked(12) {
        let word = |at: usize| header[at..at + 4].try_into().map_or(0, u32::from_ne_bytes);
        let (name_len, id_len) = (word(0) as usize, word(4) as usize);
        let (name, rest) = rest.split_at_checked(name_len.next_multiple_of(4))?;
        let id = rest.get(..id_len)?;

        if word(8) == BUILD_ID && name.starts_with(b"GNU\0") && !id.is_empty() {
            return Some(id.to_vec());
        }
        notes = rest.get(id_len.next_multiple_of(4)..)?;
    }

    None
}

#[cfg(test)]
mod tests {
    use super::{build_id, executable_identity, main_executable};

    #[test]
    fn finds_the_build_id_behind_other_notes() {
        let mut notes = Vec::new();
        for (kind, id) in [(1_u32, &b"other"[..]), (3, b"0123456789")] {
            notes.extend(4_u32.to_ne_bytes());
            notes.extend((id.len() as u32).to_ne_bytes());
            notes.extend(kind.to_ne_bytes());
            notes.extend(b"GNU\0");
            notes.extend(id);
            notes.resize(notes.len().next_multiple_of(4), 0);
        }

        assert_eq!(build_id(&notes), Some(b"0123456789".to_vec()));
        assert_eq!(build_id(&notes[..notes.len() - 4]), None);
        assert_eq!(build_id(&[0xff; 16]), None);
        assert_eq!(build_id(&[]), None);
    }

    #[test]
    fn the_main_executable_holds_this_function_and_no_library_function() {
        let image = main_executable();
        assert!(image.contains(main_executable as fn() -> _ as usize));
        assert!(!image.contains(libc::getpid as unsafe extern "C" fn() -> _ as usize));
        assert_eq!(
            executable_identity().unwrap(),
            executable_identity().unwrap()
        );
    }
}
