//! Reads the contents of casblobs.

use blobaccess::{Error, Result};
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

/// The number of bytes that are decoded at a time, as the decoder recommends. It bounds the memory, whatever a frame
/// claims.
const STEP_BYTES: usize = 128 << 10;

/// Decodes one piece, which must be of this size.
pub(crate) fn decode_piece(frame: &[u8], size_bytes: usize) -> Result<Bytes> {
    let contents = zstd::bulk::decompress(frame, size_bytes)
        .map_err(|error| Error::data_loss(format!("piece of a casblob cannot be decoded: {error}")))?;
    if contents.len() != size_bytes {
        let observed = contents.len();
        return Err(Error::data_loss(format!("piece of a casblob is {observed} bytes, not {size_bytes}")));
    }
    Ok(contents.into())
}

struct Decoding {
    source: BoxStream<'static, Result<Bytes>>,
    decoder: Decoder<'static>,
    input: Bytes,
    /// Whether the decoder stands between two frames.
    between: bool,
    /// Whether the decoder may have more output for its last input.
    full: bool,
}

/// Decodes a stream of zstd frames.
pub(crate) fn decode(source: BoxStream<'static, Result<Bytes>>) -> BoxStream<'static, Result<Bytes>> {
    let decoder = match Decoder::new() {
        Ok(decoder) => decoder,
        Err(error) => {
            let error = Error::internal(format!("no decoder can be set up: {error}"));
            return stream::once(async { Err(error) }).boxed();
        }
    };
    let decoding = Decoding { source, decoder, input: Bytes::new(), between: true, full: false };
    stream::try_unfold(decoding, |mut decoding| async move {
        let piece = decoding.next().await?;
        Ok(piece.map(|piece| (piece, decoding)))
    })
    .boxed()
}

impl Decoding {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if self.input.is_empty() && !self.full {
                match self.source.try_next().await? {
                    Some(more) => self.input = more,
                    None if self.between => return Ok(None),
                    None => return Err(Error::data_loss("compressed contents end within a frame")),
                }
                continue;
            }
            let mut contents = vec![0; STEP_BYTES];
            let (consumed, produced, left) = {
                let mut input = InBuffer::around(&self.input);
                let mut output = OutBuffer::around(contents.as_mut_slice());
                let left = self
                    .decoder
                    .run(&mut input, &mut output)
                    .map_err(|error| Error::data_loss(format!("compressed contents cannot be decoded: {error}")))?;
                (input.pos(), output.pos(), left)
            };
            // A step without input and output ends what the decoder holds back, not a frame.
            if consumed > 0 || produced > 0 {
                self.between = left == 0;
            }
            self.full = produced == STEP_BYTES;
            self.input = self.input.split_off(consumed);
            if produced > 0 {
                contents.truncate(produced);
                return Ok(Some(contents.into()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::casblob::{Header, encode};

    fn contents(size: usize) -> Bytes {
        let mut state = 1_u32;
        (0..size)
            .map(|index| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if index % 3 == 0 { state.to_le_bytes()[3] } else { 7 }
            })
            .collect::<Vec<_>>()
            .into()
    }

    #[tokio::test]
    async fn a_casblob_is_a_zstd_stream_of_its_blob_however_it_is_cut() {
        for size in [1, 37, 1 << 20, (1 << 20) + 1, (3 << 20) - 1] {
            let contents = contents(size);
            let file = encode(contents.clone()).unwrap().concat();
            for cut in [1_000_000, 4_096, 777] {
                let pieces: Vec<_> = file.chunks(cut).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
                let decoded: Vec<Bytes> = decode(stream::iter(pieces).boxed()).try_collect().await.unwrap();
                assert_eq!(decoded.concat(), contents, "{size} bytes in pieces of {cut}");
            }
            let cut_off = vec![Ok(Bytes::copy_from_slice(&file[..file.len() - 1]))];
            assert!(decode(stream::iter(cut_off).boxed()).try_collect::<Vec<_>>().await.is_err());
        }
    }

    #[test]
    fn every_piece_can_be_read_alone() {
        let contents = contents((2 << 20) + 100);
        let file = encode(contents.clone()).unwrap().concat();
        let header = Header::read(&file, u64::try_from(file.len()).unwrap()).unwrap();
        assert_eq!(header.offsets.len(), 4);
        let at = |index: usize| usize::try_from(header.offsets[index]).unwrap();
        let piece = &file[at(2)..at(3)];
        assert_eq!(decode_piece(piece, 100).unwrap(), contents[2 << 20..]);
        assert!(decode_piece(piece, 99).is_err());
        assert!(decode_piece(piece, 101).is_err());
        assert!(decode_piece(&piece[1..], 100).is_err());
    }
}
