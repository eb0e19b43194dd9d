//! [`SharedMemory`]: a block of bytes with a name, in the format of Python's `multiprocessing.shared_memory`.
//!
//! Used by programs that share raw bytes with strangers, Python programs above all; within one family `Array` and
//! `Value` are safer and faster. What a process that dies in here leaves is described in
//! `procession_core::shm::named`.

use std::fmt;
use std::sync::Arc;

use procession_core::shm::named::NamedMemory;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::error::Result;

/// A block of bytes that processes share by name, with Python programs too.
///
/// One process creates it; others attach by name, or receive the handle as an
/// argument or in a message and are attached by that. Attaching never unlinks:
/// the block exists until somebody calls [`unlink`](Self::unlink). If its
/// creator is killed before, the block is removed when the creator's family
/// has ended.
///
/// There is no lock: a [`read`](Self::read) that races with another process's
/// [`write`](Self::write) may see parts of both. Put a `Lock` beside it where
/// that matters.
///
/// # Examples
///
/// ```no_run
/// use procession::SharedMemory;
///
/// # fn main() -> procession::Result<()> {
/// let block = SharedMemory::create(None, 1024)?;
/// block.write(0, b"hello")?;
///
/// // In any process of this user; in Python: SharedMemory(name="psm_...")
/// let same = SharedMemory::attach(block.name())?;
/// assert_eq!(same.read(0, 5)?, b"hello");
///
/// block.unlink()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SharedMemory {
    memory: Arc<NamedMemory>,
}

impl SharedMemory {
    /// Creates a block of `size` zero bytes, which only this user may access.
    ///
    /// Without a name it gets a fresh one: `psm_` and eight hexadecimal
    /// digits. All of its memory is reserved at once, so that a full
    /// `/dev/shm` is an error here and never a crash at some later access.
    ///
    /// # Errors
    ///
    /// The name is taken or is no single path entry, `size` is 0, or there is
    /// no room.
    pub fn create(name: Option<&str>, size: usize) -> Result<Self> {
        let memory = NamedMemory::create(name, size)?;
        Ok(Self {
            memory: Arc::new(memory),
        })
    }

    /// Attaches to the block of that name.
    ///
    /// # Errors
    ///
    /// There is no such block, this user may not access it, or there is no
    /// address space for it.
    pub fn attach(name: &str) -> Result<Self> {
        let memory = NamedMemory::attach(name)?;
        Ok(Self {
            memory: Arc::new(memory),
        })
    }

    /// The name to attach by.
    #[must_use]
    pub fn name(&self) -> &str {
        self.memory.name()
    }

    /// The size in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.memory.len()
    }

    /// A copy of `count` bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// The range ends beyond the block.
    pub fn read(&self, offset: usize, count: usize) -> Result<Vec<u8>> {
        // An absurd count is refused before memory is allocated for it.
        self.memory.read(offset.saturating_add(count), &mut [])?;
        let mut bytes = vec![0; count];
        self.memory.read(offset, &mut bytes)?;
        Ok(bytes)
    }

    /// Copies bytes from `offset` on into a buffer, which is filled.
    ///
    /// # Errors
    ///
    /// The range ends beyond the block.
    pub fn read_into(&self, offset: usize, buffer: &mut [u8]) -> Result<()> {
        Ok(self.memory.read(offset, buffer)?)
    }

    /// Copies `bytes` into the block, from `offset` on.
    ///
    /// # Errors
    ///
    /// The range ends beyond the block; nothing was written then.
    pub fn write(&self, offset: usize, bytes: &[u8]) -> Result<()> {
        Ok(self.memory.write(offset, bytes)?)
    }

    /// A copy of the whole block.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.size()];
        // The range is the block itself.
        let copied = self.memory.read(0, &mut bytes);
        debug_assert!(copied.is_ok(), "a block holds its own bytes");
        bytes
    }

    /// The first of [`size`](Self::size) bytes, for code that does its own
    /// access: valid while this handle or a clone of it lives.
    ///
    /// Other processes may write there at any time. Use atomics or volatile
    /// and copying access; never make a reference to plain data.
    #[must_use]
    pub fn as_ptr(&self) -> *mut u8 {
        self.memory.base().as_ptr()
    }

    /// Ends this handle's access; the memory is unmapped with the last clone.
    /// Dropping does the same. The block itself stays.
    pub fn close(self) {
        drop(self);
    }

    /// Removes the name, everywhere. Whoever is attached keeps the bytes, and
    /// the memory is given back when the last of them has closed.
    ///
    /// # Errors
    ///
    /// The block was unlinked before. A block created since then under the
    /// same name is left alone.
    pub fn unlink(&self) -> Result<()> {
        Ok(self.memory.unlink()?)
    }
}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMemory")
            .field("name", &self.name())
            .field("size", &self.size())
            .finish()
    }
}

/// As its name: whoever receives it is attached by that.
impl Serialize for SharedMemory {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for SharedMemory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::attach(&name).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::SharedMemory;

    #[test]
    fn a_received_handle_is_the_same_block() {
        let block = SharedMemory::create(None, 32).unwrap();
        let bytes = postcard::to_stdvec(&block).unwrap();
        let received: SharedMemory = postcard::from_bytes(&bytes).unwrap();
        received.write(3, b"abc").unwrap();

        assert_eq!(block.read(2, 5).unwrap(), b"\0abc\0");
        assert_eq!(block.to_vec().len(), 32);
        assert!(block.read(1, usize::MAX).is_err());
        assert!(block.read(32, 0).unwrap().is_empty());
        let mut four = [0; 4];
        block.read_into(3, &mut four).unwrap();
        assert_eq!(&four, b"abc\0");
        assert_eq!(
            format!("{block:?}"),
            format!("SharedMemory {{ name: \"{}\", size: 32 }}", block.name())
        );

        block.unlink().unwrap();
        received.close();
        assert!(postcard::from_bytes::<SharedMemory>(&bytes).is_err());
        assert!(block.unlink().is_err());
    }
}
