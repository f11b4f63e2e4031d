//! The contents of a queued upload until its turn comes: held in memory, or read again from a store.

use std::sync::Arc;

use blobaccess::{Blob, BlobAccess, Context, Digest, Kind, Result};
use bytes::Bytes;

/// The contents of an upload until its turn comes.
pub(super) enum Contents<K: Kind> {
    /// Bytes in memory.
    Held(Bytes),
    /// A store that has the blob.
    Stored(Arc<dyn BlobAccess<Kind = K>>),
}

impl<K: Kind> Clone for Contents<K> {
    fn clone(&self) -> Self {
        match self {
            Self::Held(bytes) => Self::Held(bytes.clone()),
            Self::Stored(store) => Self::Stored(Arc::clone(store)),
        }
    }
}

impl<K: Kind> Contents<K> {
    /// Returns the blob called `digest`, for which these are the contents.
    pub(super) async fn blob(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        match self {
            Self::Held(bytes) if K::STORAGE_TYPE.is_mutable() => Ok(Blob::from_bytes(bytes.clone())),
            Self::Held(bytes) => Ok(Blob::from_verified_bytes(digest, bytes.clone())),
            Self::Stored(store) => store.get(ctx, digest).await,
        }
    }
}
