//! Resolves whose upload a stored blob is, by the token that it was stored with.

use blobaccess::{Context, Digest, Result, UploadResolution, UploadToken};

use crate::shared::Shared;

impl Shared {
    pub(crate) async fn resolve_upload(
        &self,
        ctx: &Context,
        digest: &Digest,
        token: &UploadToken,
    ) -> Result<UploadResolution> {
        if self.is_always_there(digest) {
            return Ok(UploadResolution::Anothers { stored_bytes: 0 });
        }
        let path = self.path(digest)?;
        let Some(found) = self.head_blob(ctx, digest, &path).await? else {
            return Ok(UploadResolution::Absent);
        };
        let stored_bytes = found.size_bytes;
        Ok(match found.token {
            _ if !self.findings().keeps_tokens => UploadResolution::Unknown,
            Some(stored) if stored == *token => UploadResolution::Mine { stored_bytes },
            // Of another upload, or of a writer that leaves no tokens.
            Some(_) | None => UploadResolution::Anothers { stored_bytes },
        })
    }
}
