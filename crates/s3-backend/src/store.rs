//! A bucket as a store.

use std::borrow::Cow;
use std::fmt::{self, Debug, Display, Formatter};
use std::future::Future;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use blobaccess::{
    BackgroundWork, Blob, BlobAccess, Capabilities, Context, DeleteBlob, DeleteOutcome, Digest, DigestSet,
    InstanceName, Inventory, InventoryCursor, InventoryPage, KeyFormat, Kind, PutOutcome, ResolveUpload, Result,
    Slicer, StoredBlob, StoredSize, UploadResolution, UploadToken, get_and_slice,
};

use crate::aborts::Aborts;
use crate::casblob;
use crate::complaints::Complaints;
use crate::damage::Damage;
use crate::doubts::Doubts;
use crate::findings::Findings;
use crate::inventory::{DigestSizes, Shard, ShardInventory};
use crate::layout::Form;
use crate::probe::probe;
use crate::put_contents::MAX_OBJECT_BYTES;
use crate::shared::Shared;
use crate::{Bucket, BucketOptions, OnUnreachable, RequestCounts};

/// A [`BlobAccess`] that keeps each blob as an object of a bucket.
///
/// # Contract
///
/// Each put has one outcome, and the outcome is true: the blobs that [`PutOutcome::Created`] counts are those in the
/// bucket. A put whose answers were lost is resolved by the token that it left. If that is not possible in time, its
/// error says that the blob may be stored.
///
/// Only the store's own answer that there is no such object is a miss: the code `NoSuchKey` of S3 and Google, `BlobNotFound`
/// of Azure. The answer to a `HEAD` has no body to say so. It counts if it bears a mark of the store and the bucket was seen
/// in the last 10 s; otherwise one `GET` asks. Everything else is a failure, mostly `Unavailable`: a deleted bucket, a page of
/// a proxy, credentials that have expired, rights that are lacking. A deleted bucket is noticed immediately in reads, writes
/// and listings, and within 10 s in `find_missing`. Texts of errors name neither the bucket nor its keys; the log does, once
/// a minute.
///
/// An object that is wrong is missing: at once if its size is, else from the read on that proves it. The next put replaces
/// it, on the condition that nobody else has (`If-Match`), and is counted as [`PutOutcome::Replaced`]. Two kinds of puts are
/// not so careful, and may be counted as [`PutOutcome::Unclassified`]: those in parts, and those to servers without
/// conditional updates. They look at the object first, and then overwrite whatever is there.
///
/// # Costs
///
/// In requests, without failures. An [existence cache](blobaccess::decorators::ExistenceCaching) above the store saves
/// most of those of `find_missing` and of large puts.
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
/// | a deletion | 1 `HEAD`, 1 `DELETE` |
/// | a page of the inventory | 1 `LIST`; with bazel-remote's keys, 1 `GET` more for each blob |
///
/// # Memory
///
/// A put holds a blob of up to `single_put_max_bytes`. A put of a larger blob holds `concurrent_parts` parts and one
/// more, or two more if it is compressed. A get holds the unread rest of one network read.
///
/// # Cancel safety
///
/// A dropped put leaves nothing, or all of its blob. [`run`](Self::run), or the next put in parts, aborts its multipart
/// upload. As a process may end before that, configure the bucket to delete incomplete uploads after a day.
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

/// The state of a store at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BucketSnapshot {
    /// The facts found by the probe.
    pub findings: Findings,
    /// The requests that the bucket was sent, by all its clones.
    pub requests: RequestCounts,
    /// The rest of the budget of retries (`Connection::with_retry_budget`); `None` if no network is in between.
    pub retry_budget_left: Option<u32>,
    /// The number of multipart uploads that are yet to be aborted.
    pub uploads_to_abort: usize,
    /// The number of those that could not be aborted, and are left to the bucket's rule for incomplete uploads.
    pub uploads_left: u64,
    /// The number of objects that are known to be wrong, and are missing until they are replaced.
    pub objects_wrong: usize,
    /// The number of objects that were found to be wrong so far.
    pub objects_found_wrong: u64,
    /// The number of them that this store replaced.
    pub objects_repaired: u64,
}

impl<K: Kind> Clone for BucketStore<K> {
    /// Returns another handle of the same store.
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), kind: PhantomData }
    }
}

impl<K: Kind> BucketStore<K> {
    /// Probes `bucket`, unless told not to, and opens it as a store.
    ///
    /// # Errors
    ///
    /// `FailedPrecondition` if the server ignores conditions and [`OnMissingConditions`](crate::OnMissingConditions)
    /// says to refuse. `InvalidArgument` if the layout does not support this kind. `Unauthenticated` if there are no
    /// credentials. `FailedPrecondition` if the bucket does not say of a missing object that it is missing, as one does whose
    /// caller may not list it. The bucket's own error if it cannot be used, unless [`OnUnreachable`] says to wait for it.
    pub async fn open(bucket: Bucket, options: BucketOptions) -> Result<Self> {
        options.layout.supports(K::STORAGE_TYPE)?;
        let bucket = bucket.not_seen_yet();
        let waits = options.on_unreachable == OnUnreachable::Wait;
        // A start that goes on anyway does not try again first.
        let once = if waits { options.clone().with_attempts(1) } else { options.clone() };
        let findings = match probe(&bucket, &once, K::STORAGE_TYPE.is_mutable()).await {
            Ok(findings) => OnceLock::from(findings),
            Err(error) if waits && error.is_retryable() => {
                tracing::warn!(%bucket, %error, "the bucket does not answer: the store is opened without it, and waits");
                OnceLock::new()
            }
            Err(error) => return Err(error),
        };
        let shared = Shared {
            bucket,
            options,
            findings,
            complaints: Complaints::default(),
            aborts: Aborts::default(),
            damage: Damage::default(),
            doubts: Doubts::default(),
            storage_type: K::STORAGE_TYPE,
        };
        Ok(Self { shared: Arc::new(shared), kind: PhantomData })
    }

    /// Probes a bucket that did not answer when the store was [opened](OnUnreachable::Wait), and aborts multipart uploads
    /// whose puts were dropped, for as long as it is polled.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any time, and `run` called again.
    pub fn run(&self) -> impl Future<Output = ()> + Send + use<K> {
        let shared = Arc::clone(&self.shared);
        async move {
            shared.run_probe().await;
            shared.run_aborts().await;
        }
    }

    /// Returns whether the bucket has answered since the store was opened. If not, every call is `Unavailable`.
    #[must_use]
    pub fn has_answered(&self) -> bool {
        self.shared.findings.get().is_some()
    }

    /// Fails unless the bucket has answered, and logs a failure of `call`, once a minute.
    async fn answered<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let result = match self.shared.check_answered() {
            Ok(()) => call.await,
            Err(error) => Err(error),
        };
        result.inspect_err(|error| {
            self.shared.complaints.note(self.shared.clock().monotonic(), &self.shared.bucket, error);
        })
    }

    /// Returns the present state.
    #[must_use]
    pub fn snapshot(&self) -> BucketSnapshot {
        let (objects_wrong, objects_found_wrong, objects_repaired) = self.shared.damage.counts();
        BucketSnapshot {
            findings: self.shared.findings(),
            requests: self.shared.bucket.requests(),
            retry_budget_left: self.shared.bucket.retry_budget_left(),
            uploads_to_abort: self.shared.aborts.waiting(),
            uploads_left: self.shared.aborts.left(),
            objects_wrong,
            objects_found_wrong,
            objects_repaired,
        }
    }

    /// Returns the parts of the bucket that [`inventory_of_shard`](Self::inventory_of_shard) lists, concurrently or one
    /// after another: 256 for each digest function of the layout.
    #[must_use]
    pub fn shards(&self) -> Vec<Shard> {
        self.shared.options.layout.shards(K::STORAGE_TYPE).into_iter().map(Shard).collect()
    }

    /// Lists a page of `shard`: the first page, or the one after `cursor`.
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
        self.answered(self.shared.list_shard(ctx, shard, cursor, DigestSizes::Read)).await
    }

    /// Returns the same parts, each as an inventory of its own, for scans that list them concurrently. With bazel-remote's
    /// keys, `sizes` says whether the size of each blob is read from its object, which costs a request for each.
    #[must_use]
    pub fn shard_inventories(&self, sizes: DigestSizes) -> Vec<ShardInventory<K>> {
        let shards = self.shards().into_iter();
        shards.map(|shard| ShardInventory::new(self.clone(), shard, sizes)).collect()
    }

    pub(crate) async fn list_with(
        &self,
        ctx: &Context,
        shard: &Shard,
        cursor: Option<&InventoryCursor>,
        sizes: DigestSizes,
    ) -> Result<InventoryPage> {
        self.answered(self.shared.list_shard(ctx, shard, cursor, sizes)).await
    }

    fn max_blob_size_bytes(&self) -> u64 {
        if K::STORAGE_TYPE.is_mutable() { self.shared.options.max_message_size_bytes } else { MAX_OBJECT_BYTES }
    }
}

#[async_trait]
impl<K: Kind> BackgroundWork for BucketStore<K> {
    fn name(&self) -> Cow<'static, str> {
        self.to_string().into()
    }

    async fn run(&self) {
        Self::run(self).await;
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<K: Kind> BlobAccess for BucketStore<K> {
    type Kind = K;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        if K::STORAGE_TYPE.is_mutable() {
            self.answered(self.shared.get_message(ctx, digest)).await
        } else {
            self.answered(self.shared.get_contents(ctx, digest)).await
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
        // The future of a put in parts holds some kilobytes that no other call needs, so it is boxed.
        if K::STORAGE_TYPE.is_mutable() {
            self.answered(Box::pin(self.shared.put_message(ctx, digest, blob))).await
        } else {
            self.answered(Box::pin(self.shared.put_contents(ctx, digest, blob))).await
        }
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        if digests.is_empty() {
            return Ok(DigestSet::new());
        }
        self.answered(self.shared.find_missing(ctx, digests)).await
    }

    async fn capabilities(&self, _ctx: &Context, _instance_name: &InstanceName) -> Result<Capabilities> {
        let functions = self.shared.options.layout.digest_functions();
        let capabilities = Capabilities::unlimited().with_digest_functions(functions);
        // The limit of the providers is too large to be worth reporting.
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
        self.answered(self.shared.resolve_upload(ctx, digest, token)).await
    }

    fn stored_size(&self, logical_bytes: u64) -> StoredSize {
        match self.shared.form() {
            Form::Plain => StoredSize::Exact(logical_bytes),
            // The empty blob is not stored.
            Form::Casblob if logical_bytes == 0 => StoredSize::Exact(0),
            Form::Casblob => StoredSize::AtMost(casblob::max_file_size_bytes(logical_bytes)),
        }
    }

    fn keeps_first_values(&self) -> bool {
        !K::STORAGE_TYPE.is_mutable() || self.shared.options.mutability == crate::Mutability::CreateOnly
    }
}

/// The deletion of blobs, with their accounts where the server keeps metadata: `stored_blob` costs 1 `HEAD`, `delete_blob`
/// 1 `DELETE`.
///
/// On S3, the deletion has the condition that the object still has its `ETag`. Some servers ignore that: there, a value of a
/// mutable kind that is put between both calls is deleted as well. Whoever counts by an index of keys notices it in the next
/// scan. Nobody else writes to a bucket in memory or in a directory, so nothing goes unnoticed there.
#[async_trait]
impl<K: Kind> DeleteBlob for BucketStore<K> {
    async fn stored_blob(&self, ctx: &Context, digest: &Digest) -> Result<Option<StoredBlob>> {
        self.answered(self.shared.stored_blob(ctx, digest)).await
    }

    async fn delete_blob(&self, ctx: &Context, digest: &Digest, expected: &StoredBlob) -> Result<DeleteOutcome> {
        self.answered(self.shared.delete_blob(ctx, digest, expected)).await
    }

    fn listed_digest(&self, digest: &Digest) -> Digest {
        self.shared.options.layout.listed_digest(K::STORAGE_TYPE, digest)
    }
}

#[async_trait]
impl<K: Kind> Inventory for BucketStore<K> {
    async fn inventory(&self, ctx: &Context, cursor: Option<&InventoryCursor>) -> Result<InventoryPage> {
        self.answered(self.shared.list_page(ctx, cursor)).await
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
