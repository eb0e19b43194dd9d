//! Non-blocking transfers on Linux: `MSG_DONTWAIT` for sockets, `RWF_NOWAIT` for the rest; where the kernel cannot do
//! that for pipes (before 6.4), a poll before a transfer that is small enough not to block.

#![expect(
    unsafe_code,
    reason = "the kernel fills memory that is not initialised"
)]

use crate::poll::{Interest, PollEntry, PollOutcome, poll};
use crate::{Error, Result};
use rustix::fs::FileType;
use rustix::io::{Errno, ReadWriteFlags};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const READ: &str = "read from a stream";
const WRITE: &str = "write to a stream";

/// A pipe that polls as writable takes this much at once.
const PIPE_BUF: usize = 4096;

/// `pread` and `pwrite` at this offset mean the current position.
const HERE: u64 = u64::MAX;

/// Cleared when the kernel refuses `RWF_NOWAIT` for a pipe.
static NOWAIT: AtomicBool = AtomicBool::new(true);

/// Which calls a stream understands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StreamKind {
    /// A socket.
    Socket,
    /// A pipe, a terminal, a file.
    Other,
}

impl StreamKind {
    /// The kind of an open file.
    ///
    /// # Errors
    /// The descriptor is not open.
    pub fn of(fd: BorrowedFd<'_>) -> Result<Self> {
        let stat = rustix::fs::fstat(fd).map_err(Error::of("examine a stream"))?;

        Ok(match FileType::from_raw_mode(stat.st_mode) {
            FileType::Socket => Self::Socket,
            _ => Self::Other,
        })
    }
}

/// Reads what there is, at most the buffer's length; 0 at the end.
///
/// # Errors
/// [`Error::is_again`] if there is nothing yet, [`Error::is_interrupted`], [`Error::is_broken_pipe`] when the peer reset it.
#[inline]
pub fn read_now(kind: StreamKind, fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize> {
    match kind {
        StreamKind::Socket => rustix::net::recv(fd, buffer, RecvFlags::DONTWAIT)
            .map(|(count, _)| count)
            .map_err(Error::of(READ)),
        StreamKind::Other => read_other(fd, buffer),
    }
}

/// As [`read_now`], at most `most` bytes, appended to the buffer's spare capacity (no more than it has: reserve first).
///
/// # Errors
/// As [`read_now`].
pub fn read_append_now(
    kind: StreamKind,
    fd: BorrowedFd<'_>,
    buffer: &mut Vec<u8>,
    most: usize,
) -> Result<usize> {
    let len = buffer.len();
    let spare = buffer.spare_capacity_mut();
    let most = most.min(spare.len());
    let room = &mut spare[..most];

    let count = match kind {
        StreamKind::Socket => rustix::net::recv(fd, room, RecvFlags::DONTWAIT)
            .map(|(_, count)| count.min(most))
            .map_err(Error::of(READ))?,
        StreamKind::Other => {
            look(fd, Interest::READ, READ)?;
            rustix::io::read(fd, room)
                .map(|(filled, _)| filled.len())
                .map_err(Error::of(READ))?
        }
    };

    // SAFETY: the kernel has filled that many bytes behind the old end.
    unsafe { buffer.set_len(len + count) };
    Ok(count)
}

/// Writes as much of the parts as there is room for.
///
/// # Errors
/// [`Error::is_again`] if there is no room, [`Error::is_interrupted`], [`Error::is_broken_pipe`] if nobody reads.
#[inline]
pub fn write_now(kind: StreamKind, fd: BorrowedFd<'_>, parts: &[IoSlice<'_>]) -> Result<usize> {
    const FLAGS: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

    match (kind, parts) {
        (StreamKind::Socket, [part]) => {
            rustix::net::send(fd, part, FLAGS).map_err(Error::of(WRITE))
        }
        (StreamKind::Socket, _) => {
            rustix::net::sendmsg(fd, parts, &mut SendAncillaryBuffer::default(), FLAGS)
                .map_err(Error::of(WRITE))
        }
        (StreamKind::Other, _) => write_other(fd, parts),
    }
}

fn read_other(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize> {
    if NOWAIT.load(Ordering::Relaxed) {
        let mut parts = [IoSliceMut::new(buffer)];
        match rustix::io::preadv2(fd, &mut parts, HERE, ReadWriteFlags::NOWAIT) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => NOWAIT.store(false, Ordering::Relaxed),
            result => return result.map_err(Error::of(READ)),
        }
    }

    look(fd, Interest::READ, READ)?;
    rustix::io::read(fd, buffer).map_err(Error::of(READ))
}

fn write_other(fd: BorrowedFd<'_>, parts: &[IoSlice<'_>]) -> Result<usize> {
    if NOWAIT.load(Ordering::Relaxed) {
        match rustix::io::pwritev2(fd, parts, HERE, ReadWriteFlags::NOWAIT) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => NOWAIT.store(false, Ordering::Relaxed),
            result => return result.map_err(Error::of(WRITE)),
        }
    }

    let Some(part) = parts.iter().find(|part| !part.is_empty()) else {
        return Ok(0);
    };
    look(fd, Interest::WRITE, WRITE)?;
    rustix::io::write(fd, &part[..part.len().min(PIPE_BUF)]).map_err(Error::of(WRITE))
}

/// Is it ready now?
fn look(fd: BorrowedFd<'_>, interest: Interest, operation: &'static str) -> Result<()> {
    match poll(&mut [PollEntry::new(fd, interest)], Some(Duration::ZERO))? {
        PollOutcome::Ready(_) => Ok(()),
        PollOutcome::TimedOut => Err(Error::new(operation, libc::EAGAIN)),
        PollOutcome::Interrupted => Err(Error::new(operation, libc::EINTR)),
    }
}

#[cfg(test)]
mod tests {
    use super::{NOWAIT, StreamKind, read_now, write_now};
    use std::io::IoSlice;
    use std::os::fd::AsFd;
    use std::sync::atomic::Ordering;

    fn never_blocks(read: impl AsFd, write: impl AsFd) {
        let (read, write) = (read.as_fd(), write.as_fd());
        let (from, to) = (
            StreamKind::of(read).unwrap(),
            StreamKind::of(write).unwrap(),
        );
        let mut buffer = [0; 1 << 16];

        assert!(read_now(from, read, &mut buffer).unwrap_err().is_again());

        let parts = [IoSlice::new(&[1; 3000]), IoSlice::new(&[2; 3000])];
        let mut written = 0;
        let full = loop {
            match write_now(to, write, &parts) {
                Ok(count) => written += count,
                Err(error) => break error,
            }
        };
        assert!(full.is_again(), "{full}");

        let mut received = 0;
        while received < written {
            received += read_now(from, read, &mut buffer).unwrap();
        }
        assert!(read_now(from, read, &mut buffer).unwrap_err().is_again());
    }

    #[test]
    fn transfers_what_there_is_and_never_blocks() {
        let (left, right) = crate::socket::pair().unwrap();
        never_blocks(left, right);

        let (read, write) = crate::pipe::pipe().unwrap();
        never_blocks(&read, &write);
        NOWAIT.store(false, Ordering::Relaxed);
        never_blocks(&read, &write);
        NOWAIT.store(true, Ordering::Relaxed);

        drop(write);
        assert_eq!(
            read_now(StreamKind::Other, read.as_fd(), &mut [0; 8]),
            Ok(0)
        );
    }
}
