//! Creates an object if there is none under its key, and finds out whether it did.

use std::time::Duration;

use blobaccess::{Context, DeadlineElapsed, Error, PutCertainty, Result, UploadToken};
use object_store::path::Path;
use object_store::{PutMode, PutPayload, UpdateVersion};

use crate::backoff::Backoff;
use crate::bucket::ObjectInfo;
use crate::error::bounded;
use crate::history::History;
use crate::last_answer::LastAnswer;
use crate::shared::Shared;
use crate::verdict::{self, Verdict};

/// The result of a create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Creation {
    /// This upload created the object.
    Created {
        version: UpdateVersion,
        /// The object that a question found, unless an answer said that it was created. Another put under the same token may
        /// have left it, with other contents.
        found: Option<ObjectInfo>,
    },
    /// Another upload created the object.
    Exists {
        found: ObjectInfo,
        /// Whether an object of ours may have existed in the meantime. This can happen only where objects are replaced.
        after_ambiguity: bool,
    },
}

/// A create in progress.
struct Attempts<'a> {
    shared: &'a Shared,
    ctx: &'a Context,
    path: &'a Path,
    token: &'a UploadToken,
    backoff: Backoff,
    history: History,
    /// Whether an attempt may have stored the object although its answer did not say so.
    ambiguous: bool,
}

impl Shared {
    /// Creates the object, or finds out that another upload created it.
    ///
    /// At most one attempt of ours can have created the object while it exists. All attempts leave the same token,
    /// which is stored with the object in one step, and reads see the last write. Therefore the token found is ours if
    /// and only if we created the object that is there.
    pub(crate) async fn create(
        &self,
        ctx: &Context,
        path: &Path,
        payload: &PutPayload,
        token: &UploadToken,
    ) -> Result<Creation> {
        let attempts = Attempts {
            shared: self,
            ctx,
            path,
            token,
            backoff: self.backoff(token),
            history: History::new(self.clock().monotonic()),
            ambiguous: false,
        };
        attempts.run(payload).await
    }
}

impl Attempts<'_> {
    async fn run(mut self, payload: &PutPayload) -> Result<Creation> {
        let size_bytes = u64::try_from(payload.content_length()).unwrap_or(u64::MAX);
        let mut last = None;
        for attempt in 0..self.shared.options.attempts {
            if attempt > 0 {
                let pause = self.backoff.next();
                if !self.shared.pause_to_retry(self.ctx, pause).await {
                    break;
                }
            }
            match self.attempt(payload, size_bytes).await {
                Ok(version) => return Ok(Creation::Created { version, found: None }),
                Err(Verdict::Failed) => {
                    if let Some(creation) = self.verify().await? {
                        return Ok(creation);
                    }
                    // The object was deleted between the answer and the question.
                    let gone = "an object of the same key was deleted while it was asked about";
                    last = Some(Error::aborted(gone).with_retryable(true));
                }
                Err(Verdict::Again(error)) => last = Some(error),
                Err(Verdict::Maybe(error)) => {
                    self.ambiguous = true;
                    last = Some(error);
                }
                Err(Verdict::Refused(error)) => {
                    last = Some(error.with_retryable(false));
                    break;
                }
            }
        }
        let last = last.unwrap_or_else(|| Error::deadline_exceeded("the time for the put ran out"));
        if self.ambiguous { self.resolve(last).await } else { Err(self.failed(&last, PutCertainty::NotStored)) }
    }

    async fn attempt(&mut self, payload: &PutPayload, size_bytes: u64) -> std::result::Result<UpdateVersion, Verdict> {
        let last_answer = LastAnswer::default();
        let bucket = &self.shared.bucket;
        let account = self.ctx.counted_account();
        let put = bucket.put_once(self.path, payload.clone(), PutMode::Create, Some(self.token), account, &last_answer);
        let end = self.shared.attempt_ends(self.ctx, size_bytes);
        let result = self.shared.clock().timeout(Some(end), put).await;
        let now = self.shared.clock().monotonic();
        match result {
            Ok(Ok(done)) => Ok(done.into()),
            Ok(Err(error)) => {
                let answer = last_answer.answer();
                match &answer {
                    Some(answer) => self.history.note(now, answer),
                    None => self.history.note(now, "not sent"),
                }
                Err(verdict::judge(error, answer.as_ref(), bucket.provider()))
            }
            Err(DeadlineElapsed) => {
                self.history.note(now, "timed out");
                Err(Verdict::Maybe(Error::deadline_exceeded("the bucket did not answer in time").with_retryable(true)))
            }
        }
    }

    /// Finds out who created the object that failed the condition. Returns `None` if the object is gone.
    async fn verify(&mut self) -> Result<Option<Creation>> {
        if !self.shared.bucket.provider().is_remote() && !self.ambiguous {
            // No answer was lost, so the object belongs to another upload.
            let found = self.shared.head(self.ctx, self.path).await?;
            return Ok(found.map(|found| Creation::Exists { found, after_ambiguity: false }));
        }
        let mut backoff = self.shared.backoff(self.token);
        let mut tries = self.shared.options.attempts;
        loop {
            match self.shared.head(self.ctx, self.path).await {
                Ok(found) => return Ok(found.map(|found| self.whose(found))),
                Err(error) => {
                    tries -= 1;
                    self.history.note(self.shared.clock().monotonic(), format_args!("condition failed, then {error}"));
                    if tries == 0
                        || !error.is_retryable()
                        || !self.shared.pause_to_retry(self.ctx, backoff.next()).await
                    {
                        // A proxy may have sent the first attempt twice.
                        return Err(self.failed(&error, PutCertainty::MaybeStored));
                    }
                }
            }
        }
    }

    fn whose(&self, found: ObjectInfo) -> Creation {
        if found.token.as_ref() == Some(self.token) && self.shared.findings().keeps_tokens {
            Creation::Created { version: found.update_version(false), found: Some(found) }
        } else {
            Creation::Exists { found, after_ambiguity: self.ambiguous }
        }
    }

    /// Asks a last time after attempts that may have stored the object.
    async fn resolve(mut self, last: Error) -> Result<Creation> {
        let pause = self.backoff.next().min(Duration::from_secs(1));
        // What is found in a directory need not be on its disk.
        if self.shared.bucket.provider().is_remote()
            && self.shared.pause(self.ctx, pause).await
            && let Ok(Some(found)) = self.shared.head(self.ctx, self.path).await
        {
            return Ok(self.whose(found));
        }
        // The object may still arrive: an abandoned attempt may be in flight.
        Err(self.failed(&last, PutCertainty::MaybeStored))
    }

    fn failed(&self, error: &Error, certainty: PutCertainty) -> Error {
        let kind = error.kind();
        let retryable = error.is_retryable();
        Error::new(kind, bounded(format!("the object was not created: {error}; {}", self.history)))
            .with_retryable(retryable)
            .with_put_certainty(certainty)
            .with_source(self.history.clone())
    }
}
