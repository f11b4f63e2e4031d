//! Resolves which upload stored a blob.

use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{Context, Digest, Kind, ResolveUpload, Result, StoredSize, UploadResolution, UploadToken, blocking};

use super::LocalStore;

/// A blob that was put without a token, or was found as a part of another object, is `Unknown`.
#[async_trait]
impl<K: Kind> ResolveUpload for LocalStore<K> {
    async fn resolve_upload(&self, _ctx: &Context, digest: &Digest, token: &UploadToken) -> Result<UploadResolution> {
        if !self.sees(digest)? {
            return Ok(UploadResolution::Absent);
        }
        let key = self.engine.keys.key(digest);
        loop {
            let Some(record) = self.engine.peek(&key) else { return Ok(UploadResolution::Absent) };
            if !record.has_tail {
                return Ok(UploadResolution::Unknown);
            }
            let engine = Arc::clone(&self.engine);
            let tail = blocking(move || engine.tail(&record)).await.map_err(|error| error.at(digest.to_string()))?;
            let stored_bytes = record.location.size_bytes;
            // It was moved, or is gone: the map says which.
            let Some(tail) = tail else { continue };
            return Ok(match tail.token {
                None => UploadResolution::Unknown,
                Some(stored) if stored == *token => UploadResolution::Mine { stored_bytes },
                Some(_) => UploadResolution::Anothers { stored_bytes },
            });
        }
    }

    fn stored_size(&self, logical_bytes: u64) -> StoredSize {
        StoredSize::Exact(logical_bytes)
    }
}
