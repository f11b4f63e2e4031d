//! Finds which of many blobs are not stored.

mod borrowed_request;
mod codec;

use blobaccess::{Context, DigestSet, Result};
use blobaccess_proto::remote_execution as re;
use bytes::Bytes;
use prost::{DecodeError, Message};
use tonic::{Request, Response, Status};

use self::borrowed_request::BorrowedRequest;
pub(super) use self::codec::FindMissingCodec;
pub(in crate::server) use self::codec::encode_missing;
use super::{CasService, digests};
use crate::server::call::CallMemory;
use crate::server::request;
use crate::status::to_status;

impl CasService {
    /// Returns the `digests` that are missing. An empty set needs no store.
    pub(super) async fn find_missing(&self, ctx: &Context, digests: Result<DigestSet>) -> Result<DigestSet, Status> {
        let missing = match digests {
            Ok(digests) if digests.is_empty() => Ok(digests),
            Ok(digests) => self.store.find_missing(ctx, &digests).await,
            Err(error) => Err(error),
        };
        missing.map_err(|error| to_status(&error))
    }

    /// Finds the missing blobs of an encoded request.
    ///
    /// Clients query tens of thousands of digests together. Two strings for each would take longer than all the rest.
    pub(super) async fn find_missing_encoded(&self, request: Request<Bytes>) -> Result<Response<DigestSet>, Status> {
        let ctx = request::context(&request, &self.options);
        let memory = CallMemory::of(request.extensions());
        let message = request.into_inner();
        // A digest takes about twice as much as its name, and may be part of the answer.
        let bytes = u64::try_from(message.len()).unwrap_or(u64::MAX).saturating_mul(3);
        memory.hold(bytes).await.map_err(|error| to_status(&error))?;
        // As the generated service has it.
        let digests = read_digests(message).map_err(|error| Status::internal(error.to_string()))?;
        self.find_missing(&ctx, digests).await.map(Response::new)
    }
}

/// Reads the digests that `message` queries. An unusual encoding is left to the generated message.
#[expect(clippy::needless_pass_by_value, reason = "a large message is freed before its digests are looked for")]
pub(in crate::server) fn read_digests(message: Bytes) -> Result<Result<DigestSet>, DecodeError> {
    if let Some(request) = BorrowedRequest::read(&message) {
        return Ok(digest_set(request.instance_name, request.digest_function, request.digests.iter().copied()));
    }
    re::FindMissingBlobsRequest::decode(&*message).map(|request| of_message(&request))
}

/// Returns the digests that `request` asks for.
pub(super) fn of_message(request: &re::FindMissingBlobsRequest) -> Result<DigestSet> {
    digest_set(&request.instance_name, request.digest_function, digests::spelled(&request.blob_digests))
}

fn digest_set<'a>(
    instance_name: &str,
    function: i32,
    digests: impl ExactSizeIterator<Item = (&'a str, i64)> + Clone,
) -> Result<DigestSet> {
    if digests.len() == 0 {
        return Ok(DigestSet::new());
    }
    digests::parse(instance_name, function, digests).map(DigestSet::from)
}
