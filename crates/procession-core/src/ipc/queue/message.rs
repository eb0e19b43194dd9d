//! `Message`: what a queue delivered.
//!
//! Used by the faces and the pool, which decode it and drop it. It belongs to this process: if the process dies, the
//! message goes with it, together with the handles in it.

use crate::error::Result;
use crate::shm::{BlockId, family, handles::Reading, message};

/// A message that this process has taken out of a queue.
#[derive(Debug)]
pub struct Message(Body);

#[derive(Debug)]
enum Body {
    Inline(Vec<u8>),
    Block(message::Message),
}

impl Message {
    pub(super) const fn inline(bytes: Vec<u8>) -> Self {
        Self(Body::Inline(bytes))
    }

    pub(super) const fn block(message: message::Message) -> Self {
        Self(Body::Block(message))
    }

    /// Its bytes. Those of a large message lie in the heap, where the sender put them.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        match &self.0 {
            Body::Inline(bytes) => bytes,
            Body::Block(message) => message.payload(),
        }
    }

    /// What the handles in it name.
    #[must_use]
    pub fn handles(&self) -> Vec<Option<BlockId>> {
        match &self.0 {
            Body::Inline(_) => Vec::new(),
            Body::Block(message) => message.handles(),
        }
    }

    /// Lets deserialisers on this thread resolve the handles of this message until the value is dropped.
    ///
    /// # Errors
    /// This process belongs to no family.
    pub fn begin_reading(&self) -> Result<Reading> {
        match &self.0 {
            Body::Inline(_) => Ok(Reading::begin(family::id()?, Vec::new())),
            Body::Block(message) => message.begin_reading(),
        }
    }

    /// The message in the heap, if it has a block of its own; its bytes if not.
    ///
    /// # Errors
    /// The bytes, if it has none.
    pub fn into_block(self) -> std::result::Result<message::Message, Vec<u8>> {
        match self.0 {
            Body::Inline(bytes) => Err(bytes),
            Body::Block(message) => Ok(message),
        }
    }
}
