//! A bucket as a store.

use std::fmt::{self, Debug, Display, Formatter};
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{
    Blob, BlobAccess, Capabilities, Context, Digest, DigestSet, InstanceName, Inventory, InventoryCursor,
    InventoryPage, KeyFormat, Kind, PutOutcome, ResolveUpload, Result, Slicer, UploadResolution, UploadToken,
    get_and_slice,
};

use crate::aborts::Aborts;
use crate::findings::Findings;
use crate::inventory::Shard;
use crate::probe::probe;
use crate::put_contents::MAX_OBJECT_BYTES;
use crate::shared::Shared;
use crate::{Bucket, BucketOptions, RequestCounts};

/// A [`BlobAccess`] that keeps each blob as an object of a bucket.
///
/// # Contract
///
/// Each put has one outcome, and that is what happened: what [`PutOutcome::Created`] has counted is what is in the
/// bucket. A put whose answers were lost is resolved by the token that it left, and fails as one that may have stored
/// its blob if that is not possible in time.
///
/// What the bucket answers is never taken for absence, unless it is the answer that there is no such object. As the
/// answer to a `HEAD` does not say whether the object is missing or its bucket, it counts only if the bucket was seen to
/// be there in the 10 s before; otherwise one `GET` asks. A bucket that is deleted so is `FailedPrecondition`: at once to
/// reads, writes and listings, and within 10 s to questions.
///
/// # Costs
///
/// In requests, where nothing fails. `find_missing` and large puts are spared most of theirs by an
/// [existence cache](blobaccess::decorators::ExistenceCaching) above.
///
/// | call | requests |
/// |---|---|
/// | `get` of a blob | 1 `GET`; above 8 MiB, uncompressed, 1 `HEAD` more |
/// | a range of a blob | 1 `GET` for a MiB at first, then for up to 16 MiB; compressed, 1 for each MiB |
/// | `put`, new | 1 `PUT`; from `ask_first_from_bytes` on, 1 `HEAD` before |
/// | `put`, there already | 1 `HEAD`; below that size 1 `PUT` and 1 `HEAD` |
/// | `put` in parts | 1 `HEAD`, 2 `POST`, 1 `PUT` a part; with a claim, 2 `PUT` more, and 1 for every third of its lease |
/// | `put` of a message | 1 `GET`, and 1 `PUT` unless it has that value |
/// | `find_missing` | 1 `HEAD` a digest, or 1 `LIST` for as many as lie within 1,000 keys, whichever are fewer |
/// | the first of these for 10 s | 1 `GET` more, if what a `HEAD` asks for is absent |
/// | a page of the inventory | 1 `LIST`; with bazel-remote's keys, 1 `GET` more for each blob |
///
/// # Memory
///
/// A put holds its blob up to `single_put_max_bytes`, and above that as many parts as are on their way, one more, and
/// for compressed ones another. A get holds what its reader has not taken of one network read.
///
/// # Cancel safety
///
/// A put that is dropped leaves nothing, or all of its blob. What it sent in parts by then is aborted by
/// [`run`](Self::run), or by the next put in parts. As a process may end before that, have the bucket delete incomplete
/// uploads after a day.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, InstanceName, PutOutcome};
/// use blobaccess_s3_backend::{Bucket, BucketStore, BucketOptions};
///
/// let store = BucketStore::<Cas>::open(Bucket::memory(), BucketOptions::default()).await?;
/// let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello");
/// let ctx = Context::background();
/// let outcome = store.put(&ctx, &digest, Blob::from_bytes("hello")).await?;
/// assert_eq!(outcome, PutOutcome::Created { stored_bytes: 5 });
/// let outcome = store.put(&ctx, &digest, Blob::from_bytes("hello")).await?;
/// assert_eq!(outcome, PutOutcome::AlreadyExists { stored_bytes: 5 });
/// # Ok(())
/// # }
/// ```
pub struct BucketStore<K: Kind> {
    shared: Arc<Shared>,
    kind: PhantomData<K>,
}

/// What is known of a backend at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BucketSnapshot {
    /// What the bucket was found to do.
    pub findings: Findings,
    /// The requests that the bucket was sent, by all who use it.
    pub requests: RequestCounts,
    /// Uploads in parts that are yet to be aborted.
    pub uploads_to_abort: usize,
}

impl<K: Kind> BucketStore<K> {
    /// Tries `bucket` out, unless told not to, and opens it.
    ///
    /// # Errors
    ///
    /// `FailedPrecondition` if the server does not keep conditions and that is not settled for. `InvalidArgument` if
    /// the layout has no place for this kind. What the bucket answers, if it cannot be used.
    pub async fn open(bucket: Bucket, options: BucketOptions) -> Result<Self> {
        options.layout.supports(K::STORAGE_TYPE)?;
        let bucket = bucket.not_seen_yet();
        let findings = probe(&bucket, &options, K::STORAGE_TYPE.is_mutable()).await?;
        let shared = Shared { bucket, options, findings, aborts: Aborts::default(), storage_type: K::STORAGE_TYPE };
        Ok(Self { shared: Arc::new(shared), kind: PhantomData })
    }

    /// Aborts uploads in parts whose puts were dropped, for as long as it is polled.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any time, and begun anew.
    pub fn run(&self) -> impl Future<Output = ()> + Send + use<K> {
        Arc::clone(&self.shared).run_aborts()
    }

    /// What is known of it now.
    #[must_use]
    pub fn snapshot(&self) -> BucketSnapshot {
        BucketSnapshot {
            findings: self.shared.findings,
            requests: self.shared.bucket.requests(),
            uploads_to_abort: self.shared.aborts.waiting(),
        }
    }

    /// The parts of the bucket that [`inventory_of_shard`](Self::inventory_of_shard) lists, beside each other or one
    /// after another: 256 for each digest function that the layout has.
    #[must_use]
    pub fn shards(&self) -> Vec<Shard> {
        self.shared.options.layout.shards(K::STORAGE_TYPE).into_iter().map(Shard).collect()
    }

    /// A page of the listing of `shard`: the first, or the one after `cursor`.
    ///
    /// # Errors
    ///
    /// As those of [`Inventory::inventory`].
    pub async fn inventory_of_shard(
        &self,
        ctx: &Context,
        shard: &Shard,
        cursor: Option<&InventoryCursor>,
    ) -> Result<InventoryPage> {
        self.shared.list_shard(ctx, shard, cursor).await
    }

    fn max_blob_size_bytes(&self) -> u64 {
        if K::STORAGE_TYPE.is_mutable() { self.shared.options.max_message_size_bytes } else { MAX_OBJECT_BYTES }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<K: Kind> BlobAccess for BucketStore<K> {
    type Kind = K;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        if K::STORAGE_TYPE.is_mutable() {
            self.shared.get_message(ctx, digest).await
        } else {
            self.shared.get_contents(ctx, digest).await
        }
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
        // Boxed, as a put in parts takes some kilobytes of state that no other call needs.
        if K::STORAGE_TYPE.is_mutable() {
            Box::pin(self.shared.put_message(ctx, digest, blob)).await
        } else {
            Box::pin(self.shared.put_contents(ctx, digest, blob)).await
        }
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        self.shared.find_missing(ctx, digests).await
    }

    async fn capabilities(&self, _ctx: &Context, _instance_name: &InstanceName) -> Result<Capabilities> {
        let functions = self.shared.options.layout.digest_functions();
        let capabilities = Capabilities::unlimited().with_digest_functions(functions);
        // What no provider takes is no limit that anybody needs to know of.
        Ok(if K::STORAGE_TYPE.is_mutable() {
            capabilities.with_max_blob_size_bytes(self.max_blob_size_bytes())
        } else {
            capabilities
        })
    }

    fn key_format(&self) -> KeyFormat {
        K::STORAGE_TYPE.key_format()
    }

    fn finds_in_bulk(&self) -> bool {
        true
    }
}

#[async_trait]
impl<K: Kind> ResolveUpload for BucketStore<K> {
    async fn resolve_upload(&self, ctx: &Context, digest: &Digest, token: &UploadToken) -> Result<UploadResolution> {
        self.shared.resolve_upload(ctx, digest, token).await
    }
}

#[async_trait]
impl<K: Kind> Inventory for BucketStore<K> {
    async fn inventory(&self, ctx: &Context, cursor: Option<&InventoryCursor>) -> Result<InventoryPage> {
        self.shared.list_page(ctx, cursor).await
    }
}

impl<K: Kind> Display for BucketStore<K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "bucket({})", self.shared.bucket)
    }
}

impl<K: Kind> Debug for BucketStore<K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("BucketStore").field("shared", &self.shared).finish()
    }
}
