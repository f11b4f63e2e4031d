//! The casblob of bazel-remote, a seekable container: a blob in pieces, each compressed on its own, behind a table of
//! their offsets.
//!
//! ```text
//!  0  u32     0x184D2A50, the mark of a zstd frame that decoders skip
//!  4  u32     length of the rest of the table: 21 + 8 n
//!  8  i64     size of the blob in bytes, more than 0
//! 16  u8      0: plain pieces; 1: each piece is a zstd frame
//! 17  u32     size of a piece in bytes, except the last: 1 MiB
//! 21  i64     n: number of pieces and one more
//! 29  i64[n]  offset of each piece in the file, and the end of the last one: the size of the file
//!     data
//! ```
//!
//! All numbers are little-endian. As the table is a frame to skip, the file as a whole is a zstd stream of the blob.

mod decoder;
mod encoder;
mod header;

pub(crate) use self::decoder::{decode, decode_piece};
pub(crate) use self::encoder::{Encoder, encode};
pub(crate) use self::header::{Header, MIN_FILE_SIZE_BYTES, PIECE_SIZE_BYTES, header_size_bytes, max_file_size_bytes};
