//! Takes, renews and releases the claim on the key of a large blob, which is held while the blob is completed.

use std::time::{Duration, Instant};

use blobaccess::{Context, Digest, Error, Result, UploadToken};
use object_store::path::Path;
use object_store::{PutMode, PutPayload, UpdateVersion};

use crate::bucket::ObjectInfo;
use crate::claim_marker;
use crate::create::Creation;
use crate::last_answer::LastAnswer;
use crate::shared::Shared;

/// A claim that this upload holds.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    version: UpdateVersion,
    renewals: u32,
}

/// The result of claiming a key.
pub(crate) enum Claimed {
    Yes(Claim),
    /// The blob exists.
    Exists(ObjectInfo),
}

impl Shared {
    /// Claims the key, waits until another upload's claim becomes the blob, or takes over a claim that is not renewed. An earlier
    /// put under the same token may have left the blob.
    ///
    /// # Errors
    ///
    /// `Aborted` if an object lies there that is neither a claim nor the blob. The next put replaces it.
    pub(crate) async fn claim(
        &self,
        ctx: &Context,
        digest: &Digest,
        path: &Path,
        token: &UploadToken,
    ) -> Result<Claimed> {
        let payload = PutPayload::from_bytes(claim_marker::contents(token, 0));
        // The claim seen, and since when. Only our own clock is trusted to tell its age.
        let mut seen: Option<(Option<String>, Instant)> = None;
        let mut backoff = self.backoff(token);
        loop {
            let found = match self.create(ctx, path, &payload, token).await? {
                Creation::Created { found: Some(found), .. } | Creation::Exists { found, .. }
                    if !self.is_claim(digest, found.size_bytes) =>
                {
                    if self.is_wrong(digest, &found)? {
                        let message = format!("a wrong object was put in the place of blob {digest} meanwhile");
                        return Err(Error::aborted(message).with_retryable(true).not_stored());
                    }
                    return Ok(Claimed::Exists(found));
                }
                Creation::Created { version, .. } => {
                    return Ok(Claimed::Yes(Claim { version, renewals: 0 }));
                }
                Creation::Exists { found, .. } => found,
            };
            let now = self.clock().monotonic();
            match &seen {
                Some((e_tag, since)) if *e_tag == found.e_tag => {
                    if now.saturating_duration_since(*since) >= self.options.claim_lease
                        && let Some(claim) =
                            self.replace_claim(ctx, path, token, &found.update_version(false), 0).await?
                    {
                        return Ok(Claimed::Yes(claim));
                    }
                }
                Some(_) | None => seen = Some((found.e_tag, now)),
            }
            let pause = backoff.next().min(self.options.claim_lease / 3).max(Duration::from_millis(1));
            if !self.pause(ctx, pause).await {
                return Err(Error::deadline_exceeded(format!("blob {digest} is being uploaded by another"))
                    .with_retryable(true)
                    .not_stored());
            }
        }
    }

    /// Checks that the claim is still ours, and keeps it for as long as a completion takes.
    ///
    /// # Errors
    ///
    /// `Aborted` if another upload has it.
    pub(crate) async fn renew(&self, ctx: &Context, path: &Path, token: &UploadToken, claim: &Claim) -> Result<()> {
        match self.replace_claim(ctx, path, token, &claim.version, claim.renewals + 1).await? {
            Some(_) => Ok(()),
            None => Err(Error::aborted("the claim on the object was taken over by another upload")
                .with_retryable(true)
                .not_stored()),
        }
    }

    /// Deletes the claim, if it exists. Another put under the same token may renew it meanwhile, or replace it with the blob,
    /// which stays.
    pub(crate) async fn release(&self, path: &Path, token: &UploadToken) -> Result<()> {
        match self.bucket.head(path).await? {
            Some(found) if found.size_bytes == claim_marker::SIZE_BYTES && found.token.as_ref() == Some(token) => {
                self.bucket.delete_if_same(path, &found, self.findings().bare_e_tags).await.map(|_| ())
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Replaces the claim with a new one. Returns `None` if the old one does not exist any more.
    async fn replace_claim(
        &self,
        ctx: &Context,
        path: &Path,
        token: &UploadToken,
        old: &UpdateVersion,
        renewals: u32,
    ) -> Result<Option<Claim>> {
        // The new contents must differ from any before, also from an earlier claim under the same token.
        let renewals = renewals.wrapping_add(1);
        let contents = claim_marker::contents(token, renewals);
        let bare = self.findings().bare_e_tags;
        let mut backoff = self.backoff(token);
        for _ in 0..self.options.attempts {
            let expected = old.e_tag.as_deref().map(|e_tag| if bare { e_tag.trim_matches('"') } else { e_tag });
            let version = UpdateVersion { e_tag: expected.map(str::to_owned), version: old.version.clone() };
            let last_answer = LastAnswer::default();
            let payload = PutPayload::from_bytes(contents.clone());
            let put = self.bucket.put_once(path, payload, PutMode::Update(version), Some(token), None, &last_answer);
            let end = self.attempt_ends(ctx, claim_marker::SIZE_BYTES);
            if let Ok(Ok(done)) = self.clock().timeout(Some(end), put).await {
                return Ok(Some(Claim { version: done.into(), renewals }));
            }
            // The answer was lost, a conflict or a failure: the object that is there now tells.
            match self.head(ctx, path).await {
                Ok(Some(found)) if found.e_tag == old.e_tag => {}
                Ok(Some(found))
                    if found.token.as_ref() == Some(token) && found.size_bytes == claim_marker::SIZE_BYTES =>
                {
                    return Ok(Some(Claim { version: found.update_version(false), renewals }));
                }
                Ok(_) => return Ok(None),
                Err(error) if !error.is_retryable() => return Err(error),
                Err(_) => {}
            }
            if !self.pause(ctx, backoff.next()).await {
                break;
            }
        }
        Err(Error::unavailable("the claim on the object cannot be renewed").not_stored())
    }
}
