//! Cuts contents into messages.

use blobaccess::{Error, Result};
use blobaccess_proto::bytestream as bs;
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};
use tonic::Status;

use crate::status::to_status;

/// The size of the pieces that are sent, in bytes, at most: 128 KiB.
const PIECE_BYTES: usize = 128 << 10;

pub(super) type Pieces = BoxStream<'static, Result<bs::ReadResponse, Status>>;

/// `contents` in messages of at most [`PIECE_BYTES`]. Smaller pieces stay as they are, and nothing is copied.
pub(super) fn pieces(contents: impl Stream<Item = Result<Bytes>> + Send + 'static) -> Pieces {
    let state = (contents.boxed(), Bytes::new());
    stream::try_unfold(state, |(mut contents, mut rest)| async move {
        while rest.is_empty() {
            match contents.try_next().await? {
                Some(next) => rest = next,
                None => return Ok(None),
            }
        }
        let data = rest.split_to(rest.len().min(PIECE_BYTES));
        Ok(Some((bs::ReadResponse { data }, (contents, rest))))
    })
    .map_err(|error: Error| to_status(&error))
    .boxed()
}
