//! [`Queue`], and what its two sisters share with it.

use std::borrow::Borrow;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use procession_core::ipc::queue::{self as engine, Readiness, Received};
use procession_core::shm::Wait;
use procession_core::shm::handles::{self, Collected};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::codec;
use crate::error::{ErrorKind, Result};
use crate::handle;

/// A buffer that has grown beyond this is not kept for the next message.
const MOST_KEPT: usize = 64 << 10;

/// How many messages, and how many bytes of them, `put_many` hands over at
/// once.
const MOST_AT_ONCE: usize = 256;

/// A first-in, first-out queue of values between the threads of all processes
/// of a program.
///
/// It is a handle: clone it, pass it to processes and tasks, send it through
/// another queue. The queue and the messages in it end with the last handle; a
/// queue that contains a handle to itself lives until the program's last
/// process ends.
///
/// [`put`](Self::put) encodes the value, copies it into shared memory and
/// returns: the message is in the queue, and the process may end at once.
/// Without a [bound](Self::bounded) a put never blocks. [`len`](Self::len),
/// [`is_empty`](Self::is_empty) and [`is_full`](Self::is_full) are exact.
///
/// A process that is killed inside `put` loses the message it was putting, one
/// that is killed inside `get` at most the one it was getting; nobody else
/// loses anything or is blocked.
///
/// # Examples
///
/// ```
/// use procession::{Process, Queue};
///
/// fn squares(numbers: Queue<u64>, squares: Queue<u64>) -> procession::Result<()> {
///     for number in numbers.iter() {
///         squares.put(&number?.pow(2))?;
///     }
///     squares.close()
/// }
///
/// # fn main() -> procession::Result<()> {
/// procession::init();
/// let (numbers, results) = (Queue::new()?, Queue::new()?);
/// let child = Process::new(squares).args((numbers.clone(), results.clone())).start()?;
/// numbers.put_many(0..4)?;
/// numbers.close()?;
/// let results = results.iter().collect::<procession::Result<Vec<u64>>>()?;
/// assert_eq!(results, [0, 1, 4, 9]);
/// child.join()?;
/// # Ok(())
/// # }
/// ```
pub struct Queue<T> {
    polled: Polled,
    values: PhantomData<fn(T) -> T>,
}

/// A queue, and its descriptor once somebody has waited for it together with
/// other things.
pub(crate) struct Polled {
    queue: engine::Queue,
    readiness: Mutex<Option<Arc<Readiness>>>,
}

impl Polled {
    /// The queue's descriptor in this process.
    pub(crate) fn readiness(&self) -> Result<Arc<Readiness>> {
        let mut kept = self
            .readiness
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            // A forked child asks for its own.
            Some(readiness) if readiness.is_of_this_process() => Ok(Arc::clone(readiness)),
            _ => Ok(Arc::clone(kept.insert(Arc::new(self.queue.readiness()?)))),
        }
    }
}

impl<T> Queue<T> {
    /// A queue for any number of messages.
    ///
    /// # Errors
    ///
    /// Shared memory is exhausted.
    pub fn new() -> Result<Self> {
        Ok(Self::of(engine::Queue::new(None)?))
    }

    /// A queue for at most `most` messages at a time: a put waits for room.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] if `most` is 0; shared memory is
    /// exhausted.
    pub fn bounded(most: usize) -> Result<Self> {
        Ok(Self::of(engine::Queue::new(Some(most))?))
    }

    pub(crate) const fn of(queue: engine::Queue) -> Self {
        Self {
            polled: Polled {
                queue,
                readiness: Mutex::new(None),
            },
            values: PhantomData,
        }
    }

    pub(crate) const fn polled(&self) -> &Polled {
        &self.polled
    }

    /// How many messages wait: exactly, at one instant during the call.
    #[must_use]
    pub fn len(&self) -> usize {
        self.polled.queue.len()
    }

    /// Whether no message waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.polled.queue.is_empty()
    }

    /// Whether a bounded queue has no room.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.polled.queue.is_full()
    }

    /// How many messages may wait at a time; `None` for any number.
    #[must_use]
    pub fn bound(&self) -> Option<usize> {
        self.polled.queue.maxsize()
    }

    /// Ends the queue for all processes: nothing can be put any more, and who
    /// gets is told once all messages have been taken. Closing again does
    /// nothing.
    ///
    /// # Errors
    ///
    /// This process was forked in a way that left it outside the program's
    /// family of processes.
    pub fn close(&self) -> Result<()> {
        Ok(self.polled.queue.close(&mut Wait::forever())?)
    }

    /// Whether the queue was closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.polled.queue.is_closed()
    }
}

impl<T: Serialize + 'static> Queue<T> {
    /// Puts a value, waiting while a bounded queue is full.
    ///
    /// # Errors
    ///
    /// The value cannot be encoded, [`ErrorKind::Closed`], or shared memory is
    /// exhausted; the value was not put then.
    #[inline]
    pub fn put(&self, value: &T) -> Result<()> {
        self.put_within(value, &mut Wait::forever().for_answer())
    }

    /// Puts a value if there is room; never blocks.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Full`]; otherwise as for [`put`](Self::put).
    pub fn try_put(&self, value: &T) -> Result<()> {
        self.put_within(value, &mut Wait::never())
    }

    /// Puts a value, waiting for at most `timeout` while a bounded queue is
    /// full.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Full`] if that was not enough; otherwise as for
    /// [`put`](Self::put).
    pub fn put_timeout(&self, value: &T, timeout: Duration) -> Result<()> {
        self.put_within(value, &mut Wait::for_duration(Some(timeout)).for_answer())
    }

    /// Puts all the values in their order, a batch of them for the price of
    /// one; waits while a bounded queue is full. Other producers' messages may
    /// come between two batches.
    ///
    /// # Errors
    ///
    /// As for [`put`](Self::put); the values before the one that failed have
    /// been put.
    pub fn put_many<I>(&self, values: I) -> Result<()>
    where
        I: IntoIterator,
        I::Item: Borrow<T>,
    {
        with_buffer(|buffer| {
            let mut ends = Vec::new();
            for value in values {
                let mut handles = Collected::none();
                if let Err(error) = codec::encode_into(value.borrow(), buffer, &mut handles) {
                    self.put_batch(buffer, &mut ends)?;
                    return Err(error);
                }
                let start = ends.last().copied().unwrap_or(0);
                if !handles.is_empty() {
                    let message = buffer.split_off(start);
                    self.put_batch(buffer, &mut ends)?;
                    self.polled
                        .queue
                        .put(&[&message], &handles, &mut waiting())?;
                    continue;
                }
                ends.push(buffer.len());
                if ends.len() >= MOST_AT_ONCE || buffer.len() >= MOST_KEPT {
                    self.put_batch(buffer, &mut ends)?;
                }
            }
            self.put_batch(buffer, &mut ends)
        })
    }

    /// Puts the messages of which `buffer` holds the bytes, one up to each end.
    fn put_batch(&self, buffer: &mut Vec<u8>, ends: &mut Vec<usize>) -> Result<()> {
        let mut start = 0;
        let messages: Vec<&[u8]> = ends
            .iter()
            .map(|end| &buffer[std::mem::replace(&mut start, *end)..*end])
            .collect();
        let mut rest = messages.as_slice();
        while !rest.is_empty() {
            rest = &rest[self.polled.queue.put_many(rest, &mut waiting())?..];
        }
        ends.clear();
        buffer.clear();
        Ok(())
    }

    #[inline]
    fn put_within(&self, value: &T, wait: &mut Wait<'_>) -> Result<()> {
        let mut handles = Collected::none();
        if let Some(plain) = codec::plain_bytes(value) {
            return Ok(self.polled.queue.put(&[plain], &handles, wait)?);
        }
        with_buffer(|buffer| {
            codec::encode_into(value, buffer, &mut handles)?;
            Ok(self.polled.queue.put(&[buffer], &handles, wait)?)
        })
    }
}

impl<T: DeserializeOwned + 'static> Queue<T> {
    /// Takes the oldest message, waiting for one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`] if the queue is closed and has no more; the
    /// message cannot be decoded (it is gone then).
    #[inline]
    pub fn get(&self) -> Result<T> {
        self.get_within(&mut waiting())
    }

    /// Takes the oldest message, if there is one; never blocks.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get).
    pub fn try_get(&self) -> Result<Option<T>> {
        unless_empty(self.get_within(&mut Wait::never()))
    }

    /// Takes the oldest message, waiting for at most `timeout`; `None` if none
    /// came.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get).
    pub fn get_timeout(&self, timeout: Duration) -> Result<Option<T>> {
        unless_empty(self.get_within(&mut Wait::for_duration(Some(timeout)).for_answer()))
    }

    /// Takes the oldest messages, at most `most`, for the price of one; waits
    /// for the first.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`] if the queue is closed and has no more. Each
    /// message is decoded when the batch is iterated, and may fail for itself.
    pub fn get_many(&self, most: usize) -> Result<Batch<T>> {
        let messages = self.polled.queue.get_many(most, &mut waiting())?;
        Ok(Batch {
            messages: messages.into_iter(),
            values: PhantomData,
        })
    }

    /// All messages until the queue is closed and has no more; waits for each.
    pub const fn iter(&self) -> Iter<'_, T> {
        Iter { queue: self }
    }

    #[inline]
    fn get_within(&self, wait: &mut Wait<'_>) -> Result<T> {
        with_buffer(|buffer| match self.polled.queue.get_into(buffer, wait)? {
            Received::Inline => codec::decode(buffer),
            Received::Block(message) => decode_message(&message),
        })
    }
}

/// The messages that [`Queue::get_many`] has taken. Those that are not iterated
/// are dropped with it.
pub struct Batch<T> {
    messages: std::vec::IntoIter<engine::Message>,
    values: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned + 'static> Iterator for Batch<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        self.messages.next().as_ref().map(decode_message)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.messages.size_hint()
    }
}

impl<T: DeserializeOwned + 'static> ExactSizeIterator for Batch<T> {}

impl<T> fmt::Debug for Batch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batch({} messages)", self.messages.len())
    }
}

/// The messages of a [`Queue`], one after the other, until it is closed and has
/// no more.
pub struct Iter<'a, T> {
    queue: &'a Queue<T>,
}

impl<T: DeserializeOwned + 'static> Iterator for Iter<'_, T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Result<T>> {
        match self.queue.get() {
            Err(error) if error.kind() == ErrorKind::Closed => None,
            result => Some(result),
        }
    }
}

impl<T> fmt::Debug for Iter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Iter").field(self.queue).finish()
    }
}

impl<'a, T: DeserializeOwned + 'static> IntoIterator for &'a Queue<T> {
    type Item = Result<T>;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self::of(self.polled.queue.clone())
    }
}

impl<T> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("len", &self.len())
            .field("bound", &self.bound())
            .field("closed", &self.is_closed())
            .finish()
    }
}

/// Only inside an argument, a result or a message of the same family.
impl<T> Serialize for Queue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        handle::serialize(handles::note(self.polled.queue.object()), serializer)
    }
}

impl<'de, T> Deserialize<'de> for Queue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let queue = handle::deserialize(deserializer, |index| {
            handles::resolve(index).map(engine::Queue::from_object)
        })?;
        Ok(Self::of(queue))
    }
}

/// Waiting for what another process does.
const fn waiting() -> Wait<'static> {
    Wait::forever().for_answer()
}

fn unless_empty<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Err(error) if error.kind() == ErrorKind::Empty => Ok(None),
        result => result.map(Some),
    }
}

/// Decodes a message that was taken from a queue.
fn decode_message<T: DeserializeOwned + 'static>(message: &engine::Message) -> Result<T> {
    let _reading = message.begin_reading()?;
    codec::decode(message.payload())
}

thread_local! {
    /// What the thread's last message was encoded into or received in.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Calls `work` with the thread's buffer, which is empty. A call inside
/// `work` gets another one.
#[inline]
pub(crate) fn with_buffer<R>(work: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    let mut buffer = BUFFER.try_with(Cell::take).unwrap_or_default();
    buffer.clear();
    let result = work(&mut buffer);
    if buffer.capacity() <= MOST_KEPT {
        // While the thread ends nothing is kept.
        let _ = BUFFER.try_with(|kept| kept.set(buffer));
    }
    result
}
