//! The deletion of single blobs, and the facts that a store keeps beside a blob.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{AccountName, Context, Digest, Result, UploadToken};

/// A store whose blobs can be deleted one by one.
///
/// A deletion has two steps, so that whoever counts it can write down in between whose blob is about to go: ask for
/// the [stored blob](Self::stored_blob), then [delete](Self::delete_blob) that one.
///
/// Layers above the store may believe for a while that the blob is there: an existence cache, a cache of reads.
#[async_trait]
pub trait DeleteBlob: Debug + Send + Sync + 'static {
    /// Returns what the store keeps of a blob: its size, and whose upload it is. `None` if nothing is stored.
    ///
    /// A blob that is damaged is stored: it takes room until it is deleted or replaced.
    ///
    /// # Errors
    ///
    /// Fails if the store cannot tell now. An outage is never `None`.
    async fn stored_blob(&self, ctx: &Context, digest: &Digest) -> Result<Option<StoredBlob>>;

    /// Deletes a blob if it is still the one that [`stored_blob`](Self::stored_blob) returned.
    ///
    /// # Errors
    ///
    /// Fails if the blob may still be stored. The call may be repeated: a blob that is gone by then is
    /// [`DeleteOutcome::Absent`].
    ///
    /// # Cancel safety
    ///
    /// A call that is dropped may still take effect.
    async fn delete_blob(&self, ctx: &Context, digest: &Digest, expected: &StoredBlob) -> Result<DeleteOutcome>;

    /// Returns the digest under which a [listing](crate::Inventory) shows the blob: the same for all digests that name one
    /// object. Where keys lack sizes, contents have the size 0.
    fn listed_digest(&self, digest: &Digest) -> Digest;
}

/// A shared store deletes blobs as the store does.
#[async_trait]
impl<D: DeleteBlob + ?Sized> DeleteBlob for Arc<D> {
    async fn stored_blob(&self, ctx: &Context, digest: &Digest) -> Result<Option<StoredBlob>> {
        (**self).stored_blob(ctx, digest).await
    }

    async fn delete_blob(&self, ctx: &Context, digest: &Digest, expected: &StoredBlob) -> Result<DeleteOutcome> {
        (**self).delete_blob(ctx, digest, expected).await
    }

    fn listed_digest(&self, digest: &Digest) -> Digest {
        (**self).listed_digest(digest)
    }
}

/// The facts that a store keeps beside a blob.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredBlob {
    /// The size of the blob as stored, in bytes.
    pub stored_bytes: u64,
    /// The token of the upload that stored it. `None` if the store keeps none, or the upload left none.
    pub upload_token: Option<UploadToken>,
    /// The account that the upload was [counted for](Context::counted_account). `None` if the store keeps none, or the
    /// upload left none.
    pub account_name: Option<AccountName>,
    /// The name of this very value, such as an `ETag`. Its form is the store's own.
    pub version: Option<Arc<str>>,
}

impl StoredBlob {
    /// Makes the facts of a blob of which nothing but the size is known.
    #[must_use]
    pub const fn new(stored_bytes: u64) -> Self {
        Self { stored_bytes, upload_token: None, account_name: None, version: None }
    }

    /// Sets the token of the upload, if it is known.
    #[must_use]
    pub const fn with_upload_token(mut self, token: Option<UploadToken>) -> Self {
        self.upload_token = token;
        self
    }

    /// Sets the account of the upload, if it is known.
    #[must_use]
    pub fn with_account_name(mut self, account_name: Option<AccountName>) -> Self {
        self.account_name = account_name;
        self
    }

    /// Sets the name of this very value, if it has one.
    #[must_use]
    pub fn with_version(mut self, version: Option<Arc<str>>) -> Self {
        self.version = version;
        self
    }
}

/// The result of a deletion that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeleteOutcome {
    /// The blob is gone, by this deletion as far as the store can tell.
    Deleted,
    /// Nothing was stored any more.
    Absent,
    /// Another upload has replaced the blob since, and its value stays.
    Replaced,
}
