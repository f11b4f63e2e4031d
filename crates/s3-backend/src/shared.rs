//! The state that all calls of a store share: the bucket, the findings, and the options.

use std::sync::Arc;
use std::time::{Duration, Instant};

use blobaccess::{Clock, Context, Digest, Error, Result, StorageType, UploadToken};
use object_store::path::Path;
use uuid::Uuid;

use crate::BucketOptions;
use crate::aborts::Aborts;
use crate::backoff::{Backoff, seed};
use crate::bucket::{Bucket, ObjectInfo};
use crate::claim_marker;
use crate::findings::Findings;
use crate::layout::Form;

/// The slowest transfer that an attempt is given time for, in bytes a second.
const SLOWEST_BYTES_PER_SECOND: u64 = 256 << 10;

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) bucket: Bucket,
    pub(crate) options: BucketOptions,
    pub(crate) findings: Findings,
    pub(crate) aborts: Aborts,
    pub(crate) storage_type: StorageType,
}

impl Shared {
    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        self.bucket.clock()
    }

    /// Waits for `work` until the caller's deadline.
    ///
    /// # Errors
    ///
    /// `DeadlineExceeded` if the deadline comes first. The work is dropped then.
    pub(crate) async fn within<F: Future>(&self, ctx: &Context, work: F) -> Result<F::Output> {
        let result = self.clock().timeout(ctx.deadline(), work).await;
        result.map_err(|_| Error::deadline_exceeded("the deadline passed before the bucket answered"))
    }

    pub(crate) fn form(&self) -> Form {
        self.options.layout.form(self.storage_type)
    }

    pub(crate) fn path(&self, digest: &Digest) -> Result<Path> {
        self.bucket.path(&self.options.layout.key(self.storage_type, digest)?)
    }

    /// Returns whether the empty blob exists without having been put, as a casblob cannot hold it.
    pub(crate) fn is_always_there(&self, digest: &Digest) -> bool {
        digest.is_empty_blob() && self.form() == Form::Casblob
    }

    /// Reads the metadata of an object, until the caller's deadline.
    pub(crate) async fn head(&self, ctx: &Context, path: &Path) -> Result<Option<ObjectInfo>> {
        self.within(ctx, self.bucket.head(path)).await?
    }

    /// Reads the metadata of a blob. A claim is not a blob.
    pub(crate) async fn head_blob(&self, ctx: &Context, digest: &Digest, path: &Path) -> Result<Option<ObjectInfo>> {
        let found = self.head(ctx, path).await?;
        Ok(found.filter(|found| !self.is_claim(digest, found.size_bytes)))
    }

    /// Returns whether an object of this size under the key of `digest` is a claim rather than the blob.
    pub(crate) fn is_claim(&self, digest: &Digest, size_bytes: u64) -> bool {
        !self.storage_type.is_mutable()
            && size_bytes == claim_marker::SIZE_BYTES
            && (self.form() == Form::Casblob || digest.size_bytes() != claim_marker::SIZE_BYTES)
    }

    pub(crate) fn backoff(&self, token: &UploadToken) -> Backoff {
        let (first, max) = (self.options.backoff_first, self.options.backoff_max);
        Backoff::new(first, max, seed(token.as_bytes()))
    }

    /// Returns the time at which an attempt that begins now and sends `bytes` is given up.
    pub(crate) fn attempt_ends(&self, ctx: &Context, bytes: u64) -> Instant {
        let allowed = self.options.attempt_timeout + Duration::from_secs(bytes / SLOWEST_BYTES_PER_SECOND);
        let end = self.clock().monotonic() + allowed;
        ctx.deadline().map_or(end, |deadline| deadline.min(end))
    }

    /// Waits for `pause`. Returns `false` at once if the caller's deadline comes earlier.
    pub(crate) async fn pause(&self, ctx: &Context, pause: Duration) -> bool {
        let until = self.clock().monotonic() + pause;
        if ctx.deadline().is_some_and(|deadline| deadline <= until) {
            return false;
        }
        self.clock().sleep_until(until).await;
        true
    }
}

/// Returns the upload token of the caller, or else a new one.
pub(crate) fn token_of(ctx: &Context) -> UploadToken {
    ctx.upload_token().copied().unwrap_or_else(|| UploadToken::from_bytes(Uuid::new_v4().into_bytes()))
}

/// Makes the error of a digest that is not stored.
pub(crate) fn not_found(digest: &Digest) -> Error {
    Error::not_found(format!("blob {digest} is not stored"))
}
