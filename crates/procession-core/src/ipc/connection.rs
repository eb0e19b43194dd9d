//! `Connection`: messages over a byte stream (socket or pipe), in the format of Python's `multiprocessing.connection`.
//!
//! ```text
//! send_bytes: [threads: LocalLock] -> [processes: Direction] -> header + parts in one writev -> the rest as there is room
//! recv_bytes: [threads: LocalLock] -> [processes: Direction] -> 4 (or 12) bytes -> payload, never a byte beyond it
//! ```
//!
//! The stream is never read ahead, so polling the descriptor tells the truth, and a stdlib peer can be at the other end.
//! No call blocks in the kernel but to poll, so deadlines and interrupts hold everywhere.
//!
//! A receive that is given up in the middle of a message leaves what has come for the next receive. A send that is given
//! up in the middle breaks the direction: the other end cannot make sense of what would follow. Dead processes: see
//! [`super::direction`]; the other end sees the end of the stream.

use super::direction::{Direction, DirectionState, Way};
use super::frame::{Header, Incoming};
use super::local_lock::{LocalGuard, LocalLock};
use super::readiness::{self, LONGEST_SLEEP, Slept};
use crate::shm::Object;
use crate::shm::wait::Wait;
use crate::{Error, ErrorKind, Result};
use procession_sync::{Stop, Waiter};
use procession_sys::poll::{Interest, PollEntry};
use procession_sys::stream::{self, StreamKind};
use procession_sys::{fd, pipe, socket};
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// In the middle of a frame the rest is due; if it does not come, its sender may have died.
const LONGEST_IN_A_FRAME: Duration = Duration::from_millis(50);

/// What an end of a stream may be used for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Access {
    /// Receiving alone.
    Read,
    /// Sending alone.
    Write,
    /// Both.
    Both,
}

/// One end of a stream of messages. Threads may share it; a message is sent and received as a whole.
#[derive(Debug)]
pub struct Connection {
    fd: OwnedFd,
    kind: StreamKind,
    access: Access,
    reading: Direction,
    writing: Direction,
    incoming: LocalLock<Incoming>,
    outgoing: LocalLock<()>,
}

/// Why a message could not be received into a buffer.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveIntoError {
    /// The message is longer than the buffer; here it is, complete.
    #[error("receive a message into a buffer: its {} bytes do not fit; it is kept in the error", .0.len())]
    BufferTooShort(Vec<u8>),
    /// Nothing was received.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// Two connected ends. With `duplex` both can send and receive; else the first receives what the second sends.
///
/// # Errors
/// Too many open descriptors.
pub fn pipe(duplex: bool) -> Result<(Connection, Connection)> {
    if duplex {
        let (left, right) = socket::pair()?;
        Ok((
            Connection::new(left, Access::Both)?,
            Connection::new(right, Access::Both)?,
        ))
    } else {
        let (read, write) = pipe::pipe()?;
        Ok((
            Connection::new(read, Access::Read)?,
            Connection::new(write, Access::Write)?,
        ))
    }
}

/// As [`pipe()`], for ends that several processes may use: they take turns, and the death of one in the middle of a message
/// breaks the direction at both ends, with an error that names it.
///
/// # Errors
/// Too many open descriptors; the heap is over its budget; this process belongs to no family.
pub fn shared_pipe(duplex: bool) -> Result<(Connection, Connection)> {
    let direction = || Object::<DirectionState>::create(0, |_, _| {});
    let forth = direction()?;

    if duplex {
        let back = direction()?;
        let (left, right) = socket::pair()?;
        let both = Access::Both;
        Ok((
            Connection::with_directions(left, both, Some(forth.clone()), Some(back.clone()))?,
            Connection::with_directions(right, both, Some(back), Some(forth))?,
        ))
    } else {
        let (read, write) = pipe::pipe()?;
        Ok((
            Connection::with_directions(read, Access::Read, Some(forth.clone()), None)?,
            Connection::with_directions(write, Access::Write, None, Some(forth))?,
        ))
    }
}

impl Connection {
    /// The end of a stream behind a descriptor: a connected stream socket or a pipe, blocking or not.
    ///
    /// # Errors
    /// The descriptor is not open; too many open descriptors.
    pub fn new(fd: OwnedFd, access: Access) -> Result<Self> {
        Self::with_directions(fd, access, None, None)
    }

    /// As [`Connection::new`], for an end that several processes use: each direction has one state for all of them.
    ///
    /// # Errors
    /// As [`Connection::new`].
    pub fn with_directions(
        fd: OwnedFd,
        access: Access,
        reading: Option<Object<DirectionState>>,
        writing: Option<Object<DirectionState>>,
    ) -> Result<Self> {
        let fd = fd::at_least_three(fd)?;

        Ok(Self {
            kind: StreamKind::of(fd.as_fd())?,
            fd,
            access,
            reading: Direction::new(Way::Receive, reading),
            writing: Direction::new(Way::Send, writing),
            incoming: LocalLock::new(Incoming::default()),
            outgoing: LocalLock::new(()),
        })
    }

    /// What it may be used for.
    #[must_use]
    pub const fn access(&self) -> Access {
        self.access
    }

    /// The shared state of what comes in, to be passed on together with the descriptor.
    #[must_use]
    pub fn reading(&self) -> Option<&Object<DirectionState>> {
        self.reading.shared()
    }

    /// The shared state of what goes out, to be passed on together with the descriptor.
    #[must_use]
    pub fn writing(&self) -> Option<&Object<DirectionState>> {
        self.writing.shared()
    }

    /// The descriptor alone; what was received of an unfinished message is lost.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }

    /// Sends one message, the parts one after the other. Blocks while the other end takes nothing.
    ///
    /// # Errors
    /// - `WrongState`: this end only receives.
    /// - `Broken`: the other end is closed, or an earlier message was broken off.
    /// - `TimedOut`, `Interrupted`: if a part of the message is sent already, the direction is broken from now on.
    pub fn send_bytes(&self, parts: &[&[u8]], wait: &mut Wait<'_>) -> Result<()> {
        const FEW: usize = 7;

        if self.access == Access::Read {
            return Err(Error::new(
                ErrorKind::WrongState,
                "send a message: this end of the connection only receives",
            ));
        }

        let length = parts.iter().map(|part| part.len() as u64).sum();
        let header = Header::of(length);
        let _threads = self.outgoing.acquire(wait)?;

        self.writing.enter(wait)?;
        let result = if parts.len() <= FEW {
            let mut slices = [IoSlice::new(&[]); FEW + 1];
            slices[0] = IoSlice::new(header.as_bytes());
            for (slice, part) in slices[1..].iter_mut().zip(parts) {
                *slice = IoSlice::new(part);
            }
            self.send_slices(&mut slices[..=parts.len()], wait)
        } else {
            let mut slices: Vec<_> = [header.as_bytes()]
                .iter()
                .chain(parts)
                .map(|part| IoSlice::new(part))
                .collect();
            self.send_slices(&mut slices, wait)
        };
        self.writing.leave(wait);
        result
    }

    fn send_slices(&self, mut slices: &mut [IoSlice<'_>], wait: &mut Wait<'_>) -> Result<()> {
        /// What one system call takes.
        const MOST: usize = 1024;

        let mut begun = false;
        self.writing.begin_frame();

        while !slices.is_empty() {
            let most = slices.len().min(MOST);

            match stream::write_now(self.kind, self.fd.as_fd(), &slices[..most]) {
                Ok(count) => {
                    begun |= count > 0;
                    IoSlice::advance_slices(&mut slices, count);
                }
                Err(error) => self.pause(error, Way::Send, wait).inspect_err(|_| {
                    if begun {
                        self.writing.break_off();
                    } else {
                        self.writing.end_frame();
                    }
                })?,
            }
        }

        self.writing.end_frame();
        Ok(())
    }

    /// Receives one message. Blocks until it is complete.
    ///
    /// # Errors
    /// - `WrongState`: this end only sends.
    /// - `EndOfStream`: the other end is closed and all was received.
    /// - `Broken`: the other end closed in the middle of a message, or the stream has lost its place before.
    /// - `TooLarge`: the message is longer than `max`; nothing more can be received.
    /// - `Protocol`: what came is no message; nothing more can be received.
    /// - `TimedOut`, `Interrupted`, `NoMemory`: what has come of the message is kept for the next receive.
    pub fn recv_bytes(&self, max: Option<usize>, wait: &mut Wait<'_>) -> Result<Vec<u8>> {
        let mut message = Vec::new();

        self.recv_bytes_reusing(&mut message, max, wait)?;
        Ok(message)
    }

    /// As [`Connection::recv_bytes`], into a buffer whose memory is used again; it holds the message alone afterwards.
    ///
    /// # Errors
    /// As [`Connection::recv_bytes`]; the buffer is empty then.
    pub fn recv_bytes_reusing(
        &self,
        buffer: &mut Vec<u8>,
        max: Option<usize>,
        wait: &mut Wait<'_>,
    ) -> Result<()> {
        buffer.clear();

        self.receiving(wait, |incoming, wait| {
            if incoming.body.is_empty() {
                std::mem::swap(&mut incoming.body, buffer);
            }
            self.receive_header(incoming, max, wait)?;
            self.receive_body(incoming, wait)?;
            *buffer = incoming.take();
            Ok(())
        })
    }

    /// Receives one message into the front of `buffer`, and returns its length.
    ///
    /// # Errors
    /// The message is longer, then it is in the error; or as [`Connection::recv_bytes`].
    pub fn recv_bytes_into(
        &self,
        buffer: &mut [u8],
        wait: &mut Wait<'_>,
    ) -> std::result::Result<usize, ReceiveIntoError> {
        let too_long = self.receiving(wait, |incoming, wait| {
            let length = self.receive_header(incoming, None, wait)?;

            if length <= buffer.len() && incoming.body.is_empty() {
                self.receive_in_place(incoming, &mut buffer[..length], wait)?;
                incoming.take();
                return Ok(Ok(length));
            }

            self.receive_body(incoming, wait)?;
            let message = incoming.take();
            Ok(match buffer.get_mut(..length) {
                Some(front) => {
                    front.copy_from_slice(&message);
                    Ok(length)
                }
                None => Err(message),
            })
        })?;

        too_long.map_err(ReceiveIntoError::BufferTooShort)
    }

    /// Waits until there is something to receive, or the end of the stream; false if the deadline came first.
    ///
    /// # Errors
    /// `WrongState`: this end only sends. `Interrupted`.
    pub fn poll(&self, wait: &mut Wait<'_>) -> Result<bool> {
        self.check_readable()?;
        readiness::sleep(&mut [PollEntry::new(self.fd.as_fd(), Interest::READ)], wait)
    }

    /// Runs `body` as the only receiver, of all threads and processes.
    fn receiving<R>(
        &self,
        wait: &mut Wait<'_>,
        body: impl FnOnce(&mut Incoming, &mut Wait<'_>) -> Result<R>,
    ) -> Result<R> {
        self.check_readable()?;

        let mut incoming: LocalGuard<'_, Incoming> = self.incoming.acquire(wait)?;
        self.reading.enter(wait)?;
        let result = body(&mut incoming, wait);
        self.reading.leave(wait);
        result
    }

    /// Receives the header, unless an earlier call did, and returns the message's length.
    fn receive_header(
        &self,
        incoming: &mut Incoming,
        max: Option<usize>,
        wait: &mut Wait<'_>,
    ) -> Result<usize> {
        let length = loop {
            if let Some(length) = incoming.declared() {
                break length;
            }

            self.reading.begin_frame();
            match stream::read_now(self.kind, self.fd.as_fd(), incoming.header_space()) {
                Ok(0) => return Err(self.ended(incoming)),
                Ok(count) => incoming
                    .header_filled(count)
                    .inspect_err(|_| self.reading.break_off())?,
                Err(error) => {
                    if incoming.is_empty() {
                        self.reading.end_frame();
                    }
                    self.pause(error, Way::Receive, wait)?;
                }
            }
        };

        match max {
            Some(max) if length > max => {
                self.reading.break_off();
                Err(Error::new(
                    ErrorKind::TooLarge,
                    format!(
                        "receive a message: it has {length} bytes where {max} are allowed; make a new connection"
                    ),
                ))
            }
            _ => Ok(length),
        }
    }

    fn receive_body(&self, incoming: &mut Incoming, wait: &mut Wait<'_>) -> Result<()> {
        loop {
            let lacking = incoming.reserve()?;
            if lacking == 0 {
                self.reading.end_frame();
                return Ok(());
            }

            match stream::read_append_now(self.kind, self.fd.as_fd(), &mut incoming.body, lacking) {
                Ok(0) => return Err(self.ended(incoming)),
                Ok(_) => {}
                Err(error) => self.pause(error, Way::Receive, wait)?,
            }
        }
    }

    /// Fills the whole buffer; what has come stays in `incoming` if that fails.
    fn receive_in_place(
        &self,
        incoming: &mut Incoming,
        buffer: &mut [u8],
        wait: &mut Wait<'_>,
    ) -> Result<()> {
        let mut received = 0;

        while received < buffer.len() {
            let failed = match stream::read_now(self.kind, self.fd.as_fd(), &mut buffer[received..])
            {
                Ok(0) => self.ended(incoming),
                Ok(count) => {
                    received += count;
                    continue;
                }
                Err(error) => match self.pause(error, Way::Receive, wait) {
                    Ok(()) => continue,
                    Err(error) => error,
                },
            };

            incoming.body.extend_from_slice(&buffer[..received]);
            return Err(failed);
        }

        self.reading.end_frame();
        Ok(())
    }

    /// Nothing could be moved: waits until something can, or says why nothing ever will.
    fn pause(&self, error: procession_sys::Error, way: Way, wait: &mut Wait<'_>) -> Result<()> {
        if error.is_interrupted() {
            return wait.check_interrupt().map_err(Error::from);
        }
        if error.is_broken_pipe() {
            return Err(Error::caused(
                ErrorKind::Broken,
                "use a connection: the other end is closed",
                error,
            ));
        }
        if !error.is_again() {
            return Err(error.into());
        }

        if wait.spin() {
            return Ok(());
        }
        wait.about_to_sleep();

        let (direction, interest) = match way {
            Way::Send => (&self.writing, Interest::WRITE),
            Way::Receive => (&self.reading, Interest::READ),
        };
        if let Err(broken) = direction.check_other_end(wait) {
            // What was sent before still counts.
            return if readiness::is_ready(self.fd.as_fd(), interest) {
                Ok(())
            } else {
                Err(broken)
            };
        }

        let longest = if direction.is_inside() {
            LONGEST_IN_A_FRAME
        } else {
            LONGEST_SLEEP
        };
        match readiness::nap(
            &mut [PollEntry::new(self.fd.as_fd(), interest)],
            longest,
            wait,
        )? {
            Slept::Ready | Slept::LookAgain => Ok(()),
            Slept::TimedOut => Err(Stop::TimedOut.into()),
        }
    }

    /// The other end is closed: between two messages, or too early.
    #[cold]
    fn ended(&self, incoming: &Incoming) -> Error {
        if incoming.is_empty() {
            self.reading.end_frame();
            return Error::new(
                ErrorKind::EndOfStream,
                "receive a message: the other end is closed",
            );
        }

        self.reading.break_off();
        Error::new(
            ErrorKind::Broken,
            "receive a message: the other end closed in the middle of one",
        )
    }

    fn check_readable(&self) -> Result<()> {
        if self.access == Access::Write {
            return Err(Error::new(
                ErrorKind::WrongState,
                "receive a message: this end of the connection only sends",
            ));
        }
        Ok(())
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
