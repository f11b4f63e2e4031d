//! A bounded queue of uploads in front of a slow store.

mod contents;
mod enqueue;
mod entries;
mod job;
mod joined;
mod losses;
mod named_contents;
mod notices;
mod options;
mod outage;
mod predecessor;
mod queued;
mod snapshot;
mod uploading;

use std::borrow::Cow;
use std::fmt::{self, Debug, Display, Formatter};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use blobaccess::{
    BackgroundWatch, BackgroundWork, Blob, BlobAccess, Capabilities, Cas, Context, Digest, DigestSet, Error,
    InstanceName, KeyFormat, Kind, PutOutcome, Result, Slicer,
};
use blobaccess_accounting::{Accounts, DropReason};
use futures::future::{Either, select};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::sync::{Notify, Semaphore};

use self::contents::Contents;
use self::entries::Entries;
use self::losses::Losses;
use self::named_contents::Followed;
use self::notices::Notices;
use self::predecessor::Predecessor;

pub use self::options::{Acknowledge, QueueOptions};
pub use self::snapshot::QueueSnapshot;

/// A [`BlobAccess`] that uploads in the background, after puts have returned: a bounded queue in front of a slow store.
///
/// Until its turn comes, a blob waits in memory, or in a store from which it is read again
/// ([`enqueue_from`](Self::enqueue_from)) without keeping a file open for each. Uploads belong to the program, not to the
/// callers that put, which may be gone by then. A blob that is queued already is not queued twice. Every upload is
/// counted with exactly one outcome: the queue takes the place of [`Accounted`](blobaccess_accounting::Accounted).
///
/// Nothing is uploaded unless the host spawns [`run`](Self::run).
///
/// # Order
///
/// In front of a backend. A queue of action results [follows](Self::following) the queue of their contents: a result is
/// uploaded after the contents that it names, and dropped if some of them were lost.
///
/// # Outages
///
/// An upload that failed for want of the store is tried again after a pause, for [a day](QueueOptions::with_retry_for), under
/// the same token. After three failures in a row the store counts as down: then one upload at a time looks whether it is back,
/// after pauses of up to 30 s, and everything goes on with the first that succeeds. So nothing that was acknowledged is lost
/// but for want of room, by a shutdown, or because the store will never take it. One warning a minute has the counts.
///
/// Uploads that take longer than 5 s leave their place to others, so a key that is locked in the store holds up nobody.
///
/// # Weakens
///
/// As long as puts are [acknowledged when they are queued](Acknowledge::Queued), their outcome is `Unclassified`, and a
/// blob that cannot be uploaded later is lost, as if evicted. Until then it can be read and is not missing. Acknowledged
/// when uploaded, a queue weakens nothing.
///
/// # Memory
///
/// Up to [`max_bytes`](QueueOptions::with_max_bytes) of contents, and some 500 bytes for each upload.
///
/// # Cancel safety
///
/// A put that is dropped while its blob is read queues nothing; after that, the upload goes on. When
/// [`run`](Self::run) is dropped, uploads that were being sent end as any put that is dropped, and the others stay.
///
/// # Errors
///
/// `ResourceExhausted`, to be tried again, if there is no room; that is counted as `dropped{queue_full}`.
/// `FailedPrecondition` once the queue is closed.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, InstanceName, MemoryStore, PutOutcome};
/// use blobaccess_accounting::{Accounts, AccountsOptions, Reporter};
/// use blobaccess_write_behind::{QueueOptions, UploadQueue};
///
/// let accounts = Accounts::open(AccountsOptions::new(Reporter::new("host-7")))?;
/// let queue = UploadQueue::new(MemoryStore::<Cas>::new(1 << 20), accounts, QueueOptions::new());
///
/// let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello");
/// let outcome = queue.put(&Context::background(), &digest, Blob::from_bytes("hello")).await?;
/// assert_eq!(outcome, PutOutcome::Unclassified { stored_bytes: None });
/// assert_eq!(queue.inner().snapshot().blobs, 0);
/// // A host spawns this; it ends once a closed queue is empty.
/// queue.close();
/// queue.run().await;
/// assert_eq!(queue.inner().snapshot().blobs, 1);
/// # Ok(())
/// # }
/// ```
pub struct UploadQueue<B: BlobAccess> {
    inner: B,
    accounts: Arc<Accounts>,
    options: QueueOptions,
    entries: Mutex<Entries<B::Kind>>,
    /// The lock of whoever admits an upload. It is taken before that of the entries.
    admission: Mutex<()>,
    losses: Losses,
    follows: Option<Arc<dyn Predecessor>>,
    /// Signals that there is something to upload, or that nothing will follow.
    work: Notify,
    /// Signals that an upload has ended or was given up.
    ended: Notify,
    /// The room for uploads that are being sent, and not slow.
    slots: Arc<Semaphore>,
    notices: Notices,
    watch: BackgroundWatch,
    closed: AtomicBool,
}

/// The number of results that wait for their contents, beside those that are being sent. Of more, the last ones wait in line.
const WAITING_RESULTS: usize = 1_024;

/// The result of draining a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// The number of uploads that were given up because time ran out.
    pub dropped: usize,
}

impl<B: BlobAccess> UploadQueue<B> {
    /// Makes a queue of uploads to `inner`, which are counted in `accounts`. The queue uses the clock of `accounts`.
    pub fn new(inner: B, accounts: Arc<Accounts>, options: QueueOptions) -> Self {
        let losses = Losses::new(Arc::clone(accounts.clock()), options.remembered_losses, options.lost_for);
        Self {
            inner,
            accounts,
            options,
            entries: Mutex::new(Entries::new(&options)),
            admission: Mutex::default(),
            losses,
            follows: None,
            work: Notify::new(),
            ended: Notify::new(),
            slots: Arc::new(Semaphore::new(options.uploads_at_once)),
            notices: Notices::default(),
            watch: BackgroundWatch::new("an upload queue", "what was acknowledged is not uploaded"),
            closed: AtomicBool::new(false),
        }
    }

    /// Makes this queue of action results follow `contents`: a result is uploaded only after the contents that it names, and
    /// is dropped if some of them were lost and are not in the store.
    ///
    /// The trees and directories of a result are read for that, from the contents that are queued or else from the store. Name
    /// a quicker store by [`following_with_trees`](Self::following_with_trees). While no contents are queued and none were
    /// lost, nothing is read. A result that waits holds up no other upload.
    #[must_use]
    pub fn following<C: BlobAccess<Kind = Cas>>(mut self, contents: Arc<UploadQueue<C>>) -> Self {
        self.follows = Some(Arc::new(Followed::new(contents, None)));
        self
    }

    /// Does the same, and reads trees and directories from `trees`: the fast store with the queue behind it.
    #[must_use]
    pub fn following_with_trees<C: BlobAccess<Kind = Cas>>(
        mut self,
        contents: Arc<UploadQueue<C>>,
        trees: Arc<dyn BlobAccess<Kind = Cas>>,
    ) -> Self {
        self.follows = Some(Arc::new(Followed::new(contents, Some(trees))));
        self
    }

    /// Returns the store that is uploaded to.
    pub const fn inner(&self) -> &B {
        &self.inner
    }

    /// Returns the store that is uploaded to, and drops what is queued.
    pub fn into_inner(self) -> B {
        self.inner
    }

    /// Uploads whatever is queued for as long as the future is polled; ends once the queue is closed and empty.
    ///
    /// # Cancel safety
    ///
    /// Uploads that are being sent when the future is dropped end as any put that is dropped. The others stay for the next
    /// run, among them results that wait for their contents.
    pub async fn run(&self) {
        let _running = self.watch.begin_to_run();
        let clock = self.accounts.clock();
        let mut uploads = FuturesUnordered::new();
        // Results wait for their contents without a slot, and slow uploads lose theirs to others.
        let waiting = if self.follows.is_some() { WAITING_RESULTS } else { self.options.uploads_at_once };
        let most = self.options.uploads_at_once.saturating_add(waiting);
        loop {
            while uploads.len() < most {
                let slot = if self.follows.is_some() { None } else { Arc::clone(&self.slots).try_acquire_owned().ok() };
                if slot.is_none() && self.follows.is_none() {
                    break;
                }
                let Some(queued) = self.entries().next(clock.monotonic()) else { break };
                uploads.push(self.upload(queued, slot).boxed());
            }
            if uploads.is_empty() && self.closed.load(Ordering::Acquire) && self.entries().is_over() {
                return;
            }
            // A notification while nobody waits is kept, so that nothing is missed in between.
            let work = std::pin::pin!(self.work.notified());
            // What could begin now waits for a slot, and is woken when there is one.
            let now = clock.monotonic();
            let next_time = self.entries().next_time().filter(|time| *time > now);
            let timer = async {
                match next_time {
                    Some(time) => clock.sleep_until(time).await,
                    None => futures::future::pending().await,
                }
            };
            let timer = std::pin::pin!(timer);
            let woken = select(work, timer);
            if uploads.is_empty() {
                woken.await;
            } else {
                select(woken, uploads.next()).await;
            }
        }
    }

    /// Refuses further uploads. Whatever is queued is still uploaded.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.work.notify_one();
    }

    /// Closes the queue, and waits until it is empty or `deadline` has come. Uploads that still wait then are given up, and
    /// counted as `dropped{shutdown}`. Uploads under way go on for as long as [`run`](Self::run) is polled.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any time; the queue stays closed.
    pub async fn drain(&self, deadline: Instant) -> Drained {
        self.close();
        let mut timeout = self.accounts.clock().sleep_until(deadline);
        loop {
            let ended = std::pin::pin!(self.ended.notified());
            if self.entries().is_empty() {
                return Drained { dropped: 0 };
            }
            if let Either::Right(((), _)) = select(ended, &mut timeout).await {
                break;
            }
        }
        let given_up = self.entries().give_up();
        let dropped = given_up.len();
        for queued in given_up {
            self.lose(queued, DropReason::Shutdown, Error::cancelled("the queue of uploads was shut down"));
        }
        self.work.notify_one();
        Drained { dropped }
    }

    /// Returns the number of uploads that are queued, and of those that have ended so far.
    #[must_use]
    pub fn snapshot(&self) -> QueueSnapshot {
        self.entries().snapshot()
    }

    fn entries(&self) -> MutexGuard<'_, Entries<B::Kind>> {
        // Nothing that panics is called while the entries are half changed.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<B: BlobAccess> BlobAccess for UploadQueue<B> {
    type Kind = B::Kind;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        if self.options.acknowledge == Acknowledge::Queued {
            let pending = self.entries().contents(&self.key(digest));
            if let Some(contents) = pending {
                match contents.blob(ctx, digest).await {
                    Err(error) if error.is_not_found() => {}
                    result => return result,
                }
            }
        }
        self.inner.get(ctx, digest).await
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        if self.options.acknowledge == Acknowledge::Queued && self.is_queued(parent) {
            return blobaccess::get_and_slice(self, ctx, parent, child, slicer).await;
        }
        self.inner.get_from_composite(ctx, parent, child, slicer).await
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        let (size, max) = (blob.size_bytes(), self.options.max_blob_size_bytes);
        let job = self.job(ctx, digest, size);
        if size > max {
            return Err(self.reject(&job));
        }
        let mutable = B::Kind::STORAGE_TYPE.is_mutable();
        let waits = self.options.acknowledge == Acknowledge::Uploaded;
        // A put that waits for its outcome reads its blob first, so that one whose contents are wrong fails.
        if !waits && self.join(&job, None).is_ok() {
            return Ok(PutOutcome::Unclassified { stored_bytes: None });
        }
        let mut reservation = self.reserve(&job, 0)?;
        let blob = if mutable { blob } else { blob.with_expected_digest(digest) };
        let bytes = self.read_into(&job, &mut reservation, blob).await?;
        let (waiter, enqueued) = self.waiter();
        self.enqueue(job, Contents::Held(bytes), reservation, waiter)?;
        enqueued.outcome().await
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        if self.options.acknowledge == Acknowledge::Uploaded {
            return self.inner.find_missing(ctx, digests).await;
        }
        let format = self.inner.key_format();
        let unknown = {
            let entries = self.entries();
            digests.filter(|digest| entries.contents(&digest.cache_key(format)).is_none())
        };
        if unknown.is_empty() {
            return Ok(unknown);
        }
        self.inner.find_missing(ctx, &unknown).await
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        let capabilities = self.inner.capabilities(ctx, instance_name).await?;
        let max = self.options.max_blob_size_bytes;
        let max = capabilities.max_blob_size_bytes.map_or(max, |inner| inner.min(max));
        Ok(capabilities.with_max_blob_size_bytes(max))
    }

    fn key_format(&self) -> KeyFormat {
        self.inner.key_format()
    }

    fn finds_in_bulk(&self) -> bool {
        self.inner.finds_in_bulk()
    }
}

#[async_trait]
impl<B: BlobAccess> BackgroundWork for UploadQueue<B> {
    fn name(&self) -> Cow<'static, str> {
        self.to_string().into()
    }

    async fn run(&self) {
        Self::run(self).await;
    }
}

impl<B: BlobAccess> Display for UploadQueue<B> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "upload_queue({})", self.inner)
    }
}

impl<B: BlobAccess> Debug for UploadQueue<B> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploadQueue")
            .field("inner", &self.inner)
            .field("options", &self.options)
            .field("snapshot", &self.snapshot())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
