//! Which file a descriptor refers to, and whether a process has it mapped.
//!
//! Used before mapping more of an object (a user may have closed and reused the descriptor's number) and to find out
//! whether a pid still belongs to a process that uses the object: exec keeps the pid and drops the mapping.

use crate::{Error, Result};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::BorrowedFd;

/// What a file is, whatever its name or descriptor.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct FileId {
    /// The device that holds it.
    pub device: u64,
    /// Its number on the device.
    pub inode: u64,
}

impl FileId {
    /// The identity of an open file.
    ///
    /// # Errors
    /// The descriptor is not open.
    pub fn of(fd: BorrowedFd<'_>) -> Result<Self> {
        let stat = rustix::fs::fstat(fd).map_err(Error::of("identify an open file"))?;

        Ok(Self {
            device: stat.st_dev,
            inode: stat.st_ino,
        })
    }
}

/// Does process `pid` have the file mapped? `None` if that cannot be seen (no such process, or not allowed).
#[must_use]
pub fn mapped_file(pid: u32, file: FileId) -> Option<bool> {
    let mut maps = BufReader::new(File::open(format!("/proc/{pid}/maps")).ok()?);
    let mut line = Vec::new();

    loop {
        line.clear();
        if maps.read_until(b'\n', &mut line).ok()? == 0 {
            return Some(false);
        }
        if mapped_by(&line) == Some(file) {
            return Some(true);
        }
    }
}

/// The file that a line such as `7f00-7f01 rw-s 00000000 00:01 1025  /memfd:x (deleted)` names.
fn mapped_by(line: &[u8]) -> Option<FileId> {
    let mut fields = line
        .split(|byte| *byte == b' ')
        .filter(|field| !field.is_empty());
    let device = str::from_utf8(fields.nth(3)?).ok()?;
    let (major, minor) = device.split_once(':')?;
    let inode = str::from_utf8(fields.next()?.trim_ascii()).ok()?;

    Some(FileId {
        device: rustix::fs::makedev(
            u32::from_str_radix(major, 16).ok()?,
            u32::from_str_radix(minor, 16).ok()?,
        ),
        inode: inode.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::{FileId, mapped_by, mapped_file};
    use crate::memory::{Mapping, MemoryObject};
    use std::os::fd::AsFd;

    #[test]
    fn reads_a_line_of_the_map() {
        let line = b"7ff1c0000000-7ff1c0001000 rw-s 00000000 00:01 1025     /memfd:x (deleted)\n";
        assert_eq!(
            mapped_by(line),
            Some(FileId {
                device: 1,
                inode: 1025
            })
        );
        assert_eq!(
            mapped_by(b"00-01 rw-p 00 00:00 0\n"),
            Some(FileId {
                device: 0,
                inode: 0
            })
        );
        assert_eq!(mapped_by(b"nonsense\n"), None);
    }

    #[test]
    fn sees_a_mapping_come_and_go() {
        let object = MemoryObject::create(c"identity").unwrap();
        object.grow_to(4096).unwrap();
        let file = object.identity().unwrap();

        assert_eq!(mapped_file(std::process::id(), file), Some(false));
        let mapping = Mapping::map_shared(object.as_fd(), 0, 4096).unwrap();
        assert_eq!(mapped_file(std::process::id(), file), Some(true));
        drop(mapping);
        assert_eq!(mapped_file(std::process::id(), file), Some(false));
        assert_eq!(mapped_file(0x3fff_ffff, file), None);
    }
}
