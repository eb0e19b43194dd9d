//! What is said to the keeper, and what it answers: one message of the socket each.

use procession_sys::memory::FileId;
use procession_sys::socket;

use crate::bytes::{Reader, Writer};
use crate::shm::{BlockId, FamilyId};

/// The longest request: a name of the file system, and the fields around it.
pub(super) const LONGEST_REQUEST: usize = 512;

/// How many descriptors travel with one request.
pub(super) const MOST_AT_ONCE: usize = socket::MOST_DESCRIPTORS;

/// A request; descriptors travel beside it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Request {
    /// Keep the descriptors that come along for the message in the block, behind those that it has.
    Deposit(BlockId),
    /// Hand over the message's descriptor with the index.
    Claim(BlockId, u32),
    /// The block is about to be freed. Not answered.
    Release(BlockId),
    /// The object is about to get the name.
    Created(String, FileId),
    /// The object has the name no longer. Not answered.
    Unlinked(String, FileId),
}

/// An answer; with a claim that was granted comes the descriptor.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(super) enum Answer {
    /// Done.
    Done = 1,
    /// It has no such descriptor.
    Unknown = 2,
    /// It has no room for more descriptors.
    Full = 3,
    /// The request made no sense, or came from another family.
    Refused = 4,
}

impl Request {
    pub(super) fn is_answered(&self) -> bool {
        !matches!(self, Self::Release(_) | Self::Unlinked(..))
    }

    pub(super) fn encode(&self, family: FamilyId) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.u64(family.0 as u64).u64((family.0 >> 64) as u64);
        match self {
            Self::Deposit(block) => writer.u8(0).u64(block.to_bits()),
            Self::Claim(block, index) => writer.u8(1).u64(block.to_bits()).u32(*index),
            Self::Release(block) => writer.u8(2).u64(block.to_bits()),
            Self::Created(name, object) => named(writer.u8(3), name, *object),
            Self::Unlinked(name, object) => named(writer.u8(4), name, *object),
        };
        writer.finish()
    }

    /// `None` if it makes no sense or is meant for another family's keeper.
    pub(super) fn decode(bytes: &[u8], family: FamilyId) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let low = u128::from(reader.u64()?);
        if FamilyId(u128::from(reader.u64()?) << 64 | low) != family {
            return None;
        }
        let kind = reader.u8()?;
        if kind <= 2 {
            let block = BlockId::from_bits(reader.u64()?)?;
            return Some(match kind {
                0 => Self::Deposit(block),
                1 => Self::Claim(block, reader.u32()?),
                _ => Self::Release(block),
            });
        }
        let object = FileId {
            device: reader.u64()?,
            inode: reader.u64()?,
        };
        let name = reader.string()?;
        match kind {
            3 => Some(Self::Created(name, object)),
            4 => Some(Self::Unlinked(name, object)),
            _ => None,
        }
    }
}

fn named<'a>(writer: &'a mut Writer, name: &str, object: FileId) -> &'a mut Writer {
    writer
        .u64(object.device)
        .u64(object.inode)
        .bytes(name.as_bytes())
}

impl Answer {
    pub(super) fn decode(byte: u8) -> Option<Self> {
        [Self::Done, Self::Unknown, Self::Full, Self::Refused]
            .into_iter()
            .find(|answer| *answer as u8 == byte)
    }
}

#[cfg(test)]
mod tests {
    use super::Request;
    use crate::shm::{BlockId, FamilyId};
    use procession_sys::memory::FileId;

    #[test]
    fn requests_survive_the_way() {
        let family = FamilyId(u128::MAX - 5);
        let block = BlockId::from_bits(77).unwrap();
        let object = FileId {
            device: 3,
            inode: u64::MAX,
        };

        for request in [
            Request::Deposit(block),
            Request::Claim(block, 9),
            Request::Release(block),
            Request::Created("psm_x".to_owned(), object),
            Request::Unlinked("ä".to_owned(), object),
        ] {
            let bytes = request.encode(family);
            assert_eq!(Request::decode(&bytes, family), Some(request));
            assert_eq!(Request::decode(&bytes, FamilyId(1)), None);
            assert_eq!(Request::decode(&bytes[..bytes.len() - 1], family), None);
        }
    }
}
