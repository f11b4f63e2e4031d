//! Cuts contents into messages.

use blobaccess::{Error, Result};
use blobaccess_proto::bytestream as bs;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};
use tonic::Status;

use crate::status::to_status;

/// The maximum size of the pieces that are sent, in bytes, if messages may be that large: 128 KiB. Encoding 4 MiB takes
/// as long in pieces of 64 to 256 KiB (0.11 ms), and twice as long in smaller ones.
const PIECE_BYTES: usize = 128 << 10;

pub(super) type Pieces = BoxStream<'static, Result<bs::ReadResponse, Status>>;

/// Cuts `contents` into messages of at most [`PIECE_BYTES`] and `max_bytes`. Smaller pieces stay as they are, and nothing is
/// copied.
pub(super) fn pieces(contents: impl Stream<Item = Result<Bytes>> + Send + 'static, max_bytes: u64) -> Pieces {
    let max = usize::try_from(max_bytes).map_or(PIECE_BYTES, |max| max.clamp(1, PIECE_BYTES));
    let state = (contents.boxed(), Bytes::new());
    stream::try_unfold(state, move |(mut contents, mut rest)| async move {
        while rest.is_empty() {
            match contents.try_next().await? {
                Some(next) => rest = next,
                None => return Ok(None),
            }
        }
        let data = rest.split_to(rest.len().min(max));
        Ok(Some((bs::ReadResponse { data }, (contents, rest))))
    })
    .map_err(|error: Error| to_status(&error))
    .boxed()
}
