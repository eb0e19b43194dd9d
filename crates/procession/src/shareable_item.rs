//! [`ShareableItem`]: what a `ShareableList` can hold, and how one item lies in memory.
//!
//! Used by `shareable_list`. An item is three things: a `struct` format of Python (at most eight characters, padded
//! with zeros), a code that says what the bytes turn back into, and the bytes themselves in a slot of a multiple of
//! eight bytes. Numbers are in the machine's byte order.
//!
//! | item | format | code | bytes of the slot |
//! |---|---|---|---|
//! | integer | `q` | 0 | eight |
//! | float | `d` | 0 | eight |
//! | bool | `xxxxxxx?` | 0 | seven zeros, then 0 or 1 |
//! | text | `<n>s` | 1 | UTF-8, padded with zeros to n |
//! | bytes | `<n>s` | 2 | the bytes, padded with zeros to n |
//! | nothing | `xxxxxx?x` | 3 | eight zeros |

use std::fmt;

/// One value of a [`ShareableList`](crate::ShareableList).
#[derive(Clone, Debug, PartialEq)]
pub enum ShareableItem {
    /// Python's `None`.
    None,
    /// A `bool`.
    Bool(bool),
    /// An `int` of 64 bits.
    Int(i64),
    /// A `float`.
    Float(f64),
    /// A `str`.
    Str(String),
    /// A `bytes`.
    Bytes(Vec<u8>),
}

/// Slots are multiples of this many bytes.
pub(crate) const ALIGNMENT: usize = 8;

/// How long a text format can be; so a slot has at most 9,999,999 bytes.
pub(crate) const FORMAT: usize = 8;

const LONGEST: usize = 9_999_999 / ALIGNMENT * ALIGNMENT;

/// Why an item cannot be stored, or what lies in memory is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum ItemError {
    #[error("a text or bytes item of {0} bytes is too long: the format holds at most {max}", max = LONGEST - 1)]
    TooLong(usize),
    #[error(
        "a text or bytes item must not end in a zero byte, which the format cannot tell from padding: append a mark of your own"
    )]
    TrailingZero,
    #[error(
        "a text or bytes item of {len} bytes exceeds the {room} bytes of its place, which are set at creation"
    )]
    NoRoom { len: usize, room: usize },
    #[error("the shared bytes hold no item that could be read")]
    Malformed,
}

/// A format as it lies in memory.
pub(crate) type Format = [u8; FORMAT];

const INT: Format = *b"q\0\0\0\0\0\0\0";
const FLOAT: Format = *b"d\0\0\0\0\0\0\0";
const BOOL: Format = *b"xxxxxxx?";
const NONE: Format = *b"xxxxxx?x";

const PLAIN: u8 = 0;
const TEXT: u8 = 1;
const BYTES: u8 = 2;
const NOTHING: u8 = 3;

/// An item as it is to be stored.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Stored {
    pub(crate) format: Format,
    pub(crate) code: u8,
    pub(crate) bytes: Vec<u8>,
}

impl ShareableItem {
    /// How many bytes a new slot for this item has: for text and bytes always
    /// more than it needs, as in Python.
    ///
    /// Python counts a text's characters where this counts its encoded bytes,
    /// and so cuts texts off that are not ASCII.
    pub(crate) fn slot(&self) -> Result<usize, ItemError> {
        let Some(content) = self.content() else {
            return Ok(ALIGNMENT);
        };
        let slot = ALIGNMENT * (content.len() / ALIGNMENT + 1);
        if slot > LONGEST {
            return Err(ItemError::TooLong(content.len()));
        }
        Ok(slot)
    }

    fn content(&self) -> Option<&[u8]> {
        match self {
            Self::Str(text) => Some(text.as_bytes()),
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The item for a slot of `room` bytes that has had the format `current`:
    /// a text format stays when the new item is text or bytes again.
    pub(crate) fn store(&self, room: usize, current: Option<Format>) -> Result<Stored, ItemError> {
        let (format, code, bytes) = match self {
            Self::None => (NONE, NOTHING, vec![0; ALIGNMENT]),
            Self::Bool(value) => (BOOL, PLAIN, vec![0, 0, 0, 0, 0, 0, 0, u8::from(*value)]),
            Self::Int(value) => (INT, PLAIN, value.to_ne_bytes().to_vec()),
            Self::Float(value) => (FLOAT, PLAIN, value.to_ne_bytes().to_vec()),
            Self::Str(text) => return store_content(text.as_bytes(), TEXT, room, current),
            Self::Bytes(bytes) => return store_content(bytes, BYTES, room, current),
        };
        Ok(Stored {
            format,
            code,
            bytes,
        })
    }

    /// How many bytes an item of that format has.
    pub(crate) fn width(format: Format) -> Option<usize> {
        match format {
            INT | FLOAT | BOOL | NONE => Some(ALIGNMENT),
            _ => text_width(format),
        }
    }

    /// The item that format, code and bytes stand for.
    pub(crate) fn load(format: Format, code: u8, bytes: &[u8]) -> Result<Self, ItemError> {
        let eight = || <[u8; 8]>::try_from(bytes).map_err(|_| ItemError::Malformed);
        match (code, format) {
            (NOTHING, _) => Ok(Self::None),
            (PLAIN, INT) => Ok(Self::Int(i64::from_ne_bytes(eight()?))),
            (PLAIN, FLOAT) => Ok(Self::Float(f64::from_ne_bytes(eight()?))),
            (PLAIN, BOOL) => Ok(Self::Bool(eight()?[7] != 0)),
            (TEXT, _) if text_width(format).is_some() => {
                String::from_utf8(without_padding(bytes).to_vec())
                    .map(Self::Str)
                    .map_err(|_| ItemError::Malformed)
            }
            (BYTES, _) if text_width(format).is_some() => {
                Ok(Self::Bytes(without_padding(bytes).to_vec()))
            }
            _ => Err(ItemError::Malformed),
        }
    }
}

fn store_content(
    content: &[u8],
    code: u8,
    room: usize,
    current: Option<Format>,
) -> Result<Stored, ItemError> {
    if content.last() == Some(&0) {
        return Err(ItemError::TrailingZero);
    }
    let current = current.and_then(|format| Some((format, text_width(format)?)));
    let (format, width) = match current {
        Some(current) => current,
        None => (text_format(room), room),
    };
    // A foreign list may declare less than the slot has.
    let width = width.min(room);
    if content.len() > width {
        return Err(ItemError::NoRoom {
            len: content.len(),
            room: width,
        });
    }
    let mut bytes = content.to_vec();
    bytes.resize(width, 0);
    Ok(Stored {
        format,
        code,
        bytes,
    })
}

fn text_format(room: usize) -> Format {
    let mut format = [0; FORMAT];
    let text = format!("{room}s");
    // Slots are at most `LONGEST` bytes, whose format has eight characters.
    for (to, from) in format.iter_mut().zip(text.bytes()) {
        *to = from;
    }
    format
}

fn text_width(format: Format) -> Option<usize> {
    let digits = without_padding(&format).strip_suffix(b"s")?;
    str::from_utf8(digits).ok()?.parse().ok()
}

/// The format as people write it.
pub(crate) fn format_text(format: Format) -> String {
    String::from_utf8_lossy(without_padding(&format)).into_owned()
}

fn without_padding(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().rposition(|&byte| byte != 0);
    &bytes[..end.map_or(0, |last| last + 1)]
}

impl fmt::Display for ShareableItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Str(text) => f.pad(text),
            Self::Bytes(bytes) => write!(f, "b\"{}\"", bytes.escape_ascii()),
        }
    }
}

macro_rules! from {
    ($($variant:ident: $($type:ty),+;)+) => {
        $($(
            impl From<$type> for ShareableItem {
                fn from(value: $type) -> Self {
                    Self::$variant(value.into())
                }
            }
        )+)+
    };
}

from! {
    Bool: bool;
    Int: i64, i32, i16, i8, u32, u16, u8;
    Float: f64, f32;
    Str: String, &str;
    Bytes: Vec<u8>, &[u8];
}

impl<const N: usize> From<&[u8; N]> for ShareableItem {
    fn from(value: &[u8; N]) -> Self {
        Self::Bytes(value.to_vec())
    }
}

impl From<()> for ShareableItem {
    fn from((): ()) -> Self {
        Self::None
    }
}

impl<T: Into<Self>> From<Option<T>> for ShareableItem {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::None, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn items() -> impl Strategy<Value = ShareableItem> {
        prop_oneof![
            Just(ShareableItem::None),
            any::<bool>().prop_map(ShareableItem::Bool),
            any::<i64>().prop_map(ShareableItem::Int),
            any::<f64>().prop_map(ShareableItem::Float),
            ".{0,20}".prop_map(ShareableItem::Str),
            proptest::collection::vec(any::<u8>(), 0..40).prop_map(ShareableItem::Bytes),
        ]
    }

    proptest! {
        #[test]
        fn what_is_stored_can_be_loaded(item in items()) {
            let slot = item.slot().unwrap();
            match item.store(slot, None) {
                Ok(stored) => {
                    prop_assert_eq!(ShareableItem::width(stored.format), Some(stored.bytes.len()));
                    prop_assert!(stored.bytes.len() <= slot);
                    let loaded = ShareableItem::load(stored.format, stored.code, &stored.bytes);
                    prop_assert_eq!(loaded, Ok(item));
                }
                Err(error) => prop_assert_eq!(error, ItemError::TrailingZero),
            }
        }

        #[test]
        fn foreign_bytes_never_panic(format: Format, code: u8, bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = ShareableItem::load(format, code, &bytes);
            let _ = ShareableItem::width(format);
            let _ = ShareableItem::from("text").store(bytes.len(), Some(format));
        }
    }

    #[test]
    fn slots_follow_the_sizes_of_python() {
        let slot = |item: ShareableItem| item.slot().unwrap();
        assert_eq!(slot(5.into()), 8);
        assert_eq!(slot("".into()), 8);
        assert_eq!(slot("seven..".into()), 8);
        assert_eq!(slot("eight...".into()), 16);
        assert_eq!(slot("ééééé".into()), 16);
        let long = ShareableItem::Bytes(vec![1; LONGEST]);
        assert_eq!(long.slot(), Err(ItemError::TooLong(LONGEST)));
        assert_eq!(
            ShareableItem::Bytes(vec![1; LONGEST - 1]).slot(),
            Ok(LONGEST)
        );
        assert_eq!(&text_format(LONGEST), b"9999992s");
    }
}
