//! Probes how a server treats conditions, before puts rely on them.

use std::time::{Duration, Instant};

use blobaccess::{Error, Result, UploadToken};
use bytes::Bytes;
use object_store::path::Path;
use object_store::{PutMode, PutPayload, UpdateVersion};
use uuid::Uuid;

use crate::backoff::{Backoff, seed};
use crate::bucket::{Bucket, Completion, MultipartUpload, Parts, Provider};
use crate::error::{code_in, excerpt};
use crate::findings::Findings;
use crate::last_answer::LastAnswer;
use crate::verdict::{self, Verdict};
use crate::{BucketOptions, OnMissingConditions};

mod races;

pub(crate) use self::races::Races;

/// The number of concurrent writers of one key in the probe.
const RACERS: usize = 8;

/// The time that cleaning up may take after a question whose time is limited.
const CLEANING: Duration = Duration::from_secs(15);

/// Probes the bucket, if it is one whose behaviour may differ from its documentation.
pub(crate) async fn probe(bucket: &Bucket, options: &BucketOptions, mutable: bool) -> Result<Findings> {
    if !options.probe || !bucket.provider().is_remote() {
        return Ok(Findings::documented(bucket));
    }
    bucket.check_credentials().await?;
    let findings = Probe { bucket, options }.run().await.map_err(|error| in_full(error, bucket))?;
    let findings = judged(findings, bucket, options, mutable)?;
    if bucket.is_first_to_tell() {
        let lacks = findings.shortcomings();
        if lacks.is_empty() {
            tracing::info!(%bucket, %findings, "the server of the bucket was probed");
        } else {
            let lacks = lacks.join("; ");
            tracing::warn!(%bucket, %lacks, "the server of the bucket lacks what exact accounts need, see docs/servers.md");
        }
    }
    Ok(findings)
}

/// Returns an error of the probe with all that is known of it: an operator reads it, not a client.
fn in_full(error: Error, bucket: &Bucket) -> Error {
    let place = format!("probe of {bucket}");
    let Some(details) = std::error::Error::source(&error).map(excerpt) else { return error.at(place) };
    let (kind, retryable) = (error.kind(), error.is_retryable());
    Error::new(kind, format!("{error}: {details}")).with_retryable(retryable).with_source(error).at(place)
}

fn judged(findings: Findings, bucket: &Bucket, options: &BucketOptions, mutable: bool) -> Result<Findings> {
    let exact = findings.conditional_put && (findings.conditional_update || !mutable);
    if !exact {
        match options.on_missing_conditions {
            OnMissingConditions::Refuse => {
                return Err(Error::failed_precondition(format!(
                    "{bucket} ignores conditions, so that outcomes of puts cannot be exact ({findings})"
                )));
            }
            OnMissingConditions::Degrade => {
                tracing::warn!(%bucket, %findings, "outcomes of puts are not exact, as the server ignores conditions");
            }
        }
    }
    Ok(findings)
}

/// The result of two creates of one object.
struct Creates {
    conditional: bool,
    keeps_tokens: bool,
}

/// The result of updates of one object.
struct Updates {
    conditional: bool,
    bare_e_tags: bool,
}

struct Probe<'a> {
    bucket: &'a Bucket,
    options: &'a BucketOptions,
}

impl Probe<'_> {
    async fn run(&self) -> Result<Findings> {
        self.ask("bucket", |path| self.is_there(path)).await?;
        // A put is refused with a reason, if it is. So what is refused after it is the question.
        let creates = self.ask("double", |path| self.creates(path)).await?;
        self.ask("absent", |path| self.absent(path)).await?;
        let updates = self.ask("updated", |path| self.updates(path)).await?;
        let conditional_completion = match self.bucket.conditional_parts() {
            Some(parts) => self.ask("completed", |path| self.completes(parts, path)).await?,
            None => false,
        };
        let conditional_put = creates.conditional && self.ask("raced", |path| self.race(path)).await?;
        let keys_below_keys = self.ask("above", |path| self.keys_below_keys(path)).await?;
        let lists_in_order =
            self.bucket.lists_in_order() && self.ask("listed", |path| self.lists_in_order(path)).await?;
        // Google and Azure document what they do, and no server that speaks their protocols was seen to do otherwise.
        let races_tell = conditional_put && self.bucket.provider() == Provider::S3;
        let races = if races_tell { self.races(conditional_completion).await } else { None };
        Ok(Findings {
            probed: true,
            raced: races.is_some() || !races_tell,
            conditional_put: conditional_put && races.is_none_or(|races| races.puts),
            conditional_update: updates.conditional,
            bare_e_tags: updates.bare_e_tags,
            conditional_completion: conditional_completion && races.is_none_or(|races| races.completions),
            keeps_tokens: creates.keeps_tokens,
            lists_in_order,
            keys_below_keys,
        })
    }

    /// Asks one question until it is answered, each time about an object of its own. A lost answer costs one question,
    /// not all of them.
    async fn ask<T, F>(&self, what: &str, question: impl Fn(Path) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let (first, max) = (self.options.backoff_first, self.options.backoff_max);
        let mut backoff = Backoff::new(first, max, seed(Uuid::new_v4().as_bytes()));
        let mut left = self.options.attempts;
        loop {
            let path = self.path(what)?;
            let answer = self.ask_once(&path, None, question(path.clone())).await;
            left -= 1;
            match answer {
                Err(error) if error.is_retryable() && left > 0 => {
                    tracing::debug!(%error, what, "a question of the probe is asked again");
                    let clock = self.bucket.clock();
                    clock.sleep_until(clock.monotonic() + backoff.next()).await;
                }
                answer => return answer,
            }
        }
    }

    /// Returns the path of an object for a question.
    fn path(&self, what: &str) -> Result<Path> {
        self.bucket.path(&format!("probe/{}-{what}", Uuid::new_v4()))
    }

    /// Asks one question once, until `end`. The object at `path` is deleted in any case.
    async fn ask_once<T, F>(&self, path: &Path, end: Option<Instant>, question: F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let clock = self.bucket.clock();
        let answer = clock.timeout(end, question).await;
        let deletion = clock.timeout(end.map(|_| self.cleaning_ends()), self.bucket.delete(path)).await;
        let late = |_| Error::deadline_exceeded("the bucket did not answer in time");
        if let Err(error) = deletion.map_err(late).flatten() {
            tracing::warn!(%error, key = %path, "an object of the probe could not be deleted");
        }
        answer.map_err(late).flatten()
    }

    /// Returns the time at which cleaning up is given up that begins now.
    fn cleaning_ends(&self) -> Instant {
        self.bucket.clock().monotonic() + CLEANING
    }

    /// Fails if the bucket says that it does not exist. Some servers make a bucket that is put into, so it is asked before.
    async fn is_there(&self, path: Path) -> Result<()> {
        let Err(error) = self.bucket.get(&path, None).await else { return Ok(()) };
        let code = std::error::Error::source(&error).map(ToString::to_string);
        let is_gone = code.as_deref().and_then(code_in) == Some("NoSuchBucket");
        if !is_gone {
            // What else is wrong is asked about below.
            return if error.is_retryable() { Err(error) } else { Ok(()) };
        }
        let message = "the bucket does not exist (NoSuchBucket); it is not made";
        Err(Error::failed_precondition(message).with_source(error))
    }

    /// Returns whether an object can be created under a key below which another lies.
    async fn keys_below_keys(&self, path: Path) -> Result<bool> {
        let below = Path::from(format!("{path}/below"));
        self.create(&below, &token()).await?;
        let above = self.put(&path, PutMode::Create, &token()).await;
        if let Err(error) = self.bucket.delete(&below).await {
            tracing::warn!(%error, key = %below, "an object of the probe could not be deleted");
        }
        match above {
            Ok(created) => Ok(created),
            // Whatever it is that speaks against it, it is no outage.
            Err(error) if error.put_certainty() == blobaccess::PutCertainty::NotStored => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Fails unless the bucket says of an object that does not exist that it does not.
    async fn absent(&self, path: Path) -> Result<()> {
        let found = match self.bucket.get(&path, None).await {
            Ok(None) => self.bucket.head(&path).await,
            reading => reading.map(|reading| reading.map(|reading| reading.found)),
        };
        match found {
            Ok(None) => Ok(()),
            Ok(Some(_)) => Err(Error::failed_precondition("the bucket says that an object exists which was never put")),
            Err(error) if error.is_retryable() => Err(error),
            Err(error) => {
                let message = format!(
                    "asked for an object that does not exist, the bucket does not say so ({error}); on AWS that takes the \
                     right s3:ListBucket on the bucket: see docs/buckets.md"
                );
                Err(Error::failed_precondition(message).with_source(error))
            }
        }
    }

    /// Returns whether a listing has its keys in order, and begins after the key that it is asked for. The last of three
    /// objects is put first.
    async fn lists_in_order(&self, path: Path) -> Result<bool> {
        if !self.bucket.provider().may_list_in_any_order() {
            return Ok(true);
        }
        let below = path.as_ref().get(self.bucket.prefix().len()..).unwrap_or_default().to_owned();
        let mut made = Vec::new();
        let mut ask = async || {
            for name in ["c", "a", "b"] {
                let path = self.bucket.path(&format!("{below}.{name}"))?;
                made.push(path.clone());
                self.create(&path, &token()).await?;
            }
            let (listed, _) = self.bucket.page(&below, Some(&format!("{below}.a"))).await?;
            let prefix = self.bucket.prefix();
            let keys = listed.iter().map(|object| object.location.as_ref().strip_prefix(prefix).unwrap_or_default());
            Ok(keys.eq([format!("{below}.b"), format!("{below}.c")].iter().map(String::as_str)))
        };
        let answer = ask().await;
        for path in &made {
            if let Err(error) = self.bucket.delete(path).await {
                tracing::warn!(%error, key = %path, "an object of the probe could not be deleted");
            }
        }
        answer
    }

    async fn creates(&self, path: Path) -> Result<Creates> {
        let (first, second) = (token(), token());
        self.create(&path, &first).await?;
        let twice = self.put(&path, PutMode::Create, &second).await?;
        let found = self.bucket.head(&path).await?;
        let found = found.ok_or_else(|| {
            Error::failed_precondition("an object cannot be found right after it was put: reads do not see writes")
        })?;
        let kept = if twice { &second } else { &first };
        // What is read is not needed. The answer shows whether the store marks such answers.
        drop(self.bucket.get(&path, None).await?);
        Ok(Creates { conditional: !twice, keeps_tokens: found.token.as_ref() == Some(kept) })
    }

    async fn updates(&self, path: Path) -> Result<Updates> {
        let (first, second) = (token(), token());
        self.create(&path, &first).await?;
        let other = UpdateVersion {
            e_tag: Some("\"00000000000000000000000000000000\"".to_owned()),
            version: Some("1".to_owned()),
        };
        let overwritten = self.put(&path, PutMode::Update(other), &second).await?;
        let (conditional, bare_e_tags) = match self.bucket.head(&path).await? {
            Some(now) if !overwritten => {
                // A condition that is met must hold: with the quotation marks that belong to the `ETag`, or without.
                let quoted = self.put(&path, PutMode::Update(now.update_version(false)), &second).await?;
                let bare = !quoted && self.put(&path, PutMode::Update(now.update_version(true)), &second).await?;
                (quoted || bare, bare)
            }
            Some(_) | None => (false, false),
        };
        Ok(Updates { conditional, bare_e_tags })
    }

    /// Puts an object where there is none.
    async fn create(&self, path: &Path, token: &UploadToken) -> Result<()> {
        if self.put(path, PutMode::Create, token).await? {
            return Ok(());
        }
        Err(Error::failed_precondition("the server refused a put whose condition holds").with_retryable(false))
    }

    /// Puts an object. Returns `false` if the condition prevented it.
    async fn put(&self, path: &Path, mode: PutMode, token: &UploadToken) -> Result<bool> {
        let last_answer = LastAnswer::default();
        let payload = PutPayload::from_bytes(token.as_bytes().to_vec().into());
        match self.bucket.put_once(path, payload, mode, Some(token), None, &last_answer).await {
            Ok(_) => Ok(true),
            Err(error) => match verdict::judge(error, last_answer.answer().as_ref(), self.bucket.provider()) {
                Verdict::Failed => Ok(false),
                Verdict::Again(error) | Verdict::Maybe(error) | Verdict::Refused(error) => Err(error),
            },
        }
    }

    /// Returns whether at most one of several concurrent puts succeeds.
    async fn race(&self, path: Path) -> Result<bool> {
        self.race_puts(path, RACERS, Bytes::from_static(b"probe")).await
    }

    /// Returns whether a completion keeps the object that is there.
    async fn completes(&self, parts: &Parts, path: Path) -> Result<bool> {
        self.create(&path, &token()).await?;
        let id = parts.begin(self.bucket, &path, None, None).await?;
        let place = MultipartUpload { path, id };
        let part = parts.put(self.bucket, &place, 0, 0, PutPayload::from_static(b"probe")).await;
        let completion = match part {
            Ok((_, part)) => parts.complete(self.bucket, &place, vec![part], None, None).await,
            Err(error) => Completion::Maybe(error),
        };
        let kept = match completion {
            Completion::Done => return Ok(false),
            Completion::Exists => Ok(true),
            Completion::Conflict(error) | Completion::Maybe(error) => Err(error),
        };
        drop(parts.abort(self.bucket, &place).await);
        kept
    }
}

fn token() -> UploadToken {
    UploadToken::from_bytes(Uuid::new_v4().into_bytes())
}
