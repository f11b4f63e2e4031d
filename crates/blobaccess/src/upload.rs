//! The upload that a stored blob came from, after the answer to a put was lost.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::{Context, Digest, Result, UploadToken};

/// A store that can tell whether an earlier put, identified by its token, stored the blob that is there now.
///
/// Backends that keep the token of a put beside the blob implement this. A journal of uploads asks it after a crash or
/// a lost answer.
#[async_trait]
pub trait ResolveUpload: Debug + Send + Sync + 'static {
    /// Returns whether the blob under `digest` was put under `token`.
    ///
    /// # Errors
    ///
    /// If this cannot be determined now. The call may be repeated.
    async fn resolve_upload(&self, ctx: &Context, digest: &Digest, token: &UploadToken) -> Result<UploadResolution>;

    /// Returns the bytes that a blob of `logical_bytes` would take in the store, as far as the store knows before it is put.
    ///
    /// Uploads that failed or were given up are counted with it. A store that does not know returns
    /// [`Unknown`](StoredSize::Unknown), as this does.
    fn stored_size(&self, logical_bytes: u64) -> StoredSize {
        let _: u64 = logical_bytes;
        StoredSize::Unknown
    }

    /// Returns whether a value that is stored is never replaced, even of a kind whose values may change. Then the token tells
    /// what became of an upload of any kind. `false` unless the store says otherwise.
    fn keeps_first_values(&self) -> bool {
        false
    }
}

/// The bytes that a blob would take in a store, as far as they are known before it is put.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum StoredSize {
    /// Exactly this many bytes.
    Exact(u64),
    /// This many bytes at most: the store compresses the blob.
    AtMost(u64),
    /// Nobody knows.
    #[default]
    Unknown,
}

/// The upload that a stored blob came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UploadResolution {
    /// The blob was put under the given token.
    Mine {
        /// The size of the blob as stored, in bytes.
        stored_bytes: u64,
    },
    /// The blob was put under another token.
    Anothers {
        /// The size of the blob as stored, in bytes.
        stored_bytes: u64,
    },
    /// No blob is stored under the digest.
    Absent,
    /// A blob is stored, but its token is not known.
    Unknown,
}
