//! Frames: how messages follow each other on a byte stream, in the format of Python's `multiprocessing.connection`.
//!
//! ```text
//! short   | length: i32 big-endian, 0 ..= 0x7fff_ffff |                           payload |
//! long    | -1: i32 big-endian                        | length: u64 big-endian  | payload |
//! ```
//!
//! Used by [`super::Connection`]. Everything here is bytes in memory: [`Incoming`] says how many bytes the frame still
//! lacks, never more, so that nothing is read ahead and polling the descriptor stays right. A declared length is only
//! believed as far as bytes arrive: memory grows by [`GROWTH`] at a time.

use crate::{Error, ErrorKind, Result};

/// The longest payload with the short header.
pub(crate) const LONGEST_SHORT: u64 = 0x7fff_ffff;

/// How much memory a declared length may claim ahead of the bytes.
pub(crate) const GROWTH: usize = 1 << 20;

const SHORT: usize = 4;
const LONG: usize = 12;

/// The bytes in front of a payload.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    bytes: [u8; LONG],
    len: usize,
}

impl Header {
    pub(crate) fn of(payload: u64) -> Self {
        let mut bytes = [0; LONG];

        match u32::try_from(payload) {
            Ok(short) if payload <= LONGEST_SHORT => {
                bytes[..SHORT].copy_from_slice(&short.to_be_bytes());
                Self { bytes, len: SHORT }
            }
            _ => {
                bytes[..SHORT].copy_from_slice(&(-1_i32).to_be_bytes());
                bytes[SHORT..].copy_from_slice(&payload.to_be_bytes());
                Self { bytes, len: LONG }
            }
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// A frame that arrives piece by piece. What has arrived stays here when a receive is given up in the middle.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    header: [u8; LONG],
    header_len: usize,
    /// The payload's length, once the header is complete.
    declared: Option<usize>,
    pub(crate) body: Vec<u8>,
}

impl Incoming {
    /// Has nothing of the frame arrived?
    pub(crate) fn is_empty(&self) -> bool {
        self.header_len == 0
    }

    /// The payload's length, once it is known.
    pub(crate) fn declared(&self) -> Option<usize> {
        self.declared
    }

    /// Where the header's next bytes go.
    pub(crate) fn header_space(&mut self) -> &mut [u8] {
        let end = if self.header_len < SHORT { SHORT } else { LONG };

        &mut self.header[self.header_len..end]
    }

    /// So many bytes were put there.
    ///
    /// # Errors
    /// A negative length other than -1, or one that no memory can hold.
    pub(crate) fn header_filled(&mut self, count: usize) -> Result<()> {
        self.header_len += count;

        let short = i32::from_be_bytes(self.header[..SHORT].try_into().unwrap_or_default());
        let declared = match (self.header_len, short) {
            (SHORT, 0..) => u64::from(short.unsigned_abs()),
            (LONG, -1) => u64::from_be_bytes(self.header[SHORT..].try_into().unwrap_or_default()),
            (SHORT, ..=-2) => return Err(not_a_frame(i128::from(short))),
            _ => return Ok(()),
        };

        match usize::try_from(declared) {
            Ok(declared) if isize::try_from(declared).is_ok() => {
                self.declared = Some(declared);
                Ok(())
            }
            _ => Err(not_a_frame(i128::from(declared))),
        }
    }

    /// How many bytes of the payload are lacking, and memory for some of them reserved in `body`.
    ///
    /// # Errors
    /// No memory.
    pub(crate) fn reserve(&mut self) -> Result<usize> {
        let lacking = self.declared.unwrap_or(0).saturating_sub(self.body.len());
        let spare = self.body.capacity() - self.body.len();

        if lacking > 0 && spare == 0 {
            // Growing by what has arrived at least keeps the copying of a long payload linear.
            let growth = lacking.min(GROWTH.max(self.body.len()));
            self.body.try_reserve_exact(growth).map_err(|error| {
                Error::caused(
                    ErrorKind::NoMemory,
                    format!("receive a message of {} bytes", self.body.len() + lacking),
                    error,
                )
            })?;
        }
        Ok(lacking)
    }

    /// The complete payload; the next frame begins.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(self).body
    }
}

#[cold]
fn not_a_frame(length: i128) -> Error {
    Error::new(
        ErrorKind::Protocol,
        format!(
            "receive a message: a length of {length} bytes was declared, so the other end does not speak this protocol"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::{GROWTH, Header, Incoming, LONG, LONGEST_SHORT};
    use crate::ErrorKind;
    use proptest::prelude::*;

    #[test]
    fn headers_are_those_of_python() {
        assert_eq!(Header::of(0).as_bytes(), [0; 4]);
        assert_eq!(
            Header::of(LONGEST_SHORT).as_bytes(),
            [0x7f, 0xff, 0xff, 0xff]
        );
        assert_eq!(
            Header::of(LONGEST_SHORT + 1).as_bytes(),
            [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0x80, 0, 0, 0]
        );
    }

    #[test]
    fn a_huge_declared_length_takes_no_memory() {
        let mut incoming = Incoming::default();
        let header = Header::of(1 << 40);
        feed_header(&mut incoming, header.as_bytes(), 1).unwrap();

        assert_eq!(incoming.declared(), Some(1 << 40));
        assert_eq!(incoming.reserve().unwrap(), 1 << 40);
        assert!(incoming.body.capacity() <= GROWTH);
    }

    #[test]
    fn nonsense_lengths_are_refused() {
        for header in [
            &(-2_i32).to_be_bytes()[..],
            &i32::MIN.to_be_bytes(),
            &[0xff; LONG],
        ] {
            let refused = feed_header(&mut Incoming::default(), header, 12).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Protocol);
        }
    }

    /// Feeds a header in pieces of at most `step` bytes, and returns how many it took.
    fn feed_header(incoming: &mut Incoming, bytes: &[u8], step: usize) -> crate::Result<usize> {
        let mut taken = 0;
        while incoming.declared().is_none() {
            let space = incoming.header_space();
            let count = space.len().min(step).min(bytes.len() - taken);
            if count == 0 {
                break;
            }
            space[..count].copy_from_slice(&bytes[taken..taken + count]);
            taken += count;
            incoming.header_filled(count)?;
        }
        Ok(taken)
    }

    proptest! {
        #[test]
        fn frames_survive_any_cutting(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8),
            long in any::<bool>(),
            step in 1_usize..64,
        ) {
            let mut stream = Vec::new();
            for message in &messages {
                if long {
                    stream.extend((-1_i32).to_be_bytes());
                    stream.extend((message.len() as u64).to_be_bytes());
                } else {
                    stream.extend(Header::of(message.len() as u64).as_bytes());
                }
                stream.extend(message);
            }

            let mut rest = &stream[..];
            for message in &messages {
                let mut incoming = Incoming::default();
                prop_assert!(incoming.is_empty());
                let taken = feed_header(&mut incoming, rest, step).unwrap();
                rest = &rest[taken..];
                loop {
                    let lacking = incoming.reserve().unwrap();
                    if lacking == 0 {
                        break;
                    }
                    let count = lacking.min(step).min(incoming.body.capacity() - incoming.body.len());
                    prop_assert!(count > 0);
                    incoming.body.extend_from_slice(&rest[..count]);
                    rest = &rest[count..];
                }
                prop_assert_eq!(&incoming.take(), message);
            }
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn any_bytes_are_a_length_or_an_error(bytes in prop::collection::vec(any::<u8>(), LONG)) {
            let mut incoming = Incoming::default();
            match feed_header(&mut incoming, &bytes, LONG) {
                Ok(_) => prop_assert!(incoming.declared().is_some()),
                Err(error) => prop_assert_eq!(error.kind(), ErrorKind::Protocol),
            }
        }
    }
}
