//! Reads a serialized message field by field from a stream, so that not all of it need be in memory.

use bytes::{Buf, Bytes, BytesMut};
use futures::TryStreamExt;

use crate::{BlobStream, Error, Result};

/// The most bytes that are reserved for a payload whose size is announced.
const MAX_RESERVED_BYTES: usize = 64 << 10;

/// Why a message could not be read.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The stream ended so. It says more than anything that was made of the bytes before.
    Read(Error),
    /// The bytes are no message of the kind that was expected.
    Malformed(Error),
}

/// The wire type of strings, bytes and messages within messages.
const LENGTH_DELIMITED: u64 = 2;

/// The largest field number of the encoding.
const MAX_FIELD_NUMBER: u64 = (1 << 29) - 1;

/// A field whose payload comes next in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) number: u64,
    /// Where the payload begins, in bytes from the beginning of the message.
    pub(crate) offset: u64,
    pub(crate) size_bytes: u64,
}

/// A message on its way in, all of whose fields are length-delimited.
///
/// What the fields are may be wrong until the stream has ended well: it is verified as it flows.
#[derive(Debug)]
pub(crate) struct FieldReader {
    stream: BlobStream,
    /// The bytes that were received and not parsed yet.
    piece: Bytes,
    /// Where `piece` begins, in bytes from the beginning of the message.
    offset: u64,
    size_bytes: u64,
    /// Where the payload of the last field ends.
    payload_end: u64,
}

impl FieldReader {
    /// Reads the fields of the message that `stream` yields whole.
    pub(crate) fn new(stream: BlobStream) -> Self {
        let size_bytes = stream.remaining_bytes();
        Self { stream, piece: Bytes::new(), offset: 0, size_bytes, payload_end: 0 }
    }

    /// Reads the next field. The rest of the previous payload is skipped.
    ///
    /// `None` comes after the stream has ended well, and so found all of the message right.
    pub(crate) async fn next(&mut self) -> Result<Option<Field>, Failure> {
        while self.offset < self.payload_end {
            self.receive().await?;
            let left = usize::try_from(self.payload_end - self.offset).unwrap_or(usize::MAX);
            self.take(left.min(self.piece.len()));
        }
        let offset = self.offset;
        if offset == self.size_bytes {
            return self.drain().await.map(|()| None).map_err(Failure::Read);
        }
        let tag = self.varint().await?.map_err(|reason| {
            Failure::Malformed(Error::invalid_argument(format!(
                "field at offset {offset} has an invalid tag: {reason}"
            )))
        })?;
        let (number, wire_type) = (tag >> 3, tag & 7);
        if !(1..=MAX_FIELD_NUMBER).contains(&number) {
            let message = format!("field at offset {offset} has an invalid tag: its number is {number}");
            return Err(Failure::Malformed(Error::invalid_argument(message)));
        }
        let malformed = |what: String| {
            Failure::Malformed(Error::invalid_argument(format!("field with number {number} at offset {offset} {what}")))
        };
        if wire_type != LENGTH_DELIMITED {
            return Err(malformed(format!("has type {wire_type}, while {LENGTH_DELIMITED} was expected")));
        }
        let size_bytes = self.varint().await?.map_err(|reason| malformed(format!("has an invalid size: {reason}")))?;
        let left = self.size_bytes - self.offset;
        if size_bytes > left {
            // Also sizes that would overflow: no message is larger than its digest can say.
            let more = size_bytes - left;
            return Err(malformed(format!("has {size_bytes} bytes, but the message ends {more} bytes earlier")));
        }
        self.payload_end = self.offset + size_bytes;
        Ok(Some(Field { number, offset: self.offset, size_bytes }))
    }

    /// Reads the payload of `field`, the most recent one, unless it is larger than `max` bytes.
    ///
    /// It shares the memory of the stream where it arrived in one piece.
    pub(crate) async fn payload(&mut self, field: &Field, max: u64) -> Result<Bytes, Failure> {
        let size = usize::try_from(field.size_bytes).ok().filter(|_| field.size_bytes <= max);
        let size = size.ok_or_else(|| too_large(field, max))?;
        if self.piece.len() >= size {
            return Ok(self.take(size));
        }
        // What is announced takes no memory before it has come.
        let mut payload = BytesMut::with_capacity(size.min(MAX_RESERVED_BYTES));
        while payload.len() < size {
            self.receive().await?;
            let part = self.take((size - payload.len()).min(self.piece.len()));
            payload.extend_from_slice(&part);
        }
        Ok(payload.freeze())
    }

    /// Reads what is left, so that what is wrong with the stream itself comes out.
    pub(crate) async fn drain(&mut self) -> Result<()> {
        while self.stream.try_next().await?.is_some() {}
        Ok(())
    }

    /// Sees to it that there is at least one byte to look at; there must be more to come.
    async fn receive(&mut self) -> Result<(), Failure> {
        while self.piece.is_empty() {
            let piece = self.stream.try_next().await.map_err(Failure::Read)?;
            self.piece = piece.ok_or_else(|| Failure::Read(Error::internal("stream ended before its size")))?;
        }
        Ok(())
    }

    /// Takes up to `size` of the bytes that were received.
    fn take(&mut self, size: usize) -> Bytes {
        let taken = self.piece.split_to(size.min(self.piece.len()));
        self.offset += u64::try_from(taken.len()).unwrap_or(u64::MAX);
        taken
    }

    /// Reads a number of up to 64 bits, or says why there is none.
    async fn varint(&mut self) -> Result<Result<u64, &'static str>, Failure> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            if self.offset == self.size_bytes {
                return Ok(Err("the message ends within it"));
            }
            self.receive().await?;
            let Some(byte) = self.piece.first().copied() else { break };
            self.piece.advance(1);
            self.offset += 1;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && byte > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(Ok(value));
            }
        }
        Ok(Err("it has more than 64 bits"))
    }
}

#[cold]
fn too_large(field: &Field, max: u64) -> Failure {
    let Field { number, offset, size_bytes } = field;
    Failure::Malformed(Error::invalid_argument(format!(
        "field with number {number} at offset {offset} is {size_bytes} bytes, while at most {max} are permitted"
    )))
}

#[cfg(test)]
mod tests;
