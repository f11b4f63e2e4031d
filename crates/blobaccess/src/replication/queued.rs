//! A replicator that makes one copy at a time, and remembers what it has copied.

use std::borrow::Cow;
use std::collections::{HashSet, VecDeque};
use std::fmt::{self, Debug, Display, Formatter};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use super::Replicator;
use super::copy_counts::{CopyCounter, CopyCounts};
use super::queued_options::QueuedOptions;
use super::waiting::Waiting;
use crate::decorators::Found;
use crate::locks::{Mutex, MutexGuard};
use crate::{
    BackgroundWatch, BackgroundWork, Blob, BlobAccess, Clock, Context, Digest, DigestKey, DigestSet, Error, KeyFormat,
    ReadRequest, Result, SystemClock,
};

/// The number of digests that are looked up before others get a turn at the lock.
const DIGESTS_PER_LOCK: usize = 256;

/// The number of blobs in a row whose copy fails before the rest of a turn is put off.
const MAX_FAILURES_IN_A_ROW: usize = 3;

/// The number of times that the copy of a blob fails, while others do not, before the blob is dropped.
const MAX_FAILURES: u8 = 3;

/// The shortest pause after an outage, and the shortest limit of a turn.
const MIN_DURATION: Duration = Duration::from_secs(1);

/// A [`Replicator`] that makes one copy at a time, and remembers for a while what it has copied.
///
/// It suits a copy that may take its time: a second site that is to follow the first without getting in the way of its
/// clients. Callers that want the same blobs again and again cost nothing while those are remembered.
///
/// * **replicate**: reads from the source, and puts the digest into a queue. [`run`](Self::run) copies what is in the
///   queue, so no reader waits for a copy. A full queue drops the digest.
/// * **replicate all**: waits for its turn, among others in the order in which they came, and copies what is not
///   remembered. A large set takes several turns. This needs no [`run`](Self::run).
///
/// # Outages
///
/// While a store is down or busy, what is in the queue stays there. [`run`](Self::run) pauses between its attempts
/// ([`with_pause`](QueuedOptions::with_pause)), and drops what is read once the queue is full. A blob whose copy fails
/// three times, while others are copied in between, is dropped too. A turn ends after a
/// [limit](QueuedOptions::with_max_turn), so a store that hangs keeps nobody waiting for longer.
///
/// # Order
///
/// Around the replicator that copies. Another layer that limits or deduplicates has nothing to do inside this one.
///
/// # Weakens
///
/// * A blob that was copied recently is not copied again, even if the sink has evicted it since.
/// * A blob that was read is in the sink some time later, or not at all.
///
/// # Memory
///
/// About 450 bytes for each blob in the queue, and 170 bytes for each that is remembered. [`QueuedOptions`] bounds both.
///
/// # Cancel safety
///
/// A caller that goes away gives up its place, or its copy, and the next has its turn. A caller that neither polls nor
/// drops its call keeps its turn. A dropped [`run`](Self::run)
/// leaves its blobs in the queue for the next one.
///
/// # Errors
///
/// Those of the source, and of the replicator beneath. `DeadlineExceeded` if the caller's deadline comes before its
/// copies have ended, or if one turn takes longer than its limit. An error of a copy in the background is logged and counted.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use std::sync::Arc;
///
/// use blobaccess::replication::{LocalReplicator, QueuedOptions, QueuedReplicator, Replicator};
/// use blobaccess::{
///     BlobAccess, BlobAccessExt, Cas, Context, Digest, DigestFunction, InstanceName, MemoryStore, ReadRequest,
/// };
///
/// let source = Arc::new(MemoryStore::<Cas>::new(1 << 20));
/// let sink = Arc::new(MemoryStore::<Cas>::new(1 << 20));
/// let local = LocalReplicator::new(Arc::clone(&source), Arc::clone(&sink));
/// let options = QueuedOptions::new().with_capacity(1_000);
/// let replicator = Arc::new(QueuedReplicator::new(Arc::clone(&source), local, sink.key_format(), options));
/// let running = tokio::spawn({
///     let replicator = Arc::clone(&replicator);
///     async move { replicator.run().await }
/// });
///
/// let (ctx, digest) = (Context::background(), Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello"));
/// source.put_bytes(&ctx, &digest, "hello").await?;
/// let blob = replicator.replicate(&ctx, &ReadRequest::blob(&digest)).await?;
/// assert_eq!(blob.into_bytes(1024).await?, "hello");
/// while replicator.snapshot().queued > 0 {
///     tokio::task::yield_now().await;
/// }
/// assert!(sink.contains(&ctx, &digest).await?);
/// running.abort();
/// # Ok(())
/// # }
/// ```
pub struct QueuedReplicator<A: ?Sized, R> {
    source: Arc<A>,
    base: R,
    key_format: KeyFormat,
    options: QueuedOptions,
    clock: Arc<dyn Clock>,
    ctx: Context,
    /// The right to copy.
    turn: Semaphore,
    waiting: AtomicUsize,
    /// Whether `run` waits for the end of an outage.
    pausing: AtomicBool,
    /// Notified when the queue has got a blob.
    arrived: Notify,
    watch: BackgroundWatch,
    state: Mutex<State>,
    copies: CopyCounter,
}

struct State {
    /// The blobs to copy because they were read, those that wait longest first.
    queue: VecDeque<Queued>,
    /// The keys of the blobs in the queue, and of those that were taken from it and are being copied.
    keys: HashSet<DigestKey>,
    copied: Found,
    dropped: u64,
    spared: u64,
}

/// A blob that is to be copied because it was read.
struct Queued {
    key: DigestKey,
    digest: Digest,
    /// The number of copies of it that failed while those of others did not.
    failures: u8,
    /// The number of blobs that had been copied when its copy failed last.
    copied_before: u64,
}

/// The queue of a [`QueuedReplicator`] at one moment, and its copies so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueuedSnapshot {
    /// The number of blobs that are to be copied because they were read, with those being copied.
    pub queued: usize,
    /// The maximum of `queued`.
    pub capacity: usize,
    /// The number of calls that wait for their turn.
    pub waiting: usize,
    /// The number of blobs that are remembered as copied. Some may be remembered for too long to count.
    pub remembered: usize,
    /// The copies made so far.
    pub copies: CopyCounts,
    /// The number of times that a blob was not copied, as it was remembered.
    pub spared: u64,
    /// The number of blobs that were not copied, as the queue was full or copies failed.
    pub dropped: u64,
    /// Whether [`run`](QueuedReplicator::run) waits for the end of an outage.
    pub is_pausing: bool,
}

impl<A: BlobAccess + ?Sized, R: Replicator<Kind = A::Kind>> QueuedReplicator<A, R> {
    /// Lets `base`, which copies from `source` into a sink with this key format, make one copy at a time.
    #[must_use]
    pub fn new(source: Arc<A>, base: R, key_format: KeyFormat, options: QueuedOptions) -> Self {
        // Nothing is remembered for no time, not even for the moment at which it was copied.
        let remembered = if options.remembered_for.is_zero() { 0 } else { options.remembered };
        let state = State {
            queue: VecDeque::new(),
            keys: HashSet::new(),
            copied: Found::new(remembered, options.remembered_for),
            dropped: 0,
            spared: 0,
        };
        Self {
            source,
            base,
            key_format,
            options,
            clock: Arc::new(SystemClock),
            ctx: Context::background(),
            turn: Semaphore::new(1),
            waiting: AtomicUsize::new(0),
            pausing: AtomicBool::new(false),
            arrived: Notify::new(),
            watch: BackgroundWatch::new("a queue of copies", "what was read is not copied"),
            state: Mutex::new(state),
            copies: CopyCounter::default(),
        }
    }

    /// Takes the time from `clock`, which must be the one by which callers set their deadlines.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Makes the copies of [`run`](Self::run) in `ctx`: in [`Context::background`] unless set.
    #[must_use]
    pub fn with_context(mut self, ctx: Context) -> Self {
        self.ctx = ctx;
        self
    }

    /// Returns the replicator beneath.
    #[must_use]
    pub const fn inner(&self) -> &R {
        &self.base
    }

    /// Returns the present queue, and the number of copies made.
    #[must_use]
    pub fn snapshot(&self) -> QueuedSnapshot {
        let state = self.state();
        QueuedSnapshot {
            queued: state.keys.len(),
            capacity: self.options.capacity,
            waiting: self.waiting.load(Ordering::Relaxed),
            remembered: state.copied.len(),
            copies: self.copies.counts(),
            spared: state.spared,
            dropped: state.dropped,
            is_pausing: self.pausing.load(Ordering::Relaxed),
        }
    }

    /// Copies what is in the queue, one turn at a time, until the future is dropped. Spawn it once.
    ///
    /// After an [outage](Self#outages) it pauses. A blob whose copy fails for a reason of its own, such as that the source
    /// has evicted it, is dropped from the queue: whoever reads it next puts it in again.
    ///
    /// # Cancel safety
    ///
    /// The blobs being copied return to the queue.
    pub async fn run(&self) {
        let _running = self.watch.begin_to_run();
        loop {
            let Some(taken) = self.take() else {
                self.arrived.notified().await;
                continue;
            };
            if self.copy_taken(taken).await {
                let _pausing = Pausing::begin(&self.pausing);
                self.clock.sleep(self.options.pause.max(MIN_DURATION)).await;
            }
        }
    }

    /// Copies the blobs of one turn; if that fails, each by itself, so that one that fails does not keep the others from
    /// being copied. Returns whether a store is down.
    async fn copy_taken(&self, mut taken: Taken<'_>) -> bool {
        let all: DigestSet = taken.blobs.iter().map(|blob| blob.digest.clone()).collect();
        let Err(error) = self.copy_in_turn(&self.ctx, &all).await else {
            taken.finish_all();
            return false;
        };
        tracing::debug!(%error, replicator = %self.base, "blobs were not copied");
        if taken.blobs.len() == 1 {
            return self.judge(&mut taken, &error);
        }
        let (mut failures, mut is_up) = (0, false);
        while failures < MAX_FAILURES_IN_A_ROW
            && let Some(digest) = taken.blobs.front().map(|blob| blob.digest.clone())
        {
            match self.copy_in_turn(&self.ctx, &digest.into()).await {
                Ok(()) => {
                    (failures, is_up) = (0, true);
                    taken.finish_first();
                }
                Err(error) => {
                    tracing::debug!(%error, replicator = %self.base, "a blob was not copied");
                    // A blob that the source has evicted says nothing about the next one.
                    failures = if self.judge(&mut taken, &error) { failures + 1 } else { 0 };
                }
            }
        }
        failures == MAX_FAILURES_IN_A_ROW || (failures > 0 && !is_up)
    }

    /// Decides what becomes of the first blob, whose copy has failed. Returns whether that may be for an outage.
    fn judge(&self, taken: &mut Taken<'_>, error: &Error) -> bool {
        let is_outage = error.is_outage();
        if !is_outage || taken.put_off_first(self.copies.counts().blobs) {
            self.state().dropped += 1;
            taken.finish_first();
        }
        is_outage
    }

    /// Waits for the turn, and copies those of `digests` that are not remembered.
    async fn copy_in_turn(&self, ctx: &Context, digests: &DigestSet) -> Result<()> {
        let _turn = self.turn().await?;
        let began = self.clock.monotonic();
        let limit = self.options.max_turn.max(MIN_DURATION);
        let done = self.clock.timeout(began.checked_add(limit), self.copy(ctx, digests, began)).await;
        done.unwrap_or_else(|_| {
            self.copies.add_failure();
            Err(Error::deadline_exceeded(format!("copies have not ended after {limit:?}")))
        })
    }

    /// Copies those of `digests` that are not remembered. The caller has the turn.
    async fn copy(&self, ctx: &Context, digests: &DigestSet, began: Instant) -> Result<()> {
        let unknown = self.unknown(digests, began);
        if unknown.is_empty() {
            return Ok(());
        }
        let result = self.base.replicate_all(ctx, &unknown).await;
        self.copies.count(&unknown, &result);
        result?;
        for chunk in unknown.as_slice().chunks(DIGESTS_PER_LOCK) {
            let mut state = self.state();
            for digest in chunk {
                state.copied.add(digest.cache_key(self.key_format), began);
            }
        }
        Ok(())
    }

    /// Returns those of `digests` that are not remembered as copied.
    fn unknown(&self, digests: &DigestSet, now: Instant) -> DigestSet {
        let mut unknown = Vec::new();
        for chunk in digests.as_slice().chunks(DIGESTS_PER_LOCK) {
            let mut state = self.state();
            let before = unknown.len();
            unknown
                .extend(chunk.iter().filter(|digest| !state.copied.contains(&digest.cache_key(self.key_format), now)));
            let known = chunk.len() - (unknown.len() - before);
            state.spared += u64::try_from(known).unwrap_or(u64::MAX);
        }
        if unknown.len() == digests.len() { digests.clone() } else { unknown.into_iter().cloned().collect() }
    }

    /// Puts a blob that is read into the queue, unless it is there already, is remembered, or has no room.
    fn enqueue(&self, digest: &Digest) {
        let (key, now) = (digest.cache_key(self.key_format), self.clock.monotonic());
        let mut state = self.state();
        if state.copied.contains(&key, now) {
            state.spared += 1;
        } else if state.keys.len() >= self.options.capacity && !state.keys.contains(&key) {
            state.dropped += 1;
        } else if state.keys.insert(key.clone()) {
            state.queue.push_back(Queued { key, digest: digest.clone(), failures: 0, copied_before: 0 });
            drop(state);
            self.arrived.notify_one();
            self.watch.note_work(&*self.clock);
        }
    }

    /// Takes the blobs of one turn from the queue; `None` if it is empty.
    fn take(&self) -> Option<Taken<'_>> {
        let mut state = self.state();
        let count = self.options.digests_per_turn.get().min(state.queue.len());
        let blobs: VecDeque<_> = state.queue.drain(..count).collect();
        let put_off = Vec::new();
        (!blobs.is_empty()).then_some(Taken { state: &self.state, arrived: &self.arrived, blobs, put_off })
    }

    async fn turn(&self) -> Result<SemaphorePermit<'_>> {
        if let Ok(turn) = self.turn.try_acquire() {
            return Ok(turn);
        }
        let _waiting = Waiting::new(&self.waiting);
        // Nobody closes it.
        self.turn.acquire().await.map_err(|closed| Error::internal("no more turns").with_source(closed))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // Each use of it is complete by itself.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Blobs that were taken from the queue. Those that are not finished return to it.
struct Taken<'a> {
    state: &'a Mutex<State>,
    arrived: &'a Notify,
    blobs: VecDeque<Queued>,
    /// Blobs that return to the end of the queue.
    put_off: Vec<Queued>,
}

impl Taken<'_> {
    fn finish_first(&mut self) {
        if let Some(blob) = self.blobs.pop_front() {
            lock(self.state).keys.remove(&blob.key);
        }
    }

    fn finish_all(&mut self) {
        while !self.blobs.is_empty() {
            self.finish_first();
        }
    }

    /// Puts off the first blob, whose copy has failed when `copied` blobs had been copied so far. Returns true instead if
    /// that has happened too often: it is not for an outage then, as others were copied in between.
    fn put_off_first(&mut self, copied: u64) -> bool {
        let Some(blob) = self.blobs.front_mut() else { return false };
        if blob.failures == 0 || blob.copied_before != copied {
            blob.failures += 1;
            blob.copied_before = copied;
        }
        if blob.failures >= MAX_FAILURES {
            return true;
        }
        self.put_off.extend(self.blobs.pop_front());
        false
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if self.blobs.is_empty() && self.put_off.is_empty() {
            return;
        }
        let mut state = lock(self.state);
        while let Some(blob) = self.blobs.pop_back() {
            state.queue.push_front(blob);
        }
        state.queue.extend(self.put_off.drain(..));
        drop(state);
        self.arrived.notify_one();
    }
}

/// The time for which `run` waits for the end of an outage.
struct Pausing<'a>(&'a AtomicBool);

impl<'a> Pausing<'a> {
    fn begin(pausing: &'a AtomicBool) -> Self {
        pausing.store(true, Ordering::Relaxed);
        Self(pausing)
    }
}

impl Drop for Pausing<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

#[async_trait]
impl<A: BlobAccess + ?Sized, R: Replicator<Kind = A::Kind>> Replicator for QueuedReplicator<A, R> {
    type Kind = A::Kind;

    async fn replicate(&self, ctx: &Context, request: &ReadRequest) -> Result<Blob> {
        let blob = request.read_from(&*self.source, ctx).await?;
        self.enqueue(request.digest());
        Ok(blob)
    }

    async fn replicate_all(&self, ctx: &Context, digests: &DigestSet) -> Result<()> {
        let unknown = self.unknown(digests, self.clock.monotonic());
        let copying = async {
            for digests in unknown.as_slice().chunks(self.options.digests_per_turn.get()) {
                self.copy_in_turn(ctx, &digests.to_vec().into()).await?;
            }
            Ok(())
        };
        let done = self.clock.timeout(ctx.deadline(), copying).await;
        done.unwrap_or_else(|elapsed| Err(Error::deadline_exceeded("copies have not ended").with_source(elapsed)))
    }

    fn copies(&self) -> bool {
        self.base.copies()
    }
}

#[async_trait]
impl<A: BlobAccess + ?Sized, R: Replicator<Kind = A::Kind>> BackgroundWork for QueuedReplicator<A, R> {
    fn name(&self) -> Cow<'static, str> {
        self.to_string().into()
    }

    async fn run(&self) {
        Self::run(self).await;
    }
}

impl<A: ?Sized, R> Drop for QueuedReplicator<A, R> {
    fn drop(&mut self) {
        self.watch.warn_of_drop(lock(&self.state).queue.len());
    }
}

impl<A: ?Sized, R: Display> Display for QueuedReplicator<A, R> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "queued({})", self.base)
    }
}

impl<A: Debug + ?Sized, R: Debug> Debug for QueuedReplicator<A, R> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueuedReplicator")
            .field("source", &self.source)
            .field("base", &self.base)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
