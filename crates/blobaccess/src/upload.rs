//! Whose upload a stored blob is, after the answer to a put was lost.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::{Context, Digest, Result, UploadToken};

/// Tells whether an earlier put, known by its token, is the one that stored what is there now.
///
/// Backends that keep the token of a put beside what it stored implement this; a journal of uploads asks after a
/// crash or a lost answer.
#[async_trait]
pub trait ResolveUpload: Debug + Send + Sync + 'static {
    /// Whether what is stored under `digest` was put under `token`.
    ///
    /// # Errors
    ///
    /// If that cannot be found out now. It may be asked again.
    async fn resolve_upload(&self, ctx: &Context, digest: &Digest, token: &UploadToken) -> Result<UploadResolution>;
}

/// Whose upload a stored blob is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UploadResolution {
    /// It was put under the token asked about.
    Mine {
        /// What it takes in the store, in bytes.
        stored_bytes: u64,
    },
    /// It was put under another token.
    Anothers {
        /// What it takes in the store, in bytes.
        stored_bytes: u64,
    },
    /// Nothing is stored under the digest.
    Absent,
    /// Something is stored, but not under which token.
    Unknown,
}
