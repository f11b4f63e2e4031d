//! Writes casblobs.

use blobaccess::{Error, Result};
use bytes::{Buf, Bytes, BytesMut};

use super::{Header, PIECE_SIZE_BYTES, header_size_bytes};

/// The compression level: that of bazel-remote's fastest mode. At 0.7 GB/s, puts rarely wait for it.
const LEVEL: i32 = 1;

/// An encoder that compresses a blob piece by piece. The table is known once all pieces are.
pub(crate) struct Encoder {
    compressor: zstd::bulk::Compressor<'static>,
    piece: BytesMut,
    blob_size_bytes: u64,
    offsets: Vec<u64>,
    end: u64,
}

impl Encoder {
    /// Makes an encoder for a blob of this size, which is more than 0.
    pub(crate) fn new(blob_size_bytes: u64) -> Result<Self> {
        let mut compressor = zstd::bulk::Compressor::new(LEVEL).map_err(|error| failed(&error))?;
        // The checksum verifies a range that is read on its own.
        compressor.include_checksum(true).map_err(|error| failed(&error))?;
        let end = header_size_bytes(blob_size_bytes);
        Ok(Self { compressor, piece: BytesMut::new(), blob_size_bytes, offsets: vec![end], end })
    }

    /// Takes more of the blob, and returns the pieces that are complete.
    pub(crate) fn push(&mut self, mut contents: Bytes) -> Result<Vec<Bytes>> {
        let whole = usize::try_from(PIECE_SIZE_BYTES).unwrap_or(usize::MAX);
        let mut done = Vec::new();
        while !contents.is_empty() {
            let room = whole - self.piece.len();
            let taken = room.min(contents.len());
            if self.piece.is_empty() && taken == whole {
                let piece = contents.split_to(whole);
                done.push(self.compress(&piece)?);
                continue;
            }
            self.piece.extend_from_slice(contents.chunk().get(..taken).unwrap_or_default());
            contents.advance(taken);
            if self.piece.len() == whole {
                let piece = self.piece.split().freeze();
                done.push(self.compress(&piece)?);
            }
        }
        Ok(done)
    }

    /// Returns the last piece, if any is left, and the table.
    pub(crate) fn finish(mut self) -> Result<(Option<Bytes>, Header)> {
        let last = if self.piece.is_empty() {
            None
        } else {
            let piece = self.piece.split().freeze();
            Some(self.compress(&piece)?)
        };
        let header = Header {
            blob_size_bytes: self.blob_size_bytes,
            compressed: true,
            piece_size_bytes: PIECE_SIZE_BYTES,
            offsets: self.offsets,
        };
        Ok((last, header))
    }

    fn compress(&mut self, piece: &[u8]) -> Result<Bytes> {
        let frame = self.compressor.compress(piece).map_err(|error| failed(&error))?;
        self.end += u64::try_from(frame.len()).unwrap_or(u64::MAX);
        self.offsets.push(self.end);
        Ok(frame.into())
    }
}

/// Encodes a blob in memory. Returns the table and the pieces.
pub(crate) fn encode(contents: Bytes) -> Result<Vec<Bytes>> {
    let mut encoder = Encoder::new(u64::try_from(contents.len()).unwrap_or(u64::MAX))?;
    let mut data = encoder.push(contents)?;
    let (last, header) = encoder.finish()?;
    data.extend(last);
    data.insert(0, header.to_bytes());
    Ok(data)
}

fn failed(error: &std::io::Error) -> Error {
    Error::internal(format!("blob cannot be compressed: {error}"))
}
