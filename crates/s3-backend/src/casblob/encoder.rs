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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::casblob::{encode, max_file_size_bytes};

    #[test]
    fn no_casblob_is_larger_than_its_bound() {
        // Numbers that cannot be compressed, by `SplitMix64`.
        let mut state = 7_u64;
        let mut random = || {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mixed = (state ^ state >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            (mixed ^ mixed >> 27).to_le_bytes()[3]
        };
        let contents: Vec<u8> = (0..=(2 << 20)).map(|_| random()).collect();
        for size in
            [1, 2, 255, 256, 257, 65_791, 65_792, 131_071, 131_072, 131_073, 1 << 20, (1 << 20) + 1, contents.len()]
        {
            let file = encode(Bytes::copy_from_slice(&contents[..size])).unwrap();
            let stored: usize = file.into_iter().map(|piece| piece.len()).sum();
            let bound = max_file_size_bytes(u64::try_from(size).unwrap());
            assert!(u64::try_from(stored).unwrap() <= bound, "{size} bytes take {stored} of {bound}");
            assert!(bound - u64::try_from(stored).unwrap() < 128, "{size} bytes take {stored} of {bound}");
        }
    }
}
