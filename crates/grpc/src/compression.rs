//! Zstandard, as streams of bounded memory.

#[cfg(feature = "server")]
use bytes::BytesMut;
use bytes::{Buf, Bytes};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use zstd::stream::raw::{DParameter, Decoder, Encoder, InBuffer, Operation, OutBuffer};

use blobaccess::{Error, ErrorKind, Result};

/// The largest window that a decoder takes on, as a power of two of bytes: 8 MiB, which RFC 8878 (section 3.1.1.1.2)
/// recommends decoders to support, and which every level up to 19 stays within. It bounds what one stream can make us
/// allocate, whatever its header says.
const MAX_WINDOW_LOG: u32 = 23;

/// The words of zstd for a window beyond the limit.
const TOO_MUCH_MEMORY: &str = "requires too much memory";

/// The size of the pieces that are handed out, in bytes: 128 KiB, the largest block of a frame.
const PIECE_BYTES: usize = 128 << 10;

/// The bytes of zstd that are accepted for each byte of a blob. A client that flushes the encoder after every byte
/// sends four. This limit, not only the size of the decoded contents, bounds frames without contents.
const MAX_EXPANSION: u64 = 16;

/// The bytes of zstd that are accepted in addition.
const MAX_EXPANSION_BYTES: u64 = 1 << 20;

/// Returns the maximum number of bytes that are taken as the compressed form of a blob of `size_bytes`.
pub(crate) fn max_encoded_bytes(size_bytes: u64) -> u64 {
    size_bytes.saturating_mul(MAX_EXPANSION).saturating_add(MAX_EXPANSION_BYTES)
}

type Pieces = BoxStream<'static, Result<Bytes>>;

/// Decodes any number of zstd frames, with or without content sizes.
///
/// A stream that ends within a frame, or that is not zstd, ends with an error of the kind `fault`. The contents are
/// produced as they are asked for, so that whoever knows their size can stop in time.
pub(crate) fn decode(compressed: Pieces, fault: ErrorKind) -> Pieces {
    let mut decoder = match Decoder::new() {
        Ok(decoder) => decoder,
        Err(error) => return fail(Error::internal("zstd decoder cannot be made").with_source(error)),
    };
    if let Err(error) = decoder.set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG)) {
        return fail(Error::internal("zstd decoder cannot be bounded").with_source(error));
    }
    let coder = Coder { source: compressed, input: Bytes::new(), operation: decoder, ended: false, at_end: true };
    stream::try_unfold((coder, fault), |(mut coder, fault)| async move {
        let piece = coder.decode_piece(fault).await?;
        Ok(if piece.is_empty() { None } else { Some((piece, (coder, fault))) })
    })
    .boxed()
}

/// Encodes `contents` as one zstd frame at `level`.
pub(crate) fn encode(contents: Pieces, level: i32) -> Pieces {
    let encoder = match Encoder::new(level) {
        Ok(encoder) => encoder,
        Err(error) => return fail(Error::internal("zstd encoder cannot be made").with_source(error)),
    };
    let coder = Coder { source: contents, input: Bytes::new(), operation: encoder, ended: false, at_end: false };
    stream::try_unfold(coder, |mut coder| async move {
        let piece = coder.encode_piece().await?;
        Ok(if piece.is_empty() { None } else { Some((piece, coder)) })
    })
    .boxed()
}

fn fail(error: Error) -> Pieces {
    stream::once(async move { Err(error) }).boxed()
}

struct Coder<O> {
    source: Pieces,
    /// The data that the source yielded and the operation has not taken.
    input: Bytes,
    operation: O,
    /// Whether the source has ended.
    ended: bool,
    /// Whether what was taken so far ends with a frame.
    at_end: bool,
}

impl<O: Operation> Coder<O> {
    /// Makes sure that there is input. Returns `false` once there is none left.
    async fn refill(&mut self) -> Result<bool> {
        while self.input.is_empty() && !self.ended {
            match self.source.try_next().await? {
                Some(piece) => self.input = piece,
                None => self.ended = true,
            }
        }
        Ok(!self.input.is_empty())
    }

    /// Takes as much input and makes as much output as fits.
    fn run(&mut self, output: &mut Vec<u8>) -> std::io::Result<usize> {
        let mut source = InBuffer::around(&self.input);
        let written = output.len();
        let hint = self.operation.run(&mut source, &mut OutBuffer::around_pos(output, written))?;
        let taken = source.pos();
        self.input.advance(taken);
        Ok(hint)
    }
}

impl Coder<Decoder<'static>> {
    /// Returns the next piece; empty at the end.
    async fn decode_piece(&mut self, fault: ErrorKind) -> Result<Bytes> {
        let mut output = Vec::new();
        loop {
            // A full buffer may have left output behind in the decoder, which comes without any input.
            let flushing = output.capacity() > 0 && output.len() == output.capacity();
            if flushing {
                return Ok(output.into());
            }
            if !self.refill().await? && self.at_end {
                return Ok(output.into());
            }
            if output.capacity() == 0 {
                output.reserve_exact(PIECE_BYTES);
            }
            let (before, left) = (output.len(), self.input.len());
            let hint = self.run(&mut output).map_err(|error| {
                let mut message = format!("zstd stream cannot be decoded: {error}");
                if message.contains(TOO_MUCH_MEMORY) {
                    message = format!("zstd frame has a window of more than {} bytes", 1_u64 << MAX_WINDOW_LOG);
                }
                Error::new(fault, message).with_source(error)
            })?;
            self.at_end = hint == 0;
            let stuck = output.len() == before && self.input.len() == left;
            if stuck && self.ended {
                return Err(Error::new(fault, "zstd stream ends within a frame"));
            }
        }
    }
}

impl Coder<Encoder<'static>> {
    /// Returns the next piece; empty at the end.
    async fn encode_piece(&mut self) -> Result<Bytes> {
        let broken = |error| Error::internal("zstd encoder failed").with_source(error);
        let mut output = Vec::with_capacity(PIECE_BYTES);
        while output.len() < output.capacity() && !self.at_end {
            if self.refill().await? {
                self.run(&mut output).map_err(broken)?;
            } else {
                let written = output.len();
                let mut buffer = OutBuffer::around_pos(&mut output, written);
                let left = self.operation.finish(&mut buffer, true).map_err(broken)?;
                self.at_end = left == 0;
            }
        }
        Ok(output.into())
    }
}

/// Encodes `contents` as one zstd frame; `None` if that is no smaller.
pub(crate) fn encode_at_once(contents: &[u8], level: i32) -> Option<Bytes> {
    let compressed = zstd::bulk::compress(contents, level).ok()?;
    (compressed.len() < contents.len()).then(|| compressed.into())
}

/// Joins the pieces of `stream`, up to `max` bytes.
#[cfg(feature = "server")]
pub(crate) async fn collect(mut stream: Pieces, max: usize) -> Result<Option<Bytes>> {
    let mut whole = BytesMut::new();
    while let Some(piece) = stream.try_next().await? {
        if whole.len() + piece.len() > max {
            return Ok(None);
        }
        whole.extend_from_slice(&piece);
    }
    Ok(Some(whole.freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(bytes: &[u8], size: usize) -> Pieces {
        let pieces: Vec<_> = bytes.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        stream::iter(pieces).boxed()
    }

    fn noise(size: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_le_bytes()[3]
        };
        // Half of it compresses.
        (0..size).map(|at| if at % 4096 < 2048 { next() } else { 7 }).collect()
    }

    async fn decoded(compressed: &[u8], size: usize) -> Result<Vec<u8>> {
        let whole: Vec<Bytes> = decode(pieces(compressed, size), ErrorKind::InvalidArgument).try_collect().await?;
        Ok(whole.concat())
    }

    #[tokio::test]
    async fn what_is_encoded_is_decoded_in_pieces_of_any_size() {
        for size in [0, 1, 100, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 1 << 20] {
            let contents = noise(size);
            let encoded: Vec<Bytes> = encode(pieces(&contents, 5000), 3).try_collect().await.unwrap();
            let encoded = encoded.concat();
            for piece in [1, 3, 1000, 1 << 20] {
                assert!(decoded(&encoded, piece).await.unwrap() == contents, "{size} bytes in pieces of {piece}");
            }
        }
    }

    #[tokio::test]
    async fn frames_follow_one_another_with_and_without_content_size() {
        let with = zstd::bulk::compress(b"with ", 1).unwrap();
        let mut without = Encoder::new(1).unwrap();
        let mut frame = vec![0; 1000];
        let first = without.run_on_buffers(b"without", &mut frame).unwrap().bytes_written;
        let (_, rest) = frame.split_at_mut(first);
        let mut out = OutBuffer::around(rest);
        without.finish(&mut out, true).unwrap();
        let size = first + out.pos();
        frame.truncate(size);
        assert_eq!(zstd::zstd_safe::get_frame_content_size(&frame).unwrap(), None);
        let both = [with, frame].concat();
        assert_eq!(decoded(&both, 2).await.unwrap(), b"with without");
    }

    #[tokio::test]
    async fn a_stream_that_ends_within_a_frame_or_is_none_is_an_error() {
        let whole = zstd::bulk::compress(&noise(10_000), 1).unwrap();
        for cut in [1, 4, 10, whole.len() / 2, whole.len() - 1] {
            let error = decoded(&whole[..cut], 1 << 20).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
            assert!(error.message().contains("within a frame"), "{error}");
        }
        let error = decoded(b"this is no zstd at all", 1 << 20).await.unwrap_err();
        assert!(error.message().contains("cannot be decoded"), "{error}");
    }

    #[tokio::test]
    async fn a_window_beyond_the_bound_is_refused() {
        let mut encoder = Encoder::new(1).unwrap();
        encoder.set_parameter(zstd::stream::raw::CParameter::WindowLog(MAX_WINDOW_LOG + 1)).unwrap();
        let mut frame = vec![0; 1000];
        let size = encoder.run_on_buffers(b"far away", &mut frame).unwrap().bytes_written;
        let (head, rest) = frame.split_at_mut(size);
        let mut out = OutBuffer::around(rest);
        encoder.finish(&mut out, true).unwrap();
        let whole = [&*head, &out.as_slice()[..out.pos()]].concat();
        let error = decoded(&whole, 1 << 20).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
        assert_eq!(error.message(), "zstd frame has a window of more than 8388608 bytes");
    }

    #[tokio::test]
    async fn a_bomb_is_produced_only_as_far_as_it_is_asked_for() {
        let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 1).unwrap();
        assert!(bomb.len() < 10_000);
        let mut contents = decode(pieces(&bomb, 1 << 20), ErrorKind::InvalidArgument);
        let first = contents.try_next().await.unwrap().unwrap();
        assert_eq!(first.len(), PIECE_BYTES);
    }
}
