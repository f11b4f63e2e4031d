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
