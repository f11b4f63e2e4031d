//! The table at the beginning of a casblob.

use blobaccess::{Error, Result};
use bytes::{BufMut, Bytes, BytesMut};

const MAGIC: u32 = 0x184D_2A50;

/// The size of the fields before the offsets, in bytes.
const FIXED_BYTES: u64 = 29;

/// The size of a piece before it is compressed, in bytes: what bazel-remote writes.
pub(crate) const PIECE_SIZE_BYTES: u64 = 1 << 20;

/// The size of the smallest casblob, in bytes: a table with one piece, and a byte of data.
pub(crate) const MIN_FILE_SIZE_BYTES: u64 = FIXED_BYTES + 2 * 8 + 1;

/// Returns the size of the table, in bytes, for a blob of this size in pieces of 1 MiB.
pub(crate) const fn header_size_bytes(blob_size_bytes: u64) -> u64 {
    FIXED_BYTES + 8 * (blob_size_bytes.div_ceil(PIECE_SIZE_BYTES) + 1)
}

/// Returns the size, in bytes, that a casblob of a blob of this size has at most: with pieces that cannot be compressed.
///
/// A zstd frame has up to 18 bytes of header, and as many of a checksum as 4. Each block of up to 128 KiB has 3 bytes, and is
/// stored as it is if it would grow (RFC 8878, sections 3.1.1 and 3.1.1.2).
pub(crate) const fn max_file_size_bytes(blob_size_bytes: u64) -> u64 {
    const FRAME_BYTES: u64 = 18 + 4;
    const BLOCK_BYTES: u64 = 128 << 10;
    let (pieces, blocks) = (blob_size_bytes.div_ceil(PIECE_SIZE_BYTES), blob_size_bytes.div_ceil(BLOCK_BYTES));
    let overhead = header_size_bytes(blob_size_bytes).saturating_add(pieces * FRAME_BYTES + blocks * 3);
    blob_size_bytes.saturating_add(overhead)
}

/// The table at the beginning of a casblob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) blob_size_bytes: u64,
    pub(crate) compressed: bool,
    pub(crate) piece_size_bytes: u64,
    /// The offset of each piece, and the end of the last one.
    pub(crate) offsets: Vec<u64>,
}

impl Header {
    /// Returns the size of the table that begins with `beginning`, in bytes. It takes at least 29 bytes.
    ///
    /// # Errors
    ///
    /// `DataLoss` if this is not the beginning of a casblob.
    pub(crate) fn size_of(beginning: &[u8]) -> Result<u64> {
        let count = u64_at(beginning, 21).filter(|count| (2..1 << 40).contains(count)).ok_or_else(not_a_casblob)?;
        if u32_at(beginning, 0) != Some(MAGIC) || u32_at(beginning, 4).map(u64::from) != Some(21 + 8 * count) {
            return Err(not_a_casblob());
        }
        Ok(FIXED_BYTES + 8 * count)
    }

    /// Reads the table at the beginning of an object of `file_size_bytes` bytes.
    ///
    /// # Errors
    ///
    /// `DataLoss` if the table contradicts itself or that size.
    pub(crate) fn read(beginning: &[u8], file_size_bytes: u64) -> Result<Self> {
        let size = Self::size_of(beginning)?;
        let table = usize::try_from(size).ok().and_then(|size| beginning.get(29..size)).ok_or_else(not_a_casblob)?;
        let offsets: Vec<u64> = table.chunks_exact(8).filter_map(|bytes| u64_at(bytes, 0)).collect();
        let blob_size_bytes = u64_at(beginning, 8).unwrap_or_default();
        let piece_size_bytes = u32_at(beginning, 17).map_or(0, u64::from);
        let compressed = match beginning.get(16) {
            Some(0) => false,
            Some(1) => true,
            other => return Err(Error::data_loss(format!("casblob is compressed in an unknown way: {other:?}"))),
        };
        let rises = offsets.windows(2).all(|pair| pair.first() < pair.last());
        let pieces = offsets.len().saturating_sub(1);
        let fits = blob_size_bytes > 0
            && piece_size_bytes > 0
            && u64::try_from(pieces) == Ok(blob_size_bytes.div_ceil(piece_size_bytes))
            && offsets.first() == Some(&size)
            && offsets.last() == Some(&file_size_bytes);
        if !rises || !fits || i64::try_from(blob_size_bytes).is_err() {
            return Err(Error::data_loss(format!(
                "table of a casblob does not fit: {pieces} pieces of {piece_size_bytes} bytes for a blob of \
                 {blob_size_bytes} bytes in a file of {file_size_bytes} bytes"
            )));
        }
        Ok(Self { blob_size_bytes, compressed, piece_size_bytes, offsets })
    }

    /// Returns the table as bytes.
    pub(crate) fn to_bytes(&self) -> Bytes {
        let count = u64::try_from(self.offsets.len()).unwrap_or(u64::MAX);
        let mut bytes = BytesMut::with_capacity(29 + 8 * self.offsets.len());
        bytes.put_u32_le(MAGIC);
        bytes.put_u32_le(u32::try_from(21 + 8 * count).unwrap_or(u32::MAX));
        bytes.put_u64_le(self.blob_size_bytes);
        bytes.put_u8(u8::from(self.compressed));
        bytes.put_u32_le(u32::try_from(self.piece_size_bytes).unwrap_or(u32::MAX));
        bytes.put_u64_le(count);
        self.offsets.iter().for_each(|offset| bytes.put_u64_le(*offset));
        bytes.freeze()
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn not_a_casblob() -> Error {
    Error::data_loss("object is not a casblob")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Header {
        Header {
            blob_size_bytes: (2 << 20) + 5,
            compressed: true,
            piece_size_bytes: 1 << 20,
            offsets: vec![61, 100, 200, 300],
        }
    }

    #[test]
    fn a_table_is_laid_out_as_documented() {
        let bytes = sample().to_bytes();
        assert_eq!(bytes.len(), 61);
        assert_eq!(header_size_bytes((2 << 20) + 5), 61);
        assert_eq!(&bytes[..8], [0x50, 0x2A, 0x4D, 0x18, 21 + 32, 0, 0, 0]);
        assert_eq!(&bytes[8..16], [5, 0, 0x20, 0, 0, 0, 0, 0]);
        assert_eq!(&bytes[16..29], [1, 0, 0, 0x10, 0, 4, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(&bytes[29..37], [61, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(Header::read(&bytes, 300).unwrap(), sample());
    }

    #[test]
    fn a_table_that_contradicts_itself_is_refused() {
        let good = sample();
        for bad in [
            Header { offsets: vec![61, 100, 100, 300], ..good.clone() },
            Header { offsets: vec![61, 100, 300], ..good.clone() },
            Header { offsets: vec![60, 100, 200, 300], ..good.clone() },
            Header { blob_size_bytes: 0, ..good.clone() },
            Header { piece_size_bytes: 0, ..good.clone() },
            Header { blob_size_bytes: 5 << 20, ..good.clone() },
        ] {
            assert!(Header::read(&bad.to_bytes(), 300).is_err(), "{bad:?}");
        }
        assert!(Header::read(&good.to_bytes(), 301).is_err());
        assert!(Header::read(&good.to_bytes()[..60], 300).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), size in any::<u64>()) {
            drop(Header::read(&bytes, size));
            let mut begun = sample().to_bytes().to_vec();
            begun.truncate(29);
            begun.extend(bytes);
            drop(Header::read(&begun, size));
        }
    }
}
