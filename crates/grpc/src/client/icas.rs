//! The indirect content-addressable storage of a remote server.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{
    Blob, BlobAccess, Capabilities, Context, Digest, DigestSet, Error, Icas, InstanceName, KeyFormat, PutOutcome,
    Result, Slicer, get_and_slice,
};
use blobaccess_proto::remote_execution as re;
use bytes::Bytes;
use prost::Message;

use super::batch_answers::BatchAnswers;
use super::connection::Connection;
use super::failure;
use super::find_missing::FindsMissing;
use crate::message::to_proto;
use crate::message_protocol::MessageProtocol;
use crate::outcome;
use crate::reference_updates::{ReferenceUpdate, ReferenceUpdates};

/// Buildbarn's indirect content-addressable storage at a [`Remote`](crate::Remote).
///
/// References are passed on as the bytes that they are, so that fields which this version does not know are kept. It
/// finds in bulk. Servers do not report capabilities of this kind and are not asked: every digest function is listed,
/// and a put may still be refused.
///
/// # Contract
///
/// As that of [`RemoteMessageStore`](crate::RemoteMessageStore).
///
/// # Cancel safety
///
/// A dropped put may still be stored, whole.
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> blobaccess::Result<()> {
/// use blobaccess::{Blob, BlobAccess, Context, Digest, DigestFunction, InstanceName};
/// use blobaccess_grpc::{Remote, RemoteOptions};
/// use blobaccess_proto::icas::{Reference, reference::Medium};
/// use prost::Message;
///
/// let icas = Remote::new(RemoteOptions::new("grpc://cache.example.com:8980"))?.icas();
/// let archive = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"contents that are elsewhere");
/// let medium = Some(Medium::HttpUrl("https://example.com/archive.tar.gz".to_owned()));
/// let reference = Reference { medium, ..Reference::default() };
/// icas.put(&Context::background(), &archive, Blob::from_bytes(reference.encode_to_vec())).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RemoteIcasStore {
    connection: Arc<Connection>,
}

impl RemoteIcasStore {
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Self { connection }
    }

    /// Stores the reference of an encoded batch of one.
    async fn update(&self, ctx: &Context, digest: &Digest, batch: Bytes) -> Result<PutOutcome> {
        let answer = self.connection.call_encoded(ctx, batch, Icas::UPDATE).await.map_err(failure::never_absent)?;
        let answer = re::BatchUpdateBlobsResponse::decode(answer.into_inner()).map_err(|error| {
            Error::internal(format!("answer of a remote store cannot be decoded: {error}")).with_source(error)
        })?;
        let entries = answer.responses.into_iter().filter_map(|entry| Some((entry.digest.clone()?, entry)));
        let answers = BatchAnswers::new(entries);
        let entry = answers.get(digest)?;
        if let Some(error) = failure::from_entry(entry.status.as_ref()) {
            return Err(failure::never_absent(error));
        }
        Ok(outcome::from_proto(entry.outcome.as_ref()))
    }
}

#[async_trait]
impl BlobAccess for RemoteIcasStore {
    type Kind = Icas;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        self.connection.get_message::<Icas>(ctx, digest).await
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
        let reference = self.connection.message_to_put::<Icas>(digest, blob).await?;
        let batch = ReferenceUpdates {
            instance_name: digest.instance_name().as_str().to_owned(),
            requests: vec![ReferenceUpdate { digest: Some(to_proto(digest)), reference: vec![reference] }],
            digest_function: digest.function().number(),
        };
        let batch = Bytes::from(batch.encode_to_vec());
        let again = |error: &Error| !failure::is_lost(error);
        self.connection.retried_put(ctx, again, || self.update(ctx, digest, batch.clone())).await
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        self.connection.find_missing(ctx, digests, FindsMissing::References).await
    }

    async fn capabilities(&self, _ctx: &Context, _instance_name: &InstanceName) -> Result<Capabilities> {
        Ok(Capabilities::unlimited().with_max_blob_size_bytes(self.connection.options.max_message_contents()))
    }

    fn key_format(&self) -> KeyFormat {
        KeyFormat::WithInstanceName
    }

    fn finds_in_bulk(&self) -> bool {
        true
    }
}

impl Display for RemoteIcasStore {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "grpc({})", self.connection.options.address)
    }
}
