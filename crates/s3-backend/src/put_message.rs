//! Puts messages, whose value under a digest may change.

use blobaccess::{Blob, Context, DeadlineElapsed, Digest, Error, PutCertainty, PutOutcome, Result};
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{PutMode, PutPayload};

use crate::Mutability;
use crate::bucket::ObjectInfo;
use crate::create::Creation;
use crate::last_answer::LastAnswer;
use crate::shared::{Shared, token_of};
use crate::verdict::{self, Verdict};
use crate::whose::{Putting, Whose};

/// An update whose result is not known.
struct Pending {
    /// The object that the update was to replace.
    replaces: ObjectInfo,
    /// Whether the answer to this update, or to an earlier update of the same object, is missing.
    lost: bool,
}

impl Pending {
    fn after(before: Option<Self>, replaces: ObjectInfo, lost: bool) -> Self {
        let lost_before = before.is_some_and(|before| before.lost && before.replaces.is_same(&replaces));
        Self { replaces, lost: lost || lost_before }
    }
}

impl Shared {
    pub(crate) async fn put_message(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        let path = self.path(digest)?;
        let max = self.options.max_message_size_bytes;
        if blob.size_bytes() > max {
            let size = blob.size_bytes();
            return Err(Error::invalid_argument(format!("message {digest} is {size} bytes; the maximum is {max}")));
        }
        let value =
            self.within(ctx, blob.into_bytes(max)).await.map_err(Error::not_stored)?.map_err(Error::not_stored)?;
        let putting = self.begin_putting(ctx);
        let conditional = self.findings().conditional_put && self.findings().conditional_update;
        let result = if self.options.mutability == Mutability::CreateOnly {
            self.put_first(ctx, &path, &value, &putting).await
        } else if self.bucket.provider().is_remote() && conditional {
            self.replace(ctx, digest, &path, value, &putting).await
        } else {
            self.replace_alone(ctx, &path, value).await
        };
        self.end_putting(&putting, &result);
        result
    }

    async fn put_first(&self, ctx: &Context, path: &Path, value: &Bytes, putting: &Putting) -> Result<PutOutcome> {
        let stored_bytes = size_of(value);
        match self.create(ctx, path, &value.clone().into(), &putting.token).await? {
            Creation::Created { .. } if !self.findings().conditional_put => {
                Ok(PutOutcome::Unclassified { stored_bytes: Some(stored_bytes) })
            }
            Creation::Created { .. } => Ok(PutOutcome::Created { stored_bytes }),
            Creation::Exists { found, .. } => Ok(self.outcome_of_found(&found, putting)),
        }
    }

    /// Creates the entry, or compares and replaces the existing one, and starts over if another writer was quicker.
    async fn replace(
        &self,
        ctx: &Context,
        digest: &Digest,
        path: &Path,
        value: Bytes,
        putting: &Putting,
    ) -> Result<PutOutcome> {
        let (stored_bytes, token) = (size_of(&value), putting.token);
        let payload = PutPayload::from_bytes(value.clone());
        let mut backoff = self.backoff(&token);
        // Whether another writer may have replaced a value of ours: then the outcome cannot be known.
        let mut uncertain = false;
        // The last update that was not answered with success. It stays until its result is known, as a lost update may
        // arrive after the next question or the next attempt.
        let mut pending: Option<Pending> = None;
        let mut last = None;
        let outcome = |outcome, uncertain| {
            if uncertain { PutOutcome::Unclassified { stored_bytes: Some(stored_bytes) } } else { outcome }
        };
        // Each lost race means that another writer succeeded, so races are tolerated for longer than failures.
        let mut tries = self.options.attempts.saturating_mul(4);
        let mut races = tries.saturating_mul(16);
        let mut before: Option<ObjectInfo> = None;
        while tries > 0 && races > 0 {
            let current = match self.value(ctx, path).await {
                Ok(current) => current,
                Err(error) if error.is_retryable() && self.pause_to_retry(ctx, backoff.next()).await => {
                    tries -= 1;
                    last = Some(error);
                    continue;
                }
                Err(error) => return Err(with_certainty(error, pending.is_some() || uncertain)),
            };
            let Some((found, old)) = current else {
                tries -= 1;
                uncertain |= pending.take().is_some_and(|pending| pending.lost);
                match self.create(ctx, path, &payload, &token).await? {
                    Creation::Created { .. } => return Ok(outcome(PutOutcome::Created { stored_bytes }, uncertain)),
                    Creation::Exists { found, after_ambiguity } => {
                        uncertain |= after_ambiguity || self.whose(&found, &token, putting.since) == Whose::Unknown;
                    }
                }
                continue;
            };
            if let Some(pending) = &pending {
                if found.token.as_ref() == Some(&token) && self.findings().keeps_tokens {
                    let old_bytes = pending.replaces.size_bytes;
                    return Ok(outcome(PutOutcome::Replaced { stored_bytes, old_bytes }, uncertain));
                }
                // If the update was refused, another writer was quicker. If it was lost, our value may have existed in
                // between.
                uncertain |= pending.lost && !pending.replaces.is_same(&found);
            }
            if old == value {
                return Ok(outcome(PutOutcome::AlreadyExists { stored_bytes: found.size_bytes }, uncertain));
            }
            match before.replace(found.clone()) {
                Some(before) if !before.is_same(&found) => races -= 1,
                Some(_) | None => tries -= 1,
            }
            let old_bytes = found.size_bytes;
            let last_answer = LastAnswer::default();
            let version = found.update_version(self.findings().bare_e_tags);
            let (mode, account) = (PutMode::Update(version), ctx.counted_account());
            let put = self.bucket.put_once(path, payload.clone(), mode, Some(&token), account, &last_answer);
            let verdict = match self.clock().timeout(Some(self.attempt_ends(ctx, stored_bytes)), put).await {
                Ok(Ok(_)) => return Ok(outcome(PutOutcome::Replaced { stored_bytes, old_bytes }, uncertain)),
                Ok(Err(error)) => verdict::judge(error, last_answer.answer().as_ref(), self.bucket.provider()),
                Err(DeadlineElapsed) => Verdict::Maybe(Error::deadline_exceeded("the bucket did not answer in time")),
            };
            match verdict {
                Verdict::Failed if verdict::is_leased(last_answer.answer().as_ref()) => {
                    let error =
                        Error::failed_precondition(format!("message {digest} is leased, and may not be replaced"));
                    return Err(with_certainty(error, pending.is_some() || uncertain));
                }
                // Another writer was quicker, or a proxy has sent our update twice, which the token tells.
                Verdict::Failed => pending = Some(Pending::after(pending, found, false)),
                Verdict::Maybe(error) => {
                    pending = Some(Pending::after(pending, found, true));
                    last = Some(error);
                }
                Verdict::Again(error) => last = Some(error),
                Verdict::Refused(error) => return Err(with_certainty(error, pending.is_some() || uncertain)),
            }
            if !self.pause(ctx, backoff.next()).await {
                break;
            }
        }
        let last = last.unwrap_or_else(|| {
            Error::aborted(format!("message {digest} was replaced by other writers in every attempt"))
        });
        Err(with_certainty(last.with_retryable(true), pending.is_some() || uncertain).at(digest.to_string()))
    }

    /// Replaces the entry under a lock, where nobody else replaces it; or without conditions, where nobody can tell.
    async fn replace_alone(&self, ctx: &Context, path: &Path, value: Bytes) -> Result<PutOutcome> {
        let stored_bytes = size_of(&value);
        let _alone = self.bucket.lock(path).await;
        let old = self.value(ctx, path).await.map_err(Error::not_stored)?;
        let payload = PutPayload::from_bytes(value.clone());
        let outcome = match &old {
            Some((found, old)) if *old == value => {
                return Ok(PutOutcome::AlreadyExists { stored_bytes: found.size_bytes });
            }
            Some((found, _)) => PutOutcome::Replaced { stored_bytes, old_bytes: found.size_bytes },
            None => PutOutcome::Created { stored_bytes },
        };
        let last_answer = LastAnswer::default();
        let token = token_of(ctx);
        let account = ctx.counted_account();
        let put = self.bucket.put_once(path, payload, PutMode::Overwrite, Some(&token), account, &last_answer);
        match self.clock().timeout(Some(self.attempt_ends(ctx, stored_bytes)), put).await {
            Ok(Ok(_)) if self.bucket.provider().is_remote() => {
                Ok(PutOutcome::Unclassified { stored_bytes: Some(stored_bytes) })
            }
            Ok(Ok(_)) => Ok(outcome),
            Ok(Err(error)) => Err(crate::error::from_provider(error, last_answer.answer().as_ref())),
            Err(DeadlineElapsed) => Err(Error::deadline_exceeded("the bucket did not answer in time")),
        }
    }

    /// Reads the current value and the metadata of its object.
    pub(crate) async fn value(&self, ctx: &Context, path: &Path) -> Result<Option<(ObjectInfo, Bytes)>> {
        let max = self.options.max_message_size_bytes;
        let read = async {
            let Some(mut reading) = self.bucket.get(path, None).await? else {
                return Ok(None);
            };
            if reading.found.size_bytes > max {
                let size = reading.found.size_bytes;
                return Err(Error::data_loss(format!("the stored message is {size} bytes; the maximum is {max}")));
            }
            let mut value = BytesMut::new();
            while let Some(piece) = reading.stream.try_next().await? {
                value.extend_from_slice(&piece);
            }
            Ok(Some((reading.found, value.freeze())))
        };
        self.within(ctx, read).await?
    }
}

fn size_of(value: &Bytes) -> u64 {
    u64::try_from(value.len()).unwrap_or(u64::MAX)
}

fn with_certainty(error: Error, maybe: bool) -> Error {
    error.with_put_certainty(if maybe { PutCertainty::MaybeStored } else { PutCertainty::NotStored })
}
