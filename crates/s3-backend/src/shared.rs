//! The state that all calls of a store share: the bucket, the findings, and the options.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use blobaccess::{Clock, Context, Digest, Error, Provenance, Result, StorageType, UploadToken};
use object_store::path::Path;
use uuid::Uuid;

use crate::BucketOptions;
use crate::aborts::Aborts;
use crate::backoff::{Backoff, seed};
use crate::bucket::{Bucket, ObjectInfo};
use crate::complaints::Complaints;
use crate::damage::Damage;
use crate::doubts::Doubts;
use crate::findings::Findings;
use crate::layout::Form;
use crate::probe::probe;
use crate::{casblob, claim_marker};

/// The slowest transfer that an attempt is given time for, in bytes a second.
const SLOWEST_BYTES_PER_SECOND: u64 = 256 << 10;

/// The first and the longest pause between two probes of a bucket that does not answer.
const FIRST_PROBE: Duration = Duration::from_secs(1);
const LAST_PROBE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) bucket: Bucket,
    pub(crate) options: BucketOptions,
    /// The facts found by the probe, once the bucket has answered.
    pub(crate) findings: OnceLock<Findings>,
    pub(crate) complaints: Complaints,
    pub(crate) aborts: Aborts,
    pub(crate) damage: Damage,
    pub(crate) doubts: Doubts,
    pub(crate) storage_type: StorageType,
}

impl Shared {
    /// Returns the facts found by the probe. Calls that depend on them begin once the bucket has [answered](Self::check_answered).
    pub(crate) fn findings(&self) -> Findings {
        self.findings.get().copied().unwrap_or_else(|| Findings::documented(&self.bucket))
    }

    /// Fails with `Unavailable` if the bucket has not answered since the start.
    pub(crate) fn check_answered(&self) -> Result<()> {
        if self.findings.get().is_some() {
            return Ok(());
        }
        let message = "the bucket has not answered since the start";
        Err(Error::unavailable(message).with_retryable(true).not_stored())
    }

    /// Probes a bucket that did not answer when it was opened, until it does.
    pub(crate) async fn run_probe(&self) {
        let mut pause = FIRST_PROBE;
        while self.findings.get().is_none() {
            let clock = self.clock();
            clock.sleep_until(clock.monotonic() + pause).await;
            pause = (pause * 2).min(LAST_PROBE);
            match probe(&self.bucket, &self.options, self.storage_type.is_mutable()).await {
                Ok(findings) => {
                    tracing::info!(bucket = %self.bucket, %findings, "the bucket answers");
                    // Nobody else probes, and the first facts would stay.
                    self.findings.get_or_init(|| findings);
                }
                Err(error) => self.complaints.note(self.clock().monotonic(), &self.bucket, &error),
            }
        }
    }

    /// Returns whether listings are in the order of keys and can begin anywhere.
    pub(crate) fn lists_in_order(&self) -> bool {
        self.bucket.lists_in_order() && self.findings().lists_in_order
    }

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

    /// Reads the metadata of a blob. Neither a claim nor an object that is wrong is a blob.
    pub(crate) async fn head_blob(&self, ctx: &Context, digest: &Digest, path: &Path) -> Result<Option<ObjectInfo>> {
        let Some(found) = self.head(ctx, path).await? else { return Ok(None) };
        Ok(self.holds_blob(digest, &found)?.then_some(found))
    }

    /// Returns whether the object holds the blob, as far as its size and earlier reads tell.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the size is wrong and the answer may be that of a proxy.
    pub(crate) fn holds_blob(&self, digest: &Digest, found: &ObjectInfo) -> Result<bool> {
        if self.is_claim(digest, found.size_bytes) {
            return Ok(false);
        }
        if !self.may_hold(digest, found.size_bytes) {
            if !found.own && self.bucket.provider().is_remote() {
                let message = "the answer about a blob has a wrong size, and no mark of the bucket";
                return Err(Error::unavailable(message).with_retryable(true));
            }
            self.damage.note(digest, found.e_tag.as_deref());
            return Ok(false);
        }
        Ok(!self.damage.is_known(digest, found.e_tag.as_deref()))
    }

    /// Returns whether an object that is there, and is no claim, does not hold the blob of its key.
    pub(crate) fn is_wrong(&self, digest: &Digest, found: &ObjectInfo) -> Result<bool> {
        Ok(!self.is_claim(digest, found.size_bytes) && !self.holds_blob(digest, found)?)
    }

    /// Returns whether an object of this size may hold the blob.
    pub(crate) fn may_hold(&self, digest: &Digest, size_bytes: u64) -> bool {
        if self.storage_type.is_mutable() {
            return true;
        }
        match self.form() {
            Form::Plain => size_bytes == digest.size_bytes(),
            Form::Casblob => size_bytes >= casblob::MIN_FILE_SIZE_BYTES,
        }
    }

    /// Returns the origin of contents that are read from the object with this `ETag`: if they prove to be wrong, the object
    /// is missing from then on.
    pub(crate) fn provenance(self: &Arc<Self>, digest: &Digest, found: &ObjectInfo) -> Provenance {
        if !found.own && self.bucket.provider().is_remote() {
            // These may be the contents of a proxy's page.
            return Provenance::store();
        }
        let (shared, digest, e_tag) = (Arc::clone(self), digest.clone(), found.e_tag.clone());
        Provenance::store_with_verdict(move |right| {
            if !right {
                shared.damage.note(&digest, e_tag.as_deref());
            }
        })
    }

    /// Notes that an object is wrong unless the answer may be that of a proxy.
    pub(crate) fn note_wrong(&self, digest: &Digest, found: &ObjectInfo) {
        if found.own || !self.bucket.provider().is_remote() {
            self.damage.note(digest, found.e_tag.as_deref());
        }
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

    /// Waits for `pause` before something is tried again. Returns `false` at once if the caller's deadline comes earlier, or
    /// if all callers together have tried too much again.
    pub(crate) async fn pause_to_retry(&self, ctx: &Context, pause: Duration) -> bool {
        // What is not tried again takes nothing from the budget.
        let until = self.clock().monotonic() + pause;
        let is_late = ctx.deadline().is_some_and(|deadline| deadline <= until);
        !is_late && self.bucket.may_retry() && self.pause(ctx, pause).await
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
