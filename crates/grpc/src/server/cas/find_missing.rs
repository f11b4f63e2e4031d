//! Tells which of many blobs are not stored.

use blobaccess::{BlobAccess, Cas, Context, DigestSet, Result};
use blobaccess_proto::remote_execution as re;

use super::digests;
use crate::message;

/// What is missing, in the order of digests and each once. No digests at all need no store.
pub(super) async fn find_missing(
    store: &dyn BlobAccess<Kind = Cas>,
    ctx: &Context,
    request: re::FindMissingBlobsRequest,
) -> Result<re::FindMissingBlobsResponse> {
    if request.blob_digests.is_empty() {
        return Ok(re::FindMissingBlobsResponse::default());
    }
    let digests = digests::parse(&request.instance_name, request.digest_function, &request.blob_digests)?;
    let missing = store.find_missing(ctx, &DigestSet::from(digests)).await?;
    Ok(re::FindMissingBlobsResponse { missing_blob_digests: missing.iter().map(message::to_proto).collect() })
}
