//! A launch order: everything a child needs to know, as one message in the Heap that waits for it in its slot.
//!
//! The launching process writes it, the child claims it when it joins the family. If the child dies before that, whoever recovers its
//! slot frees the message, and with it the references it holds.

use super::StartMethod;
use crate::bytes::{Reader, Writer};

/// What a child is for; it decides how it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A process that the program started.
    Process,
    /// A member of a pool: it never outlives its parent.
    Worker,
    /// The template process that forks on request.
    Forkserver,
    /// The process that keeps descriptors and names for the family.
    Keeper,
}

/// The fields of an order, before the face's own bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) role: Role,
    pub(crate) method: StartMethod,
    pub(crate) daemon: bool,
    pub(crate) entry: u64,
    pub(crate) parent_pid: u32,
    pub(crate) parent_owner: u32,
    pub(crate) parent_name: String,
    pub(crate) name: String,
    pub(crate) memory_limit: Option<u64>,
    pub(crate) descriptors: Vec<i32>,
}

impl Order {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer
            .u8(self.role as u8)
            .u8(self.method as u8)
            .u8(u8::from(self.daemon))
            .u64(self.entry)
            .u32(self.parent_pid)
            .u32(self.parent_owner)
            .bytes(self.parent_name.as_bytes())
            .bytes(self.name.as_bytes())
            .u64(self.memory_limit.unwrap_or(0))
            .u32(u32::try_from(self.descriptors.len()).unwrap_or(u32::MAX));
        for descriptor in &self.descriptors {
            writer.u32(descriptor.cast_unsigned());
        }
        writer.finish()
    }

    /// The order at the front of a launch message, and the face's bytes
    /// behind it.
    pub(crate) fn decode(message: &[u8]) -> Option<(Self, &[u8])> {
        let mut reader = Reader::new(message);
        let role = match reader.u8()? {
            0 => Role::Process,
            1 => Role::Worker,
            2 => Role::Forkserver,
            3 => Role::Keeper,
            _ => return None,
        };
        let method = StartMethod::from_bits(reader.u8()?)?;
        let daemon = reader.u8()? != 0;
        let entry = reader.u64()?;
        let parent_pid = reader.u32()?;
        let parent_owner = reader.u32()?;
        let parent_name = reader.string()?;
        let name = reader.string()?;
        let memory_limit = Some(reader.u64()?).filter(|limit| *limit > 0);
        let count = reader.u32()?;
        let mut descriptors = Vec::new();
        for _ in 0..count {
            descriptors.push(reader.u32()?.cast_signed());
        }
        let order = Self {
            role,
            method,
            daemon,
            entry,
            parent_pid,
            parent_owner,
            parent_name,
            name,
            memory_limit,
            descriptors,
        };
        Some((order, reader.rest()))
    }
}

#[cfg(test)]
mod tests {
    use super::{Order, Role};
    use crate::process::StartMethod;

    #[test]
    fn an_order_survives_its_message() {
        let order = Order {
            role: Role::Worker,
            method: StartMethod::Forkserver,
            daemon: true,
            entry: 0xdead_beef,
            parent_pid: 41,
            parent_owner: 7,
            parent_name: "MainProcess".into(),
            name: "Process-1".into(),
            memory_limit: Some(1 << 30),
            descriptors: vec![5, 9],
        };
        let mut message = order.encode();
        message.extend_from_slice(b"face");
        assert_eq!(Order::decode(&message), Some((order, &b"face"[..])));
    }

    #[test]
    fn a_short_order_is_refused() {
        assert_eq!(Order::decode(&[0, 1]), None);
    }
}
