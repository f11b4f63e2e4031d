//! A range of an object, as it was read: lent where it lies, or shared as bytes.

use std::fmt::{self, Debug, Formatter};
use std::ops::{Deref, Range};

use bytes::{Buf as _, Bytes};

use crate::block::Written;
use crate::device::ReadBuffer;

/// The kinds of memory that an excerpt may lie in.
enum Source {
    Shared(Bytes),
    /// The memory of a chunk that is being filled elsewhere.
    Written(Written),
    /// A buffer that a device was read into.
    Buffer(ReadBuffer),
}

/// A range of an object. It holds its memory and no lock.
pub(crate) struct Excerpt {
    source: Source,
    range: Range<usize>,
    is_from_device: bool,
}

impl Excerpt {
    fn whole(source: Source, length: usize, is_from_device: bool) -> Self {
        Self { source, range: 0..length, is_from_device }
    }

    /// Takes several ranges that were joined, some of which may be from a device.
    pub(crate) fn joined(bytes: Bytes, is_from_device: bool) -> Self {
        let length = bytes.len();
        Self::whole(Source::Shared(bytes), length, is_from_device)
    }

    /// Returns whether a part of it is from a device, so that it must be verified.
    pub(crate) fn is_from_device(&self) -> bool {
        self.is_from_device
    }

    /// Narrows it to a range of it, as far as there is one.
    pub(crate) fn narrow(&mut self, range: &Range<usize>) {
        let end = self.range.end.min(self.range.start.saturating_add(range.end));
        self.range = end.min(self.range.start.saturating_add(range.start))..end;
    }

    /// Shares the bytes. That allocates, unless they lie in shared memory already.
    pub(crate) fn into_bytes(self) -> Bytes {
        let mut bytes = match self.source {
            Source::Shared(bytes) => bytes,
            Source::Written(written) => Bytes::from_owner(written),
            Source::Buffer(buffer) => Bytes::from_owner(buffer),
        };
        bytes.truncate(self.range.end);
        bytes.advance(self.range.start.min(bytes.len()));
        bytes
    }
}

impl From<Bytes> for Excerpt {
    fn from(bytes: Bytes) -> Self {
        Self::joined(bytes, false)
    }
}

impl From<Written> for Excerpt {
    fn from(written: Written) -> Self {
        let length = written.as_ref().len();
        Self::whole(Source::Written(written), length, false)
    }
}

impl From<ReadBuffer> for Excerpt {
    fn from(buffer: ReadBuffer) -> Self {
        let length = buffer.as_ref().len();
        Self::whole(Source::Buffer(buffer), length, true)
    }
}

impl Deref for Excerpt {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let all = match &self.source {
            Source::Shared(bytes) => bytes,
            Source::Written(written) => written.as_ref(),
            Source::Buffer(buffer) => buffer.as_ref(),
        };
        all.get(self.range.clone()).unwrap_or_default()
    }
}

impl Debug for Excerpt {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Excerpt")
            .field("length", &self.len())
            .field("is_from_device", &self.is_from_device)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::ReadBuffers;

    #[test]
    fn a_range_of_a_range_is_lent_and_shared_alike() {
        let mut buffer = ReadBuffers::new(1).take(10);
        buffer.as_mut().copy_from_slice(b"0123456789");
        for mut excerpt in [Excerpt::from(Bytes::from_static(b"0123456789")), Excerpt::from(buffer)] {
            excerpt.narrow(&(2..9));
            assert_eq!(&*excerpt, b"2345678");
            excerpt.narrow(&(1..3));
            assert_eq!(&*excerpt, b"34");
            assert_eq!(excerpt.into_bytes(), "34");
        }
        let mut none = Excerpt::from(Bytes::from_static(b"012"));
        none.narrow(&(5..9));
        assert!(none.is_empty());
        assert_eq!(none.into_bytes(), "");
    }
}
