//! Reads from a replica for as long as it is healthy.

mod names;

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::{TryStreamExt, poll, stream};

use self::names::{Attempt, Names, SharedAttempt};
use super::pair::{Member, Wanted};
use crate::{
    Blob, BlobAccess, Capabilities, Clock, Context, Digest, DigestSet, Error, ErrorHandler, Finish, InstanceName,
    KeyFormat, Kind, PutOutcome, ReadRequest, Result, Slicer, SystemClock,
};

/// The time that the replica may take unless set.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

/// The number of instance names that one query asks the replica about concurrently.
const NAMES_AT_ONCE: usize = 16;

/// A [`BlobAccess`] that reads from a replica for as long as it is healthy, and otherwise from the source.
///
/// Use it to read from a store nearby, or a new one, that is expected to have what the source has, without depending on
/// it. Each instance name has its own verdict, since a replica may serve some and not others:
///
/// | state of the instance name | a read goes to |
/// |---|---|
/// | nothing is known, or it was too long ago | the replica, as a canary |
/// | a canary is on its way | the source |
/// | the replica was healthy | the replica |
/// | the replica was not | the source |
///
/// A read that finds the replica [in trouble](crate::ErrorKind::is_infrastructure), or that it keeps waiting for more than
/// the [time-out](Self::with_timeout), is made again from the source; one that fails midway goes on from there. The
/// verdict of each read from the replica, canary or not, holds for the duration.
///
/// * **put**, **capabilities**: those of the source.
/// * **find missing**: from the replica, for each instance name by itself; all digests of names for which the replica is
///   not healthy, in one query to the source.
///
/// # Order
///
/// A deadline around the replica ends reads that hang midway, which the time-out does not cover.
///
/// # Weakens
///
/// What the replica lacks is absent, and what it has stale is read so. A put is not seen until the replica has it.
///
/// # Memory
///
/// About 150 bytes for each instance name that is remembered.
///
/// # Cancel safety
///
/// A canary that is dropped, or whose blob is, leaves no verdict: the next read is a canary.
///
/// # Errors
///
/// Those of the two stores, with the places `source` and `replica`.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use std::time::Duration;
///
/// use blobaccess::decorators::ReadCanarying;
/// use blobaccess::{
///     BlobAccessExt, Cas, Context, Digest, DigestFunction, Error, FailingStore, InstanceName, MemoryStore,
/// };
///
/// let source = MemoryStore::<Cas>::new(1 << 20);
/// let replica = FailingStore::<Cas>::new(Error::unavailable("not there yet"));
/// let store = ReadCanarying::new(source, replica, 256, Duration::from_mins(5));
///
/// let (ctx, digest) = (Context::background(), Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello"));
/// store.put_bytes(&ctx, &digest, "hello").await?;
/// // The canary fails, so the source is read, and so it is for five minutes.
/// assert_eq!(store.get_bytes(&ctx, &digest, 1024).await?, "hello");
/// assert_eq!(store.get_bytes(&ctx, &digest, 1024).await?, "hello");
/// assert_eq!((store.snapshot().canaries, store.snapshot().unhealthy_names), (1, 1));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ReadCanarying<S, R> {
    source: Member<S>,
    replica: Member<R>,
    names: Arc<Names>,
    timeout: Duration,
    clock: Arc<dyn Clock>,
    from_source: AtomicU64,
}

/// The verdicts of a [`ReadCanarying`], and its reads so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadCanaryingSnapshot {
    /// The number of instance names that are remembered.
    pub names: usize,
    /// The number of instance names for which the replica is not read now.
    pub unhealthy_names: usize,
    /// The number of reads that tried the replica without knowing its health.
    pub canaries: u64,
    /// The number of reads that found the replica in trouble.
    pub failures: u64,
    /// The number of calls that the source answered: instead of the replica, or after it.
    pub from_source: u64,
}

impl<S: BlobAccess, R: BlobAccess<Kind = S::Kind>> ReadCanarying<S, R> {
    /// Makes a layer that reads from `replica` while it is healthy. It remembers the health for up to `capacity` instance
    /// names, for `duration` after a read.
    ///
    /// Bb-storage advises 256 names and 5 minutes. If `capacity` is too small for the instance names in use, more reads
    /// are canaries; with 0, all are. If `duration` is too short, a replica that hangs holds up a read that often; if it
    /// is too long, one that has recovered is passed over that long.
    pub fn new(source: S, replica: R, capacity: usize, duration: Duration) -> Self {
        Self {
            source: Member::new("source", Arc::new(source)),
            replica: Member::new("replica", Arc::new(replica)),
            names: Names::new(capacity, duration),
            timeout: DEFAULT_TIMEOUT,
            clock: Arc::new(SystemClock),
            from_source: AtomicU64::new(0),
        }
    }

    /// Sets the time in which the replica must answer a query, or return a blob, before it counts as failed: 10 s unless
    /// set. How long reading the blob takes does not matter.
    ///
    /// If it is too short, a replica that is merely slow is passed over. If it is too long, each canary of one that hangs
    /// takes as long.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Takes the time from `clock`, which must be the one by which callers set their deadlines.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Returns the store that is written to.
    pub fn source(&self) -> &S {
        &self.source.store
    }

    /// Returns the store that is read while it is healthy.
    pub fn replica(&self) -> &R {
        &self.replica.store
    }

    /// Returns the verdicts, and the numbers of reads so far.
    #[must_use]
    pub fn snapshot(&self) -> ReadCanaryingSnapshot {
        let counts = self.names.counts(self.clock.monotonic());
        ReadCanaryingSnapshot {
            names: counts.names,
            unhealthy_names: counts.unhealthy,
            canaries: counts.canaries,
            failures: counts.failures,
            from_source: self.from_source.load(Ordering::Relaxed),
        }
    }

    async fn read(&self, ctx: &Context, wanted: Wanted<'_>) -> Result<Blob> {
        let now = self.clock.monotonic();
        let Some(attempt) = self.names.begin(wanted.digest().instance_name(), now) else {
            return Box::pin(self.read_source(ctx, wanted)).await;
        };
        let mut call = wanted.read_from(&*self.replica.store, ctx);
        let mut at = now;
        let read = match poll!(&mut call) {
            // A store in memory answers at once. That takes no timer, and no second look at the clock.
            Poll::Ready(read) => read,
            Poll::Pending => {
                let read = Box::pin(self.wait(now, call)).await;
                at = self.clock.monotonic();
                read
            }
        };
        if read.as_ref().is_ok_and(Blob::cannot_fail) {
            attempt.succeed(at);
            return read;
        }
        match read {
            Ok(blob) => Ok(self.judged(blob, attempt.share(), ctx, wanted.to_request())),
            Err(error) => {
                self.judge(ctx, attempt, at, error)?;
                Box::pin(self.read_source(ctx, wanted)).await
            }
        }
    }

    async fn read_source(&self, ctx: &Context, wanted: Wanted<'_>) -> Result<Blob> {
        self.from_source.fetch_add(1, Ordering::Relaxed);
        self.source.read(ctx, wanted).await.map_err(|error| self.source.at(error))
    }

    /// Waits for the answer of the replica to a `call` that began at `since`, up to the time-out.
    async fn wait<T>(&self, since: Instant, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        match self.clock.timeout(since.checked_add(self.timeout), call).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::deadline_exceeded(format!("no answer after {:?}", self.timeout))),
        }
    }

    /// Judges the replica by an `error` of it that came at `at`.
    ///
    /// # Errors
    ///
    /// The `error`, unless the source is to be asked.
    fn judge(&self, ctx: &Context, attempt: Attempt<'_>, at: Instant, error: Error) -> Result<()> {
        let is_canary = attempt.is_canary();
        if error.is_infrastructure() {
            if ctx.is_overdue(at) {
                // The caller has run out of time, which says nothing about the replica.
                return Err(error.at(self.replica.name));
            }
            attempt.fail(at);
        } else {
            attempt.succeed(at);
        }
        if error.is_store_fault() {
            tracing::warn!(%error, replica = %self.replica.store, is_canary, "reading from the source");
            return Ok(());
        }
        Err(self.replica.at(error))
    }

    /// Returns `blob` of the replica, the end of whose reading is the verdict of `attempt`.
    fn judged(&self, blob: Blob, attempt: SharedAttempt, ctx: &Context, request: ReadRequest) -> Blob {
        let (attempt, clock) = (Arc::new(attempt), Arc::clone(&self.clock));
        // Two values of a message cannot be joined.
        let source = (!S::Kind::STORAGE_TYPE.is_mutable()).then(|| self.source.clone());
        let handler = FromSource {
            source,
            replica: self.replica.name,
            attempt: Arc::clone(&attempt),
            clock: Arc::clone(&clock),
            ctx: ctx.clone(),
            request,
        };
        blob.with_error_handler(handler).on_finish(move |finish| match finish {
            // A failure of the replica has been judged by the handler.
            Finish::Failed(kind) if kind.is_infrastructure() => {}
            Finish::Complete | Finish::Failed(_) => attempt.succeed(clock.monotonic()),
            Finish::Dropped => {}
        })
    }

    /// Asks the replica about `digests` of one instance name. Returns `None` if the source is to be asked.
    async fn find_in_replica(&self, ctx: &Context, digests: &DigestSet) -> Result<Option<DigestSet>> {
        let Some(name) = digests.first().map(Digest::instance_name) else { return Ok(Some(DigestSet::new())) };
        let now = self.clock.monotonic();
        let Some(attempt) = self.names.begin(name, now) else { return Ok(None) };
        let found = self.wait(now, self.replica.store.find_missing(ctx, digests)).await;
        let at = self.clock.monotonic();
        match found {
            Ok(missing) => {
                attempt.succeed(at);
                Ok(Some(missing))
            }
            Err(error) => {
                let judged = self.judge(ctx, attempt, at, error);
                judged.map(|()| None).map_err(|error| error.at(format!("instance name {:?}", name.as_str())))
            }
        }
    }
}

/// A handler that judges the replica when reading from it fails, and goes on from the source.
struct FromSource<S> {
    /// The source; `None` once it is read from, or if there is no going on.
    source: Option<Member<S>>,
    replica: &'static str,
    attempt: Arc<SharedAttempt>,
    clock: Arc<dyn Clock>,
    ctx: Context,
    request: ReadRequest,
}

#[async_trait]
impl<S: BlobAccess> ErrorHandler for FromSource<S> {
    async fn on_error(&mut self, error: Error) -> Result<Blob> {
        let now = self.clock.monotonic();
        let is_callers = self.ctx.is_overdue(now);
        if error.is_infrastructure() && !is_callers {
            // Without effect if the source has failed after the replica.
            self.attempt.fail(now);
        }
        let (at_fault, error) = (error.is_store_fault(), error.at(self.replica));
        match self.source.take() {
            Some(source) if at_fault && !is_callers => {
                tracing::warn!(%error, "going on from the source");
                self.replica = source.name;
                match source.read(&self.ctx, Wanted::from(&self.request)).await {
                    // The replica had it, so it cannot be called absent.
                    Err(absent) if absent.is_blob_missing() => Err(error),
                    result => result.map_err(|error| source.at(error)),
                }
            }
            Some(_) | None => Err(error),
        }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<S: BlobAccess, R: BlobAccess<Kind = S::Kind>> BlobAccess for ReadCanarying<S, R> {
    type Kind = S::Kind;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        self.read(ctx, Wanted::Blob(digest)).await
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        self.read(ctx, Wanted::Part { parent, child, slicer: &slicer }).await
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        self.source.store.put(ctx, digest, blob).await.map_err(|error| error.at(self.source.name))
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        if digests.is_empty() {
            return Ok(DigestSet::new());
        }
        if !self.finds_in_bulk() {
            return Err(Error::unimplemented("the source or the replica does not find in bulk"));
        }
        let parts = digests.partition_by_instance_name();
        let asked = stream::iter(parts.into_iter().map(Ok)).map_ok(|part| async move {
            let found = self.find_in_replica(ctx, &part).await?;
            Ok::<_, Error>(found.ok_or(part))
        });
        let answers: Vec<Result<DigestSet, DigestSet>> =
            asked.try_buffer_unordered(NAMES_AT_ONCE).try_collect().await?;
        let mut missing: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().ok().cloned()).collect();
        let unanswered = DigestSet::union(answers.iter().filter_map(|answer| answer.as_ref().err()));
        if !unanswered.is_empty() {
            self.from_source.fetch_add(1, Ordering::Relaxed);
            let in_source = self.source.store.find_missing(ctx, &unanswered).await;
            missing.push(in_source.map_err(|error| self.source.at(error))?);
        }
        Ok(DigestSet::union(missing))
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        self.source.store.capabilities(ctx, instance_name).await.map_err(|error| error.at(self.source.name))
    }

    fn key_format(&self) -> KeyFormat {
        self.source.store.key_format().combine(self.replica.store.key_format())
    }

    fn finds_in_bulk(&self) -> bool {
        self.source.store.finds_in_bulk() && self.replica.store.finds_in_bulk()
    }
}

impl<S: Display, R: Display> Display for ReadCanarying<S, R> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "read_canarying({}, {})", self.source.store, self.replica.store)
    }
}
