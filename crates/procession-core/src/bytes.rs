//! Writing and reading the engine's own small records: fixed-width little-endian integers and length-prefixed bytes.
//!
//! Used for launch orders and pool reports, whose two ends are the same build of the engine. A reader never panics: a short or damaged
//! record is `None`.

/// Appends fields to a record.
#[derive(Debug, Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn u8(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }

    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// Bytes behind their length.
    pub(crate) fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.u64(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    pub(crate) fn finish(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

/// Takes fields off the front of a record, in the order they were written.
#[derive(Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(record: &'a [u8]) -> Self {
        Self(record)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        let bytes = self.take(4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        let bytes = self.take(8)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    }

    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u64()?).ok()?;
        self.take(length)
    }

    pub(crate) fn string(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    /// All that has not been read.
    pub(crate) fn rest(self) -> &'a [u8] {
        self.0
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(front)
    }
}

#[cfg(test)]
mod tests {
    use super::{Reader, Writer};

    #[test]
    fn fields_come_back_in_order() {
        let record = Writer::default()
            .u8(7)
            .u32(8)
            .bytes(b"name")
            .u64(u64::MAX)
            .finish();
        let mut reader = Reader::new(&record);
        assert_eq!(reader.u8(), Some(7));
        assert_eq!(reader.u32(), Some(8));
        assert_eq!(reader.string().as_deref(), Some("name"));
        assert_eq!(reader.u64(), Some(u64::MAX));
        assert_eq!(reader.u8(), None);
    }

    #[test]
    fn a_length_beyond_the_record_is_none() {
        let record = Writer::default().u64(1 << 40).finish();
        assert_eq!(Reader::new(&record).bytes(), None);
    }
}
