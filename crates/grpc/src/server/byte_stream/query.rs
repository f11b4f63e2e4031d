//! Tells how far an upload has come: to the end, or nowhere.

use blobaccess::{BlobAccess, Cas, Context, DigestSet, Result, WriteResource};
use blobaccess_proto::bytestream as bs;

use crate::message;

/// Returns all bytes and complete if the blob is stored, regardless of who stored it; otherwise 0 bytes.
///
/// No part of an interrupted upload is kept, so an incomplete upload continues at offset 0, whether or not it ever
/// began. `NotFound` would also be true, but some clients give up on it.
pub(super) async fn query(
    store: &dyn BlobAccess<Kind = Cas>,
    ctx: &Context,
    request: &bs::QueryWriteStatusRequest,
) -> Result<bs::QueryWriteStatusResponse> {
    let digest = WriteResource::parse(&request.resource_name)?.digest;
    let size = message::size(digest.size_bytes());
    let missing = store.find_missing(ctx, &DigestSet::from(digest)).await?;
    let complete = missing.is_empty();
    Ok(bs::QueryWriteStatusResponse { committed_size: if complete { size } else { 0 }, complete })
}
