//! The stores of messages of a remote server.

use std::fmt::{self, Display, Formatter};
use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{
    Ac, Blob, BlobAccess, Capabilities, Context, Digest, DigestSet, Error, Fsac, InstanceName, Iscc, KeyFormat,
    PutOutcome, Result, Slicer, StorageType, get_and_slice,
};
use bytes::Bytes;
use http::uri::PathAndQuery;
use tonic::client::Grpc;
use tonic::{Request, Response, Status};

use super::call_channel::CallChannel;
use super::connection::Connection;
use super::failure;
use crate::message_protocol::{MessageProtocol, UpdateProtocol};
use crate::message_request::MessageRequest;
use crate::metadata_keys::OUTCOME_RESPONSE;
use crate::outcome;
use crate::raw_codec::RawCodec;

/// The action cache of a [`Remote`](crate::Remote).
pub type RemoteAcStore = RemoteMessageStore<Ac>;

/// Buildbarn's initial size class cache at a [`Remote`](crate::Remote).
pub type RemoteIsccStore = RemoteMessageStore<Iscc>;

/// Buildbarn's file system access cache at a [`Remote`](crate::Remote).
pub type RemoteFsacStore = RemoteMessageStore<Fsac>;

/// The messages of one kind that a [`Remote`](crate::Remote) keeps: its action cache ([`RemoteAcStore`]), its initial
/// size class cache ([`RemoteIsccStore`]) or its file system access cache ([`RemoteFsacStore`]).
///
/// Messages are passed on as the bytes that they are, so that fields which this version does not know are kept. They
/// must fit into a message of the connection.
///
/// It does not find in bulk: the protocols have no call for that, and to read every entry would count as use of it.
///
/// The capabilities of an action cache are those that the server reports. Servers report nothing about the other kinds,
/// and are not asked: every digest function is listed, and a put may still be refused.
///
/// # Contract
///
/// Calls that fail in passing are made again, and so are puts that the server has answered: an equal value may then be
/// stored twice, and the outcome is `Unclassified` if it is not certain. A put whose answer was lost fails, as one that
/// may be stored. Its message may still arrive, and a value that its caller puts after it would be replaced by it; who
/// waits and puts again decides so.
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
/// use blobaccess_proto::fsac::FileSystemAccessProfile;
/// use prost::Message;
///
/// let fsac = Remote::new(RemoteOptions::new("grpc://cache.example.com:8980"))?.fsac();
/// let reduced_action = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"a reduced action");
/// let profile = FileSystemAccessProfile { bloom_filter: vec![0x80].into(), bloom_filter_hash_functions: 3 };
/// fsac.put(&Context::background(), &reduced_action, Blob::from_bytes(profile.encode_to_vec())).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct RemoteMessageStore<K: UpdateProtocol> {
    connection: Arc<Connection>,
    kind: PhantomData<K>,
}

impl<K: UpdateProtocol> RemoteMessageStore<K> {
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Self { connection, kind: PhantomData }
    }

    async fn update(&self, ctx: &Context, request: Bytes) -> Result<PutOutcome> {
        let answer = self.connection.call_encoded(ctx, request, K::UPDATE).await.map_err(failure::never_absent)?;
        let outcome = answer.metadata().get_bin(OUTCOME_RESPONSE).and_then(|value| value.to_bytes().ok());
        Ok(outcome::from_bytes(outcome.as_deref()))
    }
}

impl Connection {
    /// Makes a call whose messages are left as they are encoded.
    pub(super) async fn call_encoded(
        &self,
        ctx: &Context,
        message: Bytes,
        path: &'static str,
    ) -> Result<Response<Bytes>> {
        let max = self.options.max_message_size_bytes;
        self.call(ctx, message, |channel, request| unary(channel, request, path, max)).await
    }

    /// Reads the message of `digest`.
    pub(super) async fn get_message<K: MessageProtocol>(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        let request = MessageRequest::new(digest).encode(K::GET_LAYOUT);
        let attempt = || self.call_encoded(ctx, request.clone(), K::GET);
        let found = self.retried(ctx, |_| true, attempt).await;
        let found =
            found.map_err(|error| if error.is_not_found() { failure::not_found(digest, &error) } else { error });
        let message = found?.into_inner();
        K::check(message.clone()).map_err(|error| {
            let text = format!("message of a remote store for {digest} is no {}: {error}", K::NOUN);
            Error::data_loss(text).with_source(error)
        })?;
        Ok(Blob::from_bytes(message))
    }

    /// Reads a message that is to be put for `digest`.
    pub(super) async fn message_to_put<K: MessageProtocol>(&self, digest: &Digest, blob: Blob) -> Result<Bytes> {
        let message = blob.into_bytes(self.options.max_message_contents()).await.map_err(Error::not_stored)?;
        K::check(message.clone()).map_err(|error| {
            Error::invalid_argument(format!("what is to be put for {digest} is no {}: {error}", K::NOUN)).not_stored()
        })?;
        Ok(message)
    }
}

async fn unary(
    channel: CallChannel,
    request: Request<Bytes>,
    path: &'static str,
    max_message_size_bytes: usize,
) -> Result<Response<Bytes>, Status> {
    let mut grpc = Grpc::new(channel).max_decoding_message_size(max_message_size_bytes);
    grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
    grpc.unary(request, PathAndQuery::from_static(path), RawCodec).await
}

#[async_trait]
impl<K: UpdateProtocol> BlobAccess for RemoteMessageStore<K> {
    type Kind = K;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        self.connection.get_message::<K>(ctx, digest).await
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
        let message = self.connection.message_to_put::<K>(digest, blob).await?;
        let request = MessageRequest::new(digest).with_message(message).encode(K::UPDATE_LAYOUT);
        let again = |error: &Error| !failure::is_lost(error);
        self.connection.retried_put(ctx, again, || self.update(ctx, request.clone())).await
    }

    /// Refuses the call: the protocols have none for it.
    ///
    /// # Errors
    ///
    /// `Unimplemented`, but for the empty set.
    async fn find_missing(&self, _ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        if digests.is_empty() {
            return Ok(DigestSet::new());
        }
        let store = K::STORAGE_TYPE.name();
        Err(Error::unimplemented(format!("a remote store of kind {store} does not support finding in bulk")))
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        let capabilities =
            Capabilities::unlimited().with_max_blob_size_bytes(self.connection.options.max_message_contents());
        if K::STORAGE_TYPE != StorageType::Ac {
            return Ok(capabilities);
        }
        let (both, updates_allowed) = self.connection.capabilities(ctx, instance_name).await?;
        Ok(capabilities.with_digest_functions(both.digest_functions).with_updates_allowed(updates_allowed))
    }

    fn key_format(&self) -> KeyFormat {
        KeyFormat::WithInstanceName
    }

    fn finds_in_bulk(&self) -> bool {
        false
    }
}

impl<K: UpdateProtocol> Display for RemoteMessageStore<K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "grpc({})", self.connection.options.address)
    }
}
