//! Replaces an object that proved to be wrong by the right one.

use blobaccess::{Context, DeadlineElapsed, Digest, Error, PutCertainty, PutOutcome, Result, UploadToken};
use object_store::path::Path;
use object_store::{PutMode, PutPayload};

use crate::bucket::ObjectInfo;
use crate::last_answer::LastAnswer;
use crate::shared::Shared;
use crate::verdict::{self, Verdict};

impl Shared {
    /// Replaces `wrong` by `payload`, on the condition that nobody has replaced it since. Returns `None` if somebody has: then
    /// the put begins anew.
    pub(crate) async fn replace_wrong(
        &self,
        ctx: &Context,
        digest: &Digest,
        path: &Path,
        payload: &PutPayload,
        token: &UploadToken,
        wrong: &ObjectInfo,
    ) -> Result<Option<PutOutcome>> {
        let stored_bytes = u64::try_from(payload.content_length()).unwrap_or(u64::MAX);
        let old_bytes = wrong.size_bytes;
        let replaced = || {
            self.damage.repaired(digest);
            tracing::info!(%digest, old_bytes, stored_bytes, "an object that was wrong was replaced");
            PutOutcome::Replaced { stored_bytes, old_bytes }
        };
        let conditional = self.findings().conditional_update;
        // A directory takes no conditions, but nobody else writes to it. A server may ignore them.
        let alone = if conditional { None } else { Some(self.bucket.lock(path).await) };
        let mut backoff = self.backoff(token);
        let (mut last, mut maybe) = (None, false);
        for attempt in 0..self.options.attempts {
            if attempt > 0 && !self.pause_to_retry(ctx, backoff.next()).await {
                break;
            }
            let mode = if conditional {
                PutMode::Update(wrong.update_version(self.findings().bare_e_tags))
            } else {
                match self.head(ctx, path).await? {
                    Some(now) if self.is_wrong(digest, &now)? => PutMode::Overwrite,
                    Some(_) | None => return Ok(None),
                }
            };
            let last_answer = LastAnswer::default();
            let account = ctx.counted_account();
            let put = self.bucket.put_once(path, payload.clone(), mode, Some(token), account, &last_answer);
            let verdict = match self.clock().timeout(Some(self.attempt_ends(ctx, stored_bytes)), put).await {
                Ok(Ok(_)) if conditional || !self.bucket.provider().is_remote() => return Ok(Some(replaced())),
                Ok(Ok(_)) => {
                    self.damage.repaired(digest);
                    return Ok(Some(PutOutcome::Unclassified { stored_bytes: Some(stored_bytes) }));
                }
                Ok(Err(error)) => verdict::judge(error, last_answer.answer().as_ref(), self.bucket.provider()),
                Err(DeadlineElapsed) => Verdict::Maybe(Error::deadline_exceeded("the bucket did not answer in time")),
            };
            match verdict {
                Verdict::Again(error) => last = Some(error),
                Verdict::Refused(error) => return Err(error.not_stored()),
                Verdict::Maybe(error) => (last, maybe) = (Some(error), true),
                // Another writer was quicker, or an attempt of ours whose answer was lost.
                Verdict::Failed => match self.head(ctx, path).await {
                    Ok(Some(now)) if now.token.as_ref() == Some(token) && self.findings().keeps_tokens => {
                        return Ok(Some(replaced()));
                    }
                    // Its metadata may have been lost.
                    Ok(Some(now)) if maybe && now.token.is_none() => {
                        return Ok(Some(PutOutcome::Unclassified { stored_bytes: Some(stored_bytes) }));
                    }
                    Ok(Some(_) | None) if maybe && !self.findings().keeps_tokens => {
                        return Ok(Some(PutOutcome::Unclassified { stored_bytes: Some(stored_bytes) }));
                    }
                    Ok(Some(_) | None) => return Ok(None),
                    Err(error) => last = Some(error),
                },
            }
        }
        drop(alone);
        let last = last.unwrap_or_else(|| Error::deadline_exceeded("the time for the put ran out"));
        let certainty = if maybe { PutCertainty::MaybeStored } else { PutCertainty::NotStored };
        Err(last.with_retryable(true).with_put_certainty(certainty).at(digest.to_string()))
    }
}
