//! [`pipe`], [`channel`] and their ends.

use std::fmt;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use procession_core as core;
use procession_core::ipc::{self as engine, Access};
use procession_core::shm::{Wait, handles};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::codec;
use crate::error::{ErrorKind, Result};
use crate::handle;
use crate::queue::with_buffer;
use crate::sync::in_time;

/// One end of a [`pipe`]: sends `S` and receives `R`.
///
/// It is a handle: clone it, pass it to processes and tasks, send it through a
/// queue. All clones are the same end, and take turns; a message is sent and
/// received as a whole. The end is closed when its last handle is gone, in all
/// processes: then the other end receives what was sent, and after it
/// [`ErrorKind::EndOfFile`].
///
/// If a process is killed in the middle of a message, the connection is broken
/// for both ends, with an error that names the process
/// ([`ErrorKind::Broken`]): nobody can tell where the next message begins.
///
/// What is sent over a connection has left the program's shared memory, so it
/// cannot contain handles (queues, locks, other connections): send those
/// through a [`Queue`](crate::Queue).
///
/// # Examples
///
/// ```
/// use procession::{Connection, Process, pipe};
///
/// fn shout(end: Connection<String>) -> procession::Result<()> {
///     for text in end.iter() {
///         end.send(&text?.to_uppercase())?;
///     }
///     Ok(())
/// }
///
/// # fn main() -> procession::Result<()> {
/// procession::init();
/// let (here, there) = pipe::<String>()?;
/// let child = Process::new(shout).args((there,)).start()?;
/// here.send(&"hello".to_string())?;
/// assert_eq!(here.recv()?, "HELLO");
/// drop(here);
/// child.join()?;
/// # Ok(())
/// # }
/// ```
pub struct Connection<S, R = S> {
    end: End,
    values: PhantomData<fn(S) -> R>,
}

/// The end of a [`channel`] that sends.
///
/// It is a handle as [`Connection`] is, and says what that says.
pub struct Sender<T> {
    end: End,
    values: PhantomData<fn(T)>,
}

/// The end of a [`channel`] that receives.
///
/// It is a handle as [`Connection`] is, and says what that says.
pub struct Receiver<T> {
    end: End,
    values: PhantomData<fn() -> T>,
}

/// Two connected ends, both of which send and receive values of one type.
///
/// # Errors
///
/// Too many open descriptors; shared memory is exhausted.
pub fn pipe<T>() -> Result<(Connection<T>, Connection<T>)> {
    duplex()
}

/// Two connected ends that send different types: a [`pipe`] for questions and
/// answers.
///
/// # Errors
///
/// As for [`pipe`].
pub fn duplex<A, B>() -> Result<(Connection<A, B>, Connection<B, A>)> {
    let (left, right) = engine::shared_pipe(true)?;
    Ok((
        Connection::of(End::new(left)),
        Connection::of(End::new(right)),
    ))
}

/// Two connected ends, of which the first sends and the second receives.
///
/// ```
/// use procession::{Process, Sender, channel};
///
/// fn count(numbers: Sender<u32>) -> procession::Result<()> {
///     (0..3).try_for_each(|number| numbers.send(&number))
/// }
///
/// # fn main() -> procession::Result<()> {
/// procession::init();
/// let (sender, receiver) = channel()?;
/// let child = Process::new(count).args((sender,)).start()?;
/// let numbers = receiver.iter().collect::<procession::Result<Vec<u32>>>()?;
/// assert_eq!(numbers, [0, 1, 2]);
/// child.join()?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// As for [`pipe`].
pub fn channel<T>() -> Result<(Sender<T>, Receiver<T>)> {
    let (read, write) = engine::shared_pipe(false)?;
    Ok((Sender::of(End::new(write)), Receiver::of(End::new(read))))
}

/// Methods of ends that send `$value`.
macro_rules! sends {
    ($value:ident) => {
        /// Sends a value; blocks while the other end takes nothing and the
        /// system's buffer is full.
        ///
        /// # Errors
        ///
        /// The value cannot be encoded, or contains a handle
        /// ([`ErrorKind::Encode`]); [`ErrorKind::Broken`] if the other end is
        /// closed or a process was killed in the middle of a message.
        pub fn send(&self, value: &$value) -> Result<()>
        where
            $value: Serialize + 'static,
        {
            self.end.send(value)
        }

        /// Sends bytes as they are; the other end uses `recv_bytes`, or is
        /// another program that speaks Python's format of connections.
        ///
        /// # Errors
        ///
        /// As for [`send`](Self::send).
        pub fn send_bytes(&self, bytes: &[u8]) -> Result<()> {
            self.end.send_bytes(bytes)
        }
    };
}

/// Methods of ends that receive `$value`.
macro_rules! receives {
    ($value:ident) => {
        /// Receives a value; blocks until it is complete.
        ///
        /// # Errors
        ///
        /// [`ErrorKind::EndOfFile`] if the other end is closed and all was
        /// received; [`ErrorKind::Broken`] if a process was killed in the
        /// middle of a message; the message cannot be decoded (it is gone
        /// then).
        pub fn recv(&self) -> Result<$value>
        where
            $value: DeserializeOwned + 'static,
        {
            self.end.recv(&mut Wait::forever().for_answer())
        }

        /// Receives a value, waiting for at most `timeout`; `None` if none
        /// came.
        ///
        /// # Errors
        ///
        /// As for [`recv`](Self::recv).
        pub fn recv_timeout(&self, timeout: Duration) -> Result<Option<$value>>
        where
            $value: DeserializeOwned + 'static,
        {
            let mut wait = Wait::for_duration(Some(timeout)).for_answer();
            self.end.recv_in_time(&mut wait)
        }

        /// Receives what `send_bytes` sent.
        ///
        /// # Errors
        ///
        /// As for [`recv`](Self::recv).
        pub fn recv_bytes(&self) -> Result<Vec<u8>> {
            self.end.recv_bytes()
        }

        /// Waits for at most `timeout` until there is something to receive, or
        /// the other end is closed, and says whether that is so.
        ///
        /// # Errors
        ///
        /// None at present.
        pub fn poll(&self, timeout: Duration) -> Result<bool> {
            self.end.poll(timeout)
        }

        /// All that comes until the other end is closed.
        pub fn iter(&self) -> Messages<'_, $value> {
            Messages {
                end: &self.end,
                values: PhantomData,
            }
        }
    };
}

impl<S, R> Connection<S, R> {
    sends!(S);
    receives!(R);
}

impl<T> Sender<T> {
    sends!(T);
}

impl<T> Receiver<T> {
    receives!(T);
}

/// What comes over a connection until the other end is closed.
pub struct Messages<'a, T> {
    end: &'a End,
    values: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned + 'static> Iterator for Messages<'_, T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        match self.end.recv(&mut Wait::forever().for_answer()) {
            Err(error) if error.kind() == ErrorKind::EndOfFile => None,
            result => Some(result),
        }
    }
}

impl<T> fmt::Debug for Messages<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Messages").field(self.end).finish()
    }
}

/// What all three kinds of ends are.
#[derive(Clone)]
struct End(Arc<engine::Connection>);

/// How an end travels: the index of its descriptor, what it may be used for,
/// and the shared states of its directions.
type Noted = (u32, u8, Option<u32>, Option<u32>);

impl End {
    fn new(connection: engine::Connection) -> Self {
        Self(Arc::new(connection))
    }

    fn send<T: Serialize + 'static>(&self, value: &T) -> Result<()> {
        if let Some(plain) = codec::plain_bytes(value) {
            return self.send_bytes(plain);
        }
        with_buffer(|buffer| {
            codec::encode_outside(value, buffer)?;
            self.send_bytes(buffer)
        })
    }

    fn send_bytes(&self, bytes: &[u8]) -> Result<()> {
        Ok(self
            .0
            .send_bytes(&[bytes], &mut Wait::forever().for_answer())?)
    }

    fn recv<T: DeserializeOwned + 'static>(&self, wait: &mut Wait<'_>) -> Result<T> {
        with_buffer(|buffer| {
            self.0.recv_bytes_reusing(buffer, None, wait)?;
            codec::decode_outside(buffer)
        })
    }

    fn recv_in_time<T: DeserializeOwned + 'static>(
        &self,
        wait: &mut Wait<'_>,
    ) -> Result<Option<T>> {
        with_buffer(|buffer| {
            let received = in_time(self.0.recv_bytes_reusing(buffer, None, wait))?;
            received.map(|()| codec::decode_outside(buffer)).transpose()
        })
    }

    fn recv_bytes(&self) -> Result<Vec<u8>> {
        Ok(self.0.recv_bytes(None, &mut Wait::forever().for_answer())?)
    }

    fn poll(&self, timeout: Duration) -> Result<bool> {
        Ok(self.0.poll(&mut Wait::for_duration(Some(timeout)))?)
    }

    fn note(&self) -> core::Result<Noted> {
        let reading = self.0.reading().map(handles::note).transpose()?;
        let writing = self.0.writing().map(handles::note).transpose()?;
        let descriptor = handles::note_descriptor(self.0.as_fd())?;
        Ok((descriptor, self.0.access() as u8, reading, writing))
    }

    fn from_noted((descriptor, access, reading, writing): Noted) -> core::Result<Self> {
        let access = [Access::Read, Access::Write, Access::Both]
            .into_iter()
            .find(|known| *known as u8 == access)
            .ok_or_else(|| {
                core::Error::new(
                    core::ErrorKind::WrongKind,
                    "read the end of a connection from a message: it is none",
                )
            })?;
        let connection = engine::Connection::with_directions(
            handles::take_descriptor(descriptor)?,
            access,
            reading.map(handles::resolve).transpose()?,
            writing.map(handles::resolve).transpose()?,
        )?;
        Ok(Self::new(connection))
    }
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {:?}", self.0.as_fd(), self.0.access())
    }
}

/// What the three kinds of ends have in common.
macro_rules! end {
    ($end:ident<$($value:ident),+>) => {
        impl<$($value),+> $end<$($value),+> {
            const fn of(end: End) -> Self {
                Self {
                    end,
                    values: PhantomData,
                }
            }
        }

        impl<$($value),+> Clone for $end<$($value),+> {
            fn clone(&self) -> Self {
                Self::of(self.end.clone())
            }
        }

        impl<$($value),+> fmt::Debug for $end<$($value),+> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_tuple(stringify!($end)).field(&self.end).finish()
            }
        }

        /// For [`wait`](crate::wait()) and foreign event loops. Read and write
        /// only through the methods: a connection has its own framing.
        impl<$($value),+> AsFd for $end<$($value),+> {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.end.0.as_fd()
            }
        }

        /// Only inside an argument, a result or a message of the same family.
        impl<$($value),+> Serialize for $end<$($value),+> {
            fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
                handle::serialize(self.end.note(), serializer)
            }
        }

        impl<'de, $($value),+> Deserialize<'de> for $end<$($value),+> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                handle::deserialize(deserializer, End::from_noted).map(Self::of)
            }
        }
    };
}

end!(Connection<S, R>);
end!(Sender<T>);
end!(Receiver<T>);
