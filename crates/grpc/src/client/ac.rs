//! The action cache of a remote server.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{
    Ac, Blob, BlobAccess, Capabilities, Context, Digest, DigestSet, Error, InstanceName, KeyFormat, PutOutcome, Result,
    Slicer, get_and_slice,
};
use blobaccess_proto::remote_execution as re;
use bytes::Bytes;
use http::uri::PathAndQuery;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use tonic::client::Grpc;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use super::connection::Connection;
use super::failure;
use crate::message::to_proto;
use crate::metadata_keys::OUTCOME_RESPONSE;
use crate::outcome;
use crate::raw_codec::RawCodec;

const GET: &str = "/build.bazel.remote.execution.v2.ActionCache/GetActionResult";
const UPDATE: &str = "/build.bazel.remote.execution.v2.ActionCache/UpdateActionResult";

/// The number of `UpdateActionResultRequest.action_result`.
const ACTION_RESULT: u32 = 3;

/// The action cache of a [`Remote`](crate::Remote).
///
/// Action results are passed on as the bytes that they are, so that fields which this version does not know are kept.
/// They must fit into a message.
///
/// It does not find in bulk: the protocol has no call for that, and to read every entry would count as use of it.
///
/// # Contract
///
/// Calls that fail in passing are made again, puts too: an equal value may then be stored twice, and the outcome is
/// `Unclassified` if it is not certain.
///
/// # Cancel safety
///
/// A dropped put may still be stored, whole.
#[derive(Debug)]
pub struct RemoteAcStore {
    connection: Arc<Connection>,
}

impl RemoteAcStore {
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Self { connection }
    }

    async fn update(&self, ctx: &Context, message: Bytes) -> Result<PutOutcome> {
        let max = self.connection.options.max_message_size_bytes;
        let send = |channel, request| unary(channel, request, UPDATE, max);
        let answer = self.connection.call(ctx, message, send).await;
        let answer = answer.map_err(failure::never_absent)?;
        let outcome = answer.metadata().get_bin(OUTCOME_RESPONSE).and_then(|value| value.to_bytes().ok());
        Ok(outcome::from_bytes(outcome.as_deref()))
    }
}

/// Makes the request that puts `action_result`, which is encoded already. Fields may come in any order.
fn update_request(digest: &Digest, action_result: &[u8]) -> Bytes {
    let request = re::UpdateActionResultRequest {
        instance_name: digest.instance_name().as_str().to_owned(),
        action_digest: Some(to_proto(digest)),
        digest_function: digest.function().number(),
        ..re::UpdateActionResultRequest::default()
    };
    let mut message = request.encode_to_vec();
    encode_key(ACTION_RESULT, WireType::LengthDelimited, &mut message);
    encode_varint(u64::try_from(action_result.len()).unwrap_or(u64::MAX), &mut message);
    message.extend_from_slice(action_result);
    message.into()
}

/// Makes a call whose messages are left as they are encoded.
async fn unary(
    channel: Channel,
    request: Request<Bytes>,
    path: &'static str,
    max_message_size_bytes: usize,
) -> Result<Response<Bytes>, Status> {
    let mut grpc = Grpc::new(channel).max_decoding_message_size(max_message_size_bytes);
    grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
    grpc.unary(request, PathAndQuery::from_static(path), RawCodec).await
}

#[async_trait]
impl BlobAccess for RemoteAcStore {
    type Kind = Ac;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        let message = re::GetActionResultRequest {
            instance_name: digest.instance_name().as_str().to_owned(),
            action_digest: Some(to_proto(digest)),
            digest_function: digest.function().number(),
            ..re::GetActionResultRequest::default()
        };
        let message = Bytes::from(message.encode_to_vec());
        let max = self.connection.options.max_message_size_bytes;
        let attempt =
            || self.connection.call(ctx, message.clone(), |channel, request| unary(channel, request, GET, max));
        let found = self
            .connection
            .retried(ctx, || true, attempt)
            .await
            .map_err(|error| if error.is_not_found() { failure::not_found(digest, &error) } else { error })?;
        let action_result = found.into_inner();
        re::ActionResult::decode(action_result.clone()).map_err(|error| {
            Error::data_loss(format!("remote store sent no action result for {digest}: {error}")).with_source(error)
        })?;
        Ok(Blob::from_bytes(action_result))
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        get_and_slice(self, ctx, parent, child, slicer).await
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        let action_result =
            blob.into_bytes(self.connection.options.max_message_contents()).await.map_err(Error::not_stored)?;
        re::ActionResult::decode(action_result.clone()).map_err(|error| {
            Error::invalid_argument(format!("what is to be put for {digest} is no action result: {error}"))
        })?;
        let message = update_request(digest, &action_result);
        self.connection.retried_put(ctx, || true, || self.update(ctx, message.clone())).await
    }

    /// Refuses the call: the protocol has none for it.
    ///
    /// # Errors
    ///
    /// `Unimplemented`, but for the empty set.
    async fn find_missing(&self, _ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        if digests.is_empty() {
            return Ok(DigestSet::new());
        }
        Err(Error::unimplemented("a remote action cache does not support finding in bulk"))
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        let (both, updates_allowed) = self.connection.capabilities(ctx, instance_name).await?;
        Ok(Capabilities::unlimited()
            .with_digest_functions(both.digest_functions)
            .with_max_blob_size_bytes(self.connection.options.max_message_contents())
            .with_updates_allowed(updates_allowed))
    }

    fn key_format(&self) -> KeyFormat {
        KeyFormat::WithInstanceName
    }

    fn finds_in_bulk(&self) -> bool {
        false
    }
}

impl Display for RemoteAcStore {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "grpc({})", self.connection.options.address)
    }
}
