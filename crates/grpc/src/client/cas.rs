//! The content-addressable storage of a remote server.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{
    Blob, BlobAccess, Capabilities, Cas, Compressor, Context, Digest, DigestSet, Error, ErrorKind, InstanceName,
    KeyFormat, PutOutcome, Result, Slicer, get_and_slice,
};
use bytes::Bytes;
use futures::StreamExt;

use super::batch_key::BatchKey;
use super::batch_read::{self, BlobToRead, ENTRY_BYTES, ReadBatch};
use super::batch_write::{BlobToStore, WriteBatch};
use super::batching::Batching;
use super::connection::Connection;
use super::find_missing::FindsMissing;
use super::server_offer::ServerOffer;
use super::upload::UploadContents;
use crate::compression;

/// The content-addressable storage of a [`Remote`](crate::Remote).
///
/// Small blobs travel in batches: what is asked for while a batch is under way goes along with the next one. Large ones
/// are streamed, compressed if the server offers that. A large blob that is read compressed, or comes compressed, is
/// not decoded here unless its reader wants that.
///
/// # Contract
///
/// Contents are held to their digests in both directions, but for what is passed on compressed: that the server does.
/// Whether a put is `Created` is what the server says, and `Unclassified` if it says nothing, or only that the blob was
/// there once an earlier attempt of this put may have stored it. A get of a blob that vanishes while it is read fails
/// with `Aborted`.
///
/// Calls that fail in passing are made again. So are puts of small blobs, and of others as long as nothing was read of
/// them. A stream that breaks is gone on with where it broke, unless it is compressed.
///
/// # Memory
///
/// A small blob that is put is held until it is stored. One that was read does not keep its batch in memory, unless it
/// is a quarter of it or more. Streams hold some messages of 256 KiB.
///
/// # Cancel safety
///
/// A dropped call that is part of a batch leaves it to the others: a small put may still be stored. A dropped upload is
/// reset, and stores nothing unless all of it had been sent.
#[derive(Debug)]
pub struct RemoteCasStore {
    connection: Arc<Connection>,
    reads: Batching<ReadBatch>,
    writes: Batching<WriteBatch>,
}

impl RemoteCasStore {
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        let reads = Batching::new(ReadBatch(Arc::clone(&connection)));
        let writes = Batching::new(WriteBatch(Arc::clone(&connection)));
        Self { connection, reads, writes }
    }

    fn is_small(&self, digest: &Digest) -> bool {
        digest.size_bytes() <= self.connection.options.batch_threshold_bytes
    }

    fn compresses(&self) -> bool {
        self.connection.options.compression_level.is_some()
    }

    /// Returns the cost of a small blob and the maximum cost of a batch; `None` if the blob does not fit.
    fn batch_costs(&self, digest: &Digest, offer: &ServerOffer) -> Option<(u64, u64)> {
        let max = batch_read::max_cost(&self.connection, offer);
        let cost = digest.size_bytes().saturating_add(ENTRY_BYTES);
        (self.is_small(digest) && cost <= max).then_some((cost, max))
    }

    async fn put_small(
        &self,
        ctx: &Context,
        digest: &Digest,
        contents: Bytes,
        offer: Option<ServerOffer>,
    ) -> Result<PutOutcome> {
        if let Some(offer) = offer
            && let Some((cost, max_cost)) = self.batch_costs(digest, &offer)
        {
            let zstd = self.compresses() && offer.zstd_batch_updates;
            let attempt = || {
                let token = ctx.upload_token().copied();
                let item = BlobToStore { digest: digest.clone(), contents: contents.clone(), zstd, token };
                let asked = self.writes.ask(
                    ctx,
                    BatchKey::new(ctx, digest, self.connection.has_call_metadata()),
                    item,
                    cost,
                    max_cost,
                );
                self.connection.within(ctx.deadline(), asked)
            };
            match self.connection.retried_put(ctx, |_| true, attempt).await {
                Err(error) if error.kind() == ErrorKind::Unimplemented => {}
                stored => return stored,
            }
        }
        self.connection.write(ctx, digest, None, UploadContents::AtHand(contents)).await
    }
}

#[async_trait]
impl BlobAccess for RemoteCasStore {
    type Kind = Cas;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        let offer = self.connection.offer(ctx, digest.instance_name()).await?;
        let zstd = self.compresses() && offer.is_some_and(|offer| offer.zstd);
        if let Some(offer) = offer
            && let Some((cost, max_cost)) = self.batch_costs(digest, &offer)
        {
            let attempt = || {
                let item = BlobToRead { digest: digest.clone(), zstd };
                let asked = self.reads.ask(
                    ctx,
                    BatchKey::new(ctx, digest, self.connection.has_call_metadata()),
                    item,
                    cost,
                    max_cost,
                );
                self.connection.within(ctx.deadline(), asked)
            };
            match self.connection.retried(ctx, |_| true, attempt).await {
                Err(error) if error.kind() == ErrorKind::Unimplemented => {}
                read => return Ok(read?.into_blob(digest)),
            }
        }
        self.connection.read(ctx, digest, zstd && !self.is_small(digest)).await
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
        let blob = blob.with_expected_digest(digest);
        let offer = self.connection.offer(ctx, digest.instance_name()).await.map_err(Error::not_stored)?;
        if let Some(max) = offer.and_then(|offer| offer.max_blob_bytes)
            && digest.size_bytes() > max
        {
            let message = format!("blob {digest} is too large: the remote store takes at most {max} bytes");
            return Err(Error::invalid_argument(message).not_stored());
        }
        if self.is_small(digest) {
            let contents = blob.into_bytes(digest.size_bytes()).await.map_err(Error::not_stored)?;
            return self.put_small(ctx, digest, contents, offer).await;
        }
        let level = self.connection.options.compression_level.filter(|_| offer.is_some_and(|offer| offer.zstd));
        let Some(level) = level else {
            let pieces = blob.into_stream(..).map_err(Error::not_stored)?.boxed();
            return self.connection.write(ctx, digest, None, UploadContents::once(pieces)).await;
        };
        let pieces = match blob.into_encoded(&[Compressor::Zstd]) {
            Ok(encoded) => encoded.boxed(),
            Err(blob) => compression::encode(blob.into_stream(..).map_err(Error::not_stored)?.boxed(), level),
        };
        self.connection.write(ctx, digest, Some(Compressor::Zstd), UploadContents::once(pieces)).await
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        self.connection.find_missing(ctx, digests, FindsMissing::Blobs).await
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        Ok(self.connection.capabilities(ctx, instance_name).await?.0)
    }

    /// Includes the instance name: whether a server shares blobs between instance names is not known.
    fn key_format(&self) -> KeyFormat {
        KeyFormat::WithInstanceName
    }

    fn finds_in_bulk(&self) -> bool {
        true
    }
}

impl Display for RemoteCasStore {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "grpc({})", self.connection.options.address)
    }
}
