//! How values become messages: serde in postcard's format, with the handles a value contains noted on the side.
//!
//! Both ends of a message run the same executable and name the same type, so nothing describes itself. A message that *is* a vector of
//! plain numbers, alone or as the only argument, is copied as it lies in memory; inside other values such vectors go element by element, or at once as
//! [`Bytes`](crate::Bytes).

use std::any::Any;
use std::cell::RefCell;

use postcard::ser_flavors::Flavor;
use procession_core::shm::handles::{Collected, Collecting, Outside};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::bytes::Bytes;
use crate::error::{Error, Result};

thread_local! {
    /// Why a handle could not be written or read: serde carries a text of its own only where the format has room for one.
    static HANDLE_ERROR: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Calls `$with!(type)` for each element type whose vectors are copied whole.
macro_rules! for_each_plain_vector {
    ($with:ident) => {
        $with!(u8);
        $with!(i8);
        $with!(u16);
        $with!(i16);
        $with!(u32);
        $with!(i32);
        $with!(u64);
        $with!(i64);
        $with!(u128);
        $with!(i128);
        $with!(usize);
        $with!(isize);
        $with!(f32);
        $with!(f64);
    };
}

/// Encodes one value behind what `buffer` holds; what it refers to goes on
/// behind what `handles` holds.
///
/// # Errors
/// The value's own serialisation failed, or a handle in it belongs to another
/// family. The buffer is as before then.
pub(crate) fn encode_into<T: Serialize + 'static>(
    value: &T,
    buffer: &mut Vec<u8>,
    handles: &mut Collected,
) -> Result<()> {
    if let Some(plain) = plain_bytes(value) {
        buffer.extend_from_slice(plain);
        return Ok(());
    }
    let start = buffer.len();
    HANDLE_ERROR.take();
    let collecting = Collecting::go_on(std::mem::take(handles));
    let encoded = postcard::serialize_with_flavor(value, Append(buffer));
    *handles = collecting.finish();
    encoded.map_err(|source| {
        buffer.truncate(start);
        Error::encode::<T>(source)
    })
}

/// Encodes one value.
///
/// # Errors
/// As [`encode_into`].
pub(crate) fn encode<T: Serialize + 'static>(value: &T) -> Result<(Vec<u8>, Collected)> {
    let (mut bytes, mut handles) = (Vec::new(), Collected::none());
    encode_into(value, &mut bytes, &mut handles)?;
    Ok((bytes, handles))
}

/// The bytes of a value that is a vector of plain numbers, without a copy.
pub(crate) fn plain_bytes<T: 'static>(value: &T) -> Option<&[u8]> {
    let value = value as &dyn Any;
    macro_rules! try_vector {
        ($element:ty) => {
            if let Some(vector) = value.downcast_ref::<Vec<$element>>() {
                return Some(vector.as_slice().as_bytes());
            }
            if let Some((vector,)) = value.downcast_ref::<(Vec<$element>,)>() {
                return Some(vector.as_slice().as_bytes());
            }
        };
    }
    for_each_plain_vector!(try_vector);
    if let Some(bytes) = value.downcast_ref::<Bytes>() {
        return Some(bytes);
    }
    if let Some(text) = value.downcast_ref::<String>() {
        return Some(text.as_bytes());
    }
    None
}

/// Decodes one value from a message's bytes; `handles` must be entered for
/// values that contain handles.
///
/// # Errors
/// The bytes are not an encoded `T`.
pub(crate) fn decode<T: DeserializeOwned + 'static>(bytes: &[u8]) -> Result<T> {
    let mut slot: Option<T> = None;
    if decode_plain(bytes, &mut slot)? {
        return slot.ok_or_else(|| Error::decode::<T>(postcard::Error::DeserializeBadEncoding));
    }
    HANDLE_ERROR.take();
    postcard::from_bytes(bytes).map_err(Error::decode::<T>)
}

/// As [`encode_into`], for what leaves the program's shared memory: handles are
/// refused.
///
/// # Errors
/// As [`encode_into`]; the value contains a handle.
pub(crate) fn encode_outside<T: Serialize + 'static>(
    value: &T,
    buffer: &mut Vec<u8>,
) -> Result<()> {
    HANDLE_ERROR.take();
    let _outside = Outside::begin();
    postcard::serialize_with_flavor(value, Append(buffer)).map_err(Error::encode::<T>)
}

/// As [`decode`], for what has come from outside.
///
/// # Errors
/// As [`decode`].
pub(crate) fn decode_outside<T: DeserializeOwned + 'static>(bytes: &[u8]) -> Result<T> {
    let _outside = Outside::begin();
    decode(bytes)
}

fn decode_plain<T: 'static>(bytes: &[u8], slot: &mut Option<T>) -> Result<bool> {
    let slot = slot as &mut dyn Any;
    macro_rules! try_vector {
        ($element:ty) => {
            if let Some(slot) = slot.downcast_mut::<Option<Vec<$element>>>() {
                *slot = Some(vector_of::<$element, T>(bytes)?);
                return Ok(true);
            }
            if let Some(slot) = slot.downcast_mut::<Option<(Vec<$element>,)>>() {
                *slot = Some((vector_of::<$element, T>(bytes)?,));
                return Ok(true);
            }
        };
    }
    for_each_plain_vector!(try_vector);
    if let Some(slot) = slot.downcast_mut::<Option<Bytes>>() {
        *slot = Some(Bytes(vector_of::<u8, T>(bytes)?));
        return Ok(true);
    }
    if let Some(slot) = slot.downcast_mut::<Option<String>>() {
        let text = String::from_utf8(vector_of::<u8, T>(bytes)?);
        *slot = Some(text.map_err(|_| Error::decode::<T>(postcard::Error::DeserializeBadUtf8))?);
        return Ok(true);
    }
    Ok(false)
}

/// The elements whose bytes were sent for a `T`.
fn vector_of<E, T>(bytes: &[u8]) -> Result<Vec<E>>
where
    E: FromBytes + Immutable + Copy,
{
    let damaged = || Error::decode::<T>(postcard::Error::DeserializeUnexpectedEnd);
    if !bytes.len().is_multiple_of(size_of::<E>()) {
        return Err(damaged());
    }
    // Not zeroed first: for a large vector that would cost as much as the copy.
    let mut vector = Vec::new();
    vector
        .try_reserve_exact(bytes.len() / size_of::<E>())
        .map_err(|_| Error::out_of_memory(bytes.len()))?;
    match <[E]>::ref_from_bytes(bytes) {
        Ok(elements) => vector.extend_from_slice(elements),
        // Payloads in the heap are aligned; a small message's buffer need not be.
        Err(_) => {
            for element in bytes.chunks_exact(size_of::<E>()) {
                vector.push(E::read_from_bytes(element).map_err(|_| damaged())?);
            }
        }
    }
    Ok(vector)
}

/// Appends to a buffer that its owner keeps.
struct Append<'a>(&'a mut Vec<u8>);

impl Flavor for Append<'_> {
    type Output = ();

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Keeps the text of an error about a handle, which the format's own error
/// cannot carry.
pub(crate) fn keep_handle_error(error: &procession_core::Error) {
    HANDLE_ERROR.set(Some(error.to_string()));
}

/// The text of the handle error that made the last encoding or decoding of
/// this thread fail.
pub(crate) fn take_handle_error() -> Option<String> {
    HANDLE_ERROR.take()
}
