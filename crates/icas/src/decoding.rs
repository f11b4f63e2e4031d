//! Zstandard and DEFLATE, decoded as streams of bounded memory.

use blobaccess::{Compressor, Error, Result};
use bytes::{Buf, Bytes};
use flate2::{Decompress, FlushDecompress, Status};
use futures::{StreamExt, TryStreamExt, stream};
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, InBuffer, Operation, OutBuffer};

use crate::opened::Pieces;

/// The largest window of a zstd frame, as a power of two of bytes: 8 MiB, which RFC 8878 (section 3.1.1.1.2) recommends
/// decoders to support. It bounds the memory of one stream, whatever its header says.
const MAX_WINDOW_LOG: u32 = 23;

/// The size of the pieces that are handed out, in bytes: 128 KiB, the largest block of a zstd frame.
const PIECE_BYTES: usize = 128 << 10;

/// The compressed bytes that are read for each byte of a blob. The most wasteful encoder flushes after every byte, which
/// takes four bytes of zstd and seven of DEFLATE.
const MAX_EXPANSION: u64 = 16;

/// The compressed bytes that are read in addition.
const MAX_EXPANSION_BYTES: u64 = 1 << 20;

/// Returns the maximum number of bytes that are read as the compressed form of a blob of `size_bytes`.
pub(crate) const fn max_encoded_bytes(size_bytes: u64) -> u64 {
    size_bytes.saturating_mul(MAX_EXPANSION).saturating_add(MAX_EXPANSION_BYTES)
}

/// Decodes `compressed`: any number of zstd frames, or one stream of raw DEFLATE, behind which nothing is read.
///
/// The contents are produced as they are asked for. So a reader that knows their size stops a bomb in time.
///
/// # Errors
///
/// `Unimplemented` if that compressor is not read.
pub(crate) fn decode(compressed: Pieces, compressor: Compressor) -> Result<Pieces> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the protocol may add to its own")]
    let decoder = match compressor {
        Compressor::Zstd => Decoder::new_zstd()?,
        Compressor::Deflate => Decoder::Deflate(Box::new(Decompress::new(false))),
        other => return Err(Error::unimplemented(format!("sources compressed by {other} are not read"))),
    };
    let decoding = Decoding {
        source: Some(compressed),
        input: Bytes::new(),
        // No frame of zstd is as good as a frame of no contents.
        may_end: matches!(decoder, Decoder::Zstd(_)),
        decoder,
        has_more_inside: false,
        finished: false,
    };
    Ok(stream::try_unfold(decoding, |mut decoding| async move {
        let piece = decoding.next().await?;
        Ok(if piece.is_empty() { None } else { Some((piece, decoding)) })
    })
    .boxed())
}

enum Decoder {
    Zstd(ZstdDecoder<'static>),
    Deflate(Box<Decompress>),
}

/// The result of one step of a decoder.
struct Step {
    taken: usize,
    made: usize,
    /// Whether the compressed contents may end here.
    may_end: bool,
    /// Whether they do end here.
    finished: bool,
}

impl Decoder {
    fn new_zstd() -> Result<Self> {
        let broken = |error| Error::internal(format!("no zstd decoder can be set up: {error}"));
        let mut decoder = ZstdDecoder::new().map_err(broken)?;
        decoder.set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG)).map_err(broken)?;
        Ok(Self::Zstd(decoder))
    }

    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<Step> {
        match self {
            Self::Zstd(decoder) => {
                let (mut input, mut output) = (InBuffer::around(input), OutBuffer::around(output));
                let hint = decoder.run(&mut input, &mut output).map_err(|error| {
                    Error::data_loss(format!("source is no zstd that can be decoded: {error}")).with_source(error)
                })?;
                Ok(Step { taken: input.pos(), made: output.pos(), may_end: hint == 0, finished: false })
            }
            Self::Deflate(decoder) => {
                let (taken, made) = (decoder.total_in(), decoder.total_out());
                let status = decoder.decompress(input, output, FlushDecompress::None).map_err(|error| {
                    Error::data_loss(format!("source is no DEFLATE that can be decoded: {error}")).with_source(error)
                })?;
                let step = |now: u64, before| usize::try_from(now - before).unwrap_or(usize::MAX);
                let (taken, made) = (step(decoder.total_in(), taken), step(decoder.total_out(), made));
                let finished = status == Status::StreamEnd;
                Ok(Step { taken, made, may_end: finished, finished })
            }
        }
    }
}

struct Decoding {
    /// The source; `None` once it has ended.
    source: Option<Pieces>,
    /// The compressed bytes that were read and not yet decoded.
    input: Bytes,
    decoder: Decoder,
    /// Whether the compressed contents may end where they were decoded to.
    may_end: bool,
    /// Whether the decoder may have contents left that need no further input: its output was full.
    has_more_inside: bool,
    /// Whether all was decoded.
    finished: bool,
}

impl Decoding {
    /// Returns the next piece; empty at the end.
    async fn next(&mut self) -> Result<Bytes> {
        let mut piece = Vec::new();
        let mut length = 0;
        while !self.finished && (length == 0 || length < piece.len()) {
            while self.input.is_empty()
                && !self.has_more_inside
                && let Some(source) = &mut self.source
            {
                match source.try_next().await? {
                    Some(input) => self.input = input,
                    None => self.source = None,
                }
            }
            if piece.is_empty() {
                piece.resize(PIECE_BYTES, 0);
            }
            let room = piece.get_mut(length..).unwrap_or_default();
            let room_bytes = room.len();
            let step = self.decoder.step(&self.input, room)?;
            self.input.advance(step.taken);
            length += step.made;
            self.has_more_inside = step.made == room_bytes;
            self.finished = step.finished;
            if step.taken > 0 || step.made > 0 {
                self.may_end = step.may_end;
            } else if !self.input.is_empty() {
                return Err(Error::data_loss("compressed source cannot be decoded any further"));
            } else if self.source.is_none() && self.may_end {
                self.finished = true;
            } else if self.source.is_none() {
                return Err(Error::data_loss("compressed source ends too early"));
            }
        }
        piece.truncate(length);
        Ok(piece.into())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use blobaccess::ErrorKind;
    use blobaccess_testkit::Numbers;

    use super::*;

    fn pieces(bytes: &[u8], size: usize) -> Pieces {
        let pieces: Vec<_> = bytes.chunks(size).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        stream::iter(pieces).boxed()
    }

    fn deflated(contents: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(contents).unwrap();
        encoder.finish().unwrap()
    }

    fn encoded(contents: &[u8], compressor: Compressor) -> Vec<u8> {
        if compressor == Compressor::Zstd { zstd::bulk::compress(contents, 3).unwrap() } else { deflated(contents) }
    }

    async fn decoded(compressed: &[u8], size: usize, compressor: Compressor) -> Result<Vec<u8>> {
        let whole: Vec<Bytes> = decode(pieces(compressed, size), compressor)?.try_collect().await?;
        Ok(whole.concat())
    }

    fn contents(size: usize) -> Vec<u8> {
        // Half of it compresses.
        let noise = Numbers::new(1).bytes(size);
        noise.into_iter().enumerate().map(|(at, byte)| if at % 4096 < 2048 { byte } else { 7 }).collect()
    }

    const BOTH: [Compressor; 2] = [Compressor::Zstd, Compressor::Deflate];

    #[tokio::test]
    async fn what_is_encoded_is_decoded_in_pieces_of_any_size() {
        for compressor in BOTH {
            for size in [0, 1, 100, PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES, 1 << 20] {
                let contents = contents(size);
                let encoded = encoded(&contents, compressor);
                for piece in [1, 3, 1000, 1 << 20] {
                    let decoded = decoded(&encoded, piece, compressor).await.unwrap();
                    assert!(decoded == contents, "{size} bytes of {compressor} in pieces of {piece}");
                }
            }
        }
    }

    #[tokio::test]
    async fn frames_of_zstd_follow_one_another_and_what_follows_deflate_is_not_read() {
        let both = [encoded(b"one ", Compressor::Zstd), encoded(b"two", Compressor::Zstd)].concat();
        let garbage = [both.clone(), b"garbage".to_vec()].concat();
        let member = [deflated(b"a member"), b"PK\x01\x02".to_vec()].concat();
        for size in [1, 1000] {
            assert_eq!(decoded(&both, size, Compressor::Zstd).await.unwrap(), b"one two");
            assert_eq!(decoded(&garbage, size, Compressor::Zstd).await.unwrap_err().kind(), ErrorKind::DataLoss);
            assert_eq!(decoded(&member, size, Compressor::Deflate).await.unwrap(), b"a member");
        }
    }

    #[tokio::test]
    async fn what_was_cut_or_is_something_else_is_an_error() {
        for compressor in BOTH {
            let whole = encoded(&contents(300_000), compressor);
            for cut in [1, 10, whole.len() / 2, whole.len() - 1] {
                let error = decoded(&whole[..cut], 1000, compressor).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::DataLoss, "{error}");
                assert!(error.message().contains("too early"), "{error}");
            }
            let error = decoded(b"\xff\xfe this is neither", 1000, compressor).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::DataLoss, "{error}");
        }
        assert_eq!(decoded(b"", 1, Compressor::Deflate).await.unwrap_err().kind(), ErrorKind::DataLoss);
        assert_eq!(decoded(b"", 1, Compressor::Brotli).await.unwrap_err().kind(), ErrorKind::Unimplemented);
    }

    #[tokio::test]
    async fn a_bomb_is_produced_only_as_far_as_it_is_asked_for() {
        for compressor in BOTH {
            let bomb = encoded(&vec![0; 64 << 20], compressor);
            assert!(bomb.len() < 100_000);
            let mut contents = decode(pieces(&bomb, 1 << 20), compressor).unwrap();
            assert_eq!(contents.try_next().await.unwrap().unwrap().len(), PIECE_BYTES);
        }
    }

    #[tokio::test]
    async fn a_window_beyond_the_bound_is_refused() {
        let mut encoder = zstd::stream::raw::Encoder::new(1).unwrap();
        encoder.set_parameter(zstd::stream::raw::CParameter::WindowLog(MAX_WINDOW_LOG + 1)).unwrap();
        let mut frame = vec![0; 1000];
        let size = encoder.run_on_buffers(b"far away", &mut frame).unwrap().bytes_written;
        let (head, rest) = frame.split_at_mut(size);
        let mut out = OutBuffer::around(rest);
        encoder.finish(&mut out, true).unwrap();
        let whole = [&*head, out.as_slice()].concat();
        let error = decoded(&whole, 1 << 20, Compressor::Zstd).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DataLoss, "{error}");
    }

    #[tokio::test]
    async fn an_error_of_the_source_is_returned_as_it_is() {
        let whole = encoded(&contents(300_000), Compressor::Zstd);
        let failing =
            pieces(&whole[..1000], 100).chain(stream::once(async { Err(Error::unavailable("gone fishing")) }));
        let result = decode(failing.boxed(), Compressor::Zstd).unwrap().try_collect::<Vec<_>>().await;
        assert_eq!(result.unwrap_err().message(), "gone fishing");
    }
}
