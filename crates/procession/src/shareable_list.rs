//! [`ShareableList`]: a list of fixed length in a named block, in the format of Python's
//! `multiprocessing.shared_memory.ShareableList`.
//!
//! Used by programs that share a few plain values with Python programs. All numbers are in the machine's byte order:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | N, the number of items |
//! | 8 (N + 1) | where each item's slot begins in the data, then the length of the data |
//! | K | the data: the slots |
//! | 8 N | each item's format, padded with zeros |
//! | N | each item's code |
//!
//! `shareable_item` has the formats and codes. Length and slots never change after creation. There is no lock: a
//! process that dies in [`set`](ShareableList::set), or a reader beside it, may leave or see an item half written, as
//! in Python; what is no item then reads as an error.

use std::fmt;
use std::sync::Arc;

use procession_core::{Error as CoreError, ErrorKind};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::Result;
use crate::shareable_item::{ALIGNMENT, FORMAT, Format, ItemError, ShareableItem, format_text};
use crate::shared_memory::SharedMemory;

const WORD: usize = 8;

/// A list of plain values that processes share by name, with Python programs
/// too.
///
/// Its length and the room of each text and bytes item are set at creation.
/// An item may be replaced by one of another type as long as it fits. Like
/// [`SharedMemory`], which it lies in, it has no lock and exists until
/// somebody unlinks it.
///
/// # Examples
///
/// ```no_run
/// use procession::{ShareableItem, ShareableList};
///
/// # fn main() -> procession::Result<()> {
/// let list = ShareableList::new(["howdy".into(), ShareableItem::None, 1.5.into(), 100.into(), true.into()])?;
/// list.set(3, 101)?;
///
/// // In any process of this user; in Python: ShareableList(name="psm_...")
/// let same = ShareableList::attach(list.name())?;
/// assert_eq!(same.get(0)?, "howdy".into());
/// assert_eq!(same.get(3)?, 101.into());
///
/// list.unlink()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ShareableList {
    memory: SharedMemory,
    /// Where the slots begin in the data, then the data's length: checked
    /// against the block when the list was opened, and never read again.
    offsets: Arc<[usize]>,
}

impl ShareableList {
    /// Creates a list in a block with a fresh name.
    ///
    /// # Errors
    ///
    /// An item is too long or ends in a zero byte; there is no room.
    pub fn new<I>(items: I) -> Result<Self>
    where
        I: IntoIterator<Item: Into<ShareableItem>>,
    {
        Self::create(None, items)
    }

    /// Creates a list in a block of that name.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); the name is taken or is no single path entry.
    pub fn with_name<I>(name: &str, items: I) -> Result<Self>
    where
        I: IntoIterator<Item: Into<ShareableItem>>,
    {
        Self::create(Some(name), items)
    }

    fn create<I>(name: Option<&str>, items: I) -> Result<Self>
    where
        I: IntoIterator<Item: Into<ShareableItem>>,
    {
        let items: Vec<ShareableItem> = items.into_iter().map(Into::into).collect();
        let (bytes, offsets) = image(&items).map_err(|error| item_error("create a list", error))?;

        let memory = SharedMemory::create(name, bytes.len())?;
        if let Err(error) = memory.write(0, &bytes) {
            // The name is of no use to anybody.
            let _ = memory.unlink();
            return Err(error);
        }
        Ok(Self {
            memory,
            offsets: offsets.into(),
        })
    }

    /// Attaches to the list of that name.
    ///
    /// # Errors
    ///
    /// There is no such block, or what it holds is no list.
    pub fn attach(name: &str) -> Result<Self> {
        let memory = SharedMemory::attach(name)?;
        let offsets = read_offsets(&memory)?;
        Ok(Self {
            memory,
            offsets: offsets.into(),
        })
    }

    /// The number of items.
    #[must_use]
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether it was created without items.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A copy of item `index`.
    ///
    /// # Errors
    ///
    /// The index is out of range, or the bytes there are no item: somebody is
    /// writing it just now, or has overwritten it.
    pub fn get(&self, index: usize) -> Result<ShareableItem> {
        let place = self.place(index, "read")?;
        let mut code = [0];
        self.memory.read_into(place.code, &mut code)?;
        let malformed = || item_error(&format!("read item {index}"), ItemError::Malformed);

        let format = self.format_at(&place)?;
        let width = ShareableItem::width(format)
            .filter(|&width| width <= place.room)
            .ok_or_else(malformed)?;
        let bytes = self.memory.read(place.slot, width)?;
        let item = ShareableItem::load(format, code[0], &bytes).map_err(|_| malformed())?;
        Ok(item)
    }

    /// Replaces item `index`, by one of another type too.
    ///
    /// # Errors
    ///
    /// The index is out of range; a text or bytes item is longer than the room
    /// its place was created with, or ends in a zero byte.
    pub fn set(&self, index: usize, item: impl Into<ShareableItem>) -> Result<()> {
        let place = self.place(index, "set")?;
        let current = self.format_at(&place)?;
        let stored = item
            .into()
            .store(place.room, Some(current))
            .map_err(|error| item_error(&format!("set item {index}"), error))?;

        self.memory.write(place.format, &stored.format)?;
        self.memory.write(place.code, &[stored.code])?;
        self.memory.write(place.slot, &stored.bytes)
    }

    /// Copies of all items, first to last, read one by one.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Result<ShareableItem>> + '_ {
        (0..self.len()).map(|index| self.get(index))
    }

    /// Copies of all items.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn to_vec(&self) -> Result<Vec<ShareableItem>> {
        self.iter().collect()
    }

    /// How many items are equal to this one, of the same type: unlike in
    /// Python, 1, 1.0 and `true` are three different things.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn count(&self, item: impl Into<ShareableItem>) -> Result<usize> {
        let wanted = item.into();
        let mut count = 0;
        for item in self.iter() {
            count += usize::from(item? == wanted);
        }
        Ok(count)
    }

    /// Where the first item equal to this one is, `None` if there is none.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn index(&self, item: impl Into<ShareableItem>) -> Result<Option<usize>> {
        let wanted = item.into();
        for (index, item) in self.iter().enumerate() {
            if item? == wanted {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// The formats of all items in the language of Python's `struct` module.
    ///
    /// # Errors
    ///
    /// The block was made smaller since.
    pub fn format(&self) -> Result<String> {
        let mut text = String::new();
        for index in 0..self.len() {
            let place = self.place(index, "read")?;
            text.push_str(&format_text(self.format_at(&place)?));
        }
        Ok(text)
    }

    /// The block that the list lies in; Python's `.shm`.
    #[must_use]
    pub fn shared_memory(&self) -> &SharedMemory {
        &self.memory
    }

    /// The name to attach by.
    #[must_use]
    pub fn name(&self) -> &str {
        self.memory.name()
    }

    /// Ends this handle's access, as [`SharedMemory::close`].
    pub fn close(self) {
        drop(self);
    }

    /// Removes the name, everywhere, as [`SharedMemory::unlink`].
    ///
    /// # Errors
    ///
    /// The list was unlinked before.
    pub fn unlink(&self) -> Result<()> {
        self.memory.unlink()
    }

    fn place(&self, index: usize, what: &str) -> Result<Place> {
        let len = self.len();
        if index >= len {
            let text = format!("{what} item {index} of a list of {len}: the index is out of range");
            return Err(CoreError::new(ErrorKind::Invalid, text).into());
        }
        let data = data_start(len);
        let formats = data + self.offsets[len];
        Ok(Place {
            slot: data + self.offsets[index],
            room: self.offsets[index + 1] - self.offsets[index],
            format: formats + index * FORMAT,
            code: formats + len * FORMAT + index,
        })
    }

    fn format_at(&self, place: &Place) -> Result<Format> {
        let mut format = [0; FORMAT];
        self.memory.read_into(place.format, &mut format)?;
        Ok(format)
    }
}

/// Where an item's parts lie in the block.
struct Place {
    slot: usize,
    room: usize,
    format: usize,
    code: usize,
}

/// After the number of items and the table of their slots.
const fn data_start(len: usize) -> usize {
    (len + 2) * WORD
}

/// The whole block of a new list, and where the slots begin in its data.
fn image(items: &[ShareableItem]) -> std::result::Result<(Vec<u8>, Vec<usize>), ItemError> {
    let mut offsets = vec![0];
    let (mut data, mut formats, mut codes) = (Vec::new(), Vec::new(), Vec::new());
    for item in items {
        let slot = item.slot()?;
        let stored = item.store(slot, None)?;
        data.extend(stored.bytes);
        formats.extend(stored.format);
        codes.push(stored.code);
        offsets.push(data.len());
    }

    let mut bytes = Vec::with_capacity(data_start(items.len()) + data.len() + formats.len());
    bytes.extend((items.len() as u64).to_ne_bytes());
    for &offset in &offsets {
        bytes.extend((offset as u64).to_ne_bytes());
    }
    bytes.extend(data);
    bytes.extend(formats);
    bytes.extend(codes);
    Ok((bytes, offsets))
}

/// The table of slots, checked: everything it speaks of lies in the block.
fn read_offsets(memory: &SharedMemory) -> Result<Vec<usize>> {
    let refused = || {
        let text = format!(
            "attach to shared memory {} as a list: it holds none",
            memory.name()
        );
        CoreError::new(ErrorKind::WrongLayout, text)
    };
    let word = |at: usize| -> Result<usize> {
        let mut word = [0; WORD];
        memory.read_into(at, &mut word).map_err(|_| refused())?;
        usize::try_from(u64::from_ne_bytes(word)).map_err(|_| refused().into())
    };

    // An item takes a word of the table, a slot, a format and a code at least.
    let len = word(0)?;
    let least = len.checked_mul(WORD + ALIGNMENT + FORMAT + 1);
    if least.is_none_or(|least| least > memory.size()) {
        return Err(refused().into());
    }

    let mut offsets = Vec::with_capacity(len + 1);
    for index in 0..=len {
        let offset = word(WORD * (index + 1))?;
        let is_ordered = match offsets.last() {
            None => offset == 0,
            Some(&before) => offset
                .checked_sub(before)
                .is_some_and(|room| room >= ALIGNMENT),
        };
        if !is_ordered || offset > memory.size() {
            return Err(refused().into());
        }
        offsets.push(offset);
    }
    if data_start(len) + offsets[len] + len * (FORMAT + 1) > memory.size() {
        return Err(refused().into());
    }
    Ok(offsets)
}

fn item_error(what: &str, error: ItemError) -> crate::Error {
    let kind = match error {
        ItemError::TooLong(_) | ItemError::NoRoom { .. } => ErrorKind::TooLarge,
        ItemError::TrailingZero => ErrorKind::Invalid,
        ItemError::Malformed => ErrorKind::WrongLayout,
    };
    CoreError::new(kind, format!("{what}: {error}")).into()
}

impl fmt::Debug for ShareableList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShareableList")
            .field("items", &self.to_vec())
            .field("name", &self.name())
            .finish()
    }
}

/// As its name: whoever receives it is attached by that.
impl Serialize for ShareableList {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for ShareableList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::attach(&name).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_kinds() -> Vec<ShareableItem> {
        vec![
            "howdy".into(),
            b"\x00HoWdY".into(),
            (-273.154).into(),
            100.into(),
            ().into(),
            true.into(),
            "ünïcödé-longer-than-a-word".into(),
        ]
    }

    #[test]
    fn items_are_kept_and_replaced() {
        let list = ShareableList::new(all_kinds()).unwrap();
        let same = ShareableList::attach(list.name()).unwrap();
        assert_eq!(same.to_vec().unwrap(), all_kinds());
        assert_eq!(same.len(), 7);
        assert_eq!(same.format().unwrap(), "8s8sdqxxxxxx?xxxxxxxx?32s");

        same.set(3, "8 bytes.").unwrap();
        same.set(0, 5.5).unwrap();
        same.set(4, false).unwrap();
        same.set(6, b"").unwrap();
        assert_eq!(list.get(3).unwrap(), "8 bytes.".into());
        assert_eq!(list.get(0).unwrap(), 5.5.into());
        assert_eq!(list.get(6).unwrap(), b"".into());
        assert_eq!(list.count(false).unwrap(), 1);
        assert_eq!(list.count(0).unwrap(), 0);
        assert_eq!(list.index(true).unwrap(), Some(5));
        assert_eq!(list.index("nowhere").unwrap(), None);
        list.unlink().unwrap();
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        let list = ShareableList::new(["seven..", "x"]).unwrap();
        let error = list.set(0, "nine chars").unwrap_err().to_string();
        assert!(error.contains("exceeds the 8 bytes"), "{error}");
        let error = list.set(1, b"ends\0").unwrap_err().to_string();
        assert!(error.contains("zero byte"), "{error}");
        for error in [list.set(2, 1).unwrap_err(), list.get(2).unwrap_err()] {
            assert!(error.to_string().contains("out of range"), "{error}");
        }
        assert_eq!(list.to_vec().unwrap(), ["seven..".into(), "x".into()]);
        list.unlink().unwrap();
    }

    #[test]
    fn an_empty_list_is_one() {
        let list = ShareableList::new(Vec::<ShareableItem>::new()).unwrap();
        assert_eq!(list.shared_memory().size(), 16);
        let bytes = postcard::to_stdvec(&list).unwrap();
        let same: ShareableList = postcard::from_bytes(&bytes).unwrap();
        assert!(same.is_empty() && same.format().unwrap().is_empty());
        list.unlink().unwrap();
    }

    #[test]
    fn what_is_no_list_is_refused() {
        let block = SharedMemory::create(None, 100).unwrap();
        let attach = |words: &[u64]| {
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            block.write(0, &bytes).unwrap();
            ShareableList::attach(block.name()).map(|list| list.len())
        };
        assert_eq!(attach(&[0, 0]).unwrap(), 0);
        assert_eq!(attach(&[1, 0, 8]).unwrap(), 1);
        assert_eq!(attach(&[2, 0, 8, 16]).unwrap(), 2);
        for words in [
            &[0, 1][..],
            &[1, 0, 0],
            &[1, 0, 100],
            &[1, 0, u64::MAX],
            &[2, 0, 16, 8],
            &[5, 0, 8, 16, 24, 32, 40],
            &[u64::MAX, 0],
            &[u64::MAX / 25, 0],
        ] {
            let error = attach(words).unwrap_err().to_string();
            assert!(error.contains("it holds none"), "{words:?}: {error}");
        }
        block.unlink().unwrap();
    }
}
