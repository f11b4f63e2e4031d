//! Uploads behind those who ask for them: a bounded queue in front of a slow store.

mod entries;
mod options;
mod order;
mod sourced;
mod uploading;

use std::fmt::{self, Debug, Display, Formatter};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use blobaccess::{
    Blob, BlobAccess, Capabilities, Cas, Context, Digest, DigestSet, Error, InstanceName, KeyFormat, Kind, PutOutcome,
    Result, Slicer,
};
use futures::future::{Either, select};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::sync::{Notify, oneshot};

use self::entries::{Contents, Entries, Inserted, Job, Room};
use self::order::{Losses, Predecessor};
use crate::DropReason;
use crate::accounts::Accounts;

pub use self::entries::QueueSnapshot;
pub use self::options::{Acknowledge, QueueOptions};

/// A [`BlobAccess`] that uploads behind those who put: a bounded queue in front of a slow store.
///
/// What is put waits in memory, or in a store that it is read from again ([`enqueue_from`](Self::enqueue_from)), without
/// a file being open for each. It belongs to the program and not to whoever puts, who may be gone when it is uploaded.
/// What is in the queue already is not put there again. Every upload is counted, as one of exactly one outcome: this
/// takes the place of [`Accounted`](crate::Accounted).
///
/// Nothing is uploaded unless the host spawns [`run`](Self::run).
///
/// # Order
///
/// In front of a backend. A queue of action results [follows](Self::following) that of the contents: a result is
/// uploaded when all contents that were put before it are, and dropped if any that it needs were lost.
///
/// # Weakens
///
/// As long as puts are [acknowledged when they are queued](Acknowledge::Queued), what becomes of them is not known: the
/// outcome is `Unclassified`, and what cannot be uploaded later on is lost, as if evicted. Until then it can be read and
/// is not missing. Acknowledged when uploaded, a queue weakens nothing.
///
/// # Memory
///
/// Up to [`max_bytes`](QueueOptions::with_max_bytes) of contents, and some 500 bytes for each upload.
///
/// # Cancel safety
///
/// A put that is dropped while its blob is read queues nothing; after that, the upload goes on. When
/// [`run`](Self::run) is dropped, what was being sent ends as any put that is dropped, and the rest stays.
///
/// # Errors
///
/// `ResourceExhausted`, to be tried again, if there is no room; that is counted as `dropped{queue_full}`.
/// `FailedPrecondition` once the queue is closed.
pub struct UploadQueue<B: BlobAccess> {
    inner: B,
    accounts: Arc<Accounts>,
    options: QueueOptions,
    entries: Mutex<Entries<B::Kind>>,
    losses: Losses,
    follows: Option<Arc<dyn Predecessor>>,
    /// There is something to upload, or nothing will be any more.
    work: Notify,
    /// Something was uploaded or given up.
    ended: Notify,
    closed: AtomicBool,
}

/// What became of a queue that was drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// Uploads that were given up because time ran out.
    pub dropped: usize,
}

impl<B: BlobAccess> UploadQueue<B> {
    /// Uploads to `inner`, and counts in `accounts`.
    pub fn new(inner: B, accounts: Arc<Accounts>, options: QueueOptions) -> Self {
        let losses = Losses::new(Arc::clone(&accounts.clock), options.remembered_losses, options.lost_for);
        Self {
            inner,
            accounts,
            options,
            entries: Mutex::new(Entries::new()),
            losses,
            follows: None,
            work: Notify::new(),
            ended: Notify::new(),
            closed: AtomicBool::new(false),
        }
    }

    /// The same, of action results: each is uploaded only when everything that was put to `contents` before it has been,
    /// and is dropped if contents were lost that it needs.
    ///
    /// Of the contents that a result names itself, those that were lost are looked for in their store. What the trees
    /// of its output directories name is not known here: a result that has any is dropped if anything at all was lost
    /// [lately](QueueOptions::with_lost_for) and is still missing.
    #[must_use]
    pub fn following<C: BlobAccess<Kind = Cas>>(mut self, contents: Arc<UploadQueue<C>>) -> Self {
        self.follows = Some(contents);
        self
    }

    /// Queues the upload of `digest`, which is to be read from `store` when its turn comes. It takes no room for
    /// contents. `stored_bytes` is what it will take in the store, if that is known: it is counted if the upload is
    /// dropped.
    ///
    /// If it is gone from there by then, the upload is dropped.
    ///
    /// # Errors
    ///
    /// As those of [`put`](BlobAccess::put), at once.
    pub fn enqueue_from(
        &self,
        ctx: &Context,
        digest: &Digest,
        logical_bytes: u64,
        stored_bytes: Option<u64>,
        store: Arc<dyn BlobAccess<Kind = B::Kind>>,
    ) -> Result<()> {
        let room = self.room(ctx, digest, logical_bytes, 0, stored_bytes)?;
        self.insert(ctx, digest, Contents::Stored(store), logical_bytes, stored_bytes, room, false).map(drop)
    }

    /// Uploads what is queued, for as long as this is polled; ends once the queue is closed and empty.
    ///
    /// # Cancel safety
    ///
    /// What is being sent when it is dropped ends as any put that is dropped. The rest stays for whoever runs it next,
    /// among it the results that wait for their contents.
    pub async fn run(&self) {
        let mut uploads = FuturesUnordered::new();
        loop {
            while uploads.len() < self.options.uploads_at_once {
                let Some(job) = self.entries().next() else { break };
                uploads.push(self.upload(job).boxed());
            }
            if uploads.is_empty() && self.closed.load(Ordering::Acquire) && self.entries().is_empty() {
                return;
            }
            // A permit is kept for whoever is not waiting yet, so that nothing is missed in between.
            let work = std::pin::pin!(self.work.notified());
            if uploads.is_empty() {
                work.await;
            } else {
                select(work, uploads.next()).await;
            }
        }
    }

    /// Takes nothing more. What is queued is still uploaded.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.work.notify_one();
    }

    /// Closes the queue, and waits until it is empty or `deadline` has come; what waits then is given up, and counted as
    /// `dropped{shutdown}`. What is being uploaded then goes on for as long as [`run`](Self::run) is polled.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any time; the queue stays closed.
    pub async fn drain(&self, deadline: Instant) -> Drained {
        self.close();
        let mut timeout = self.accounts.clock.sleep_until(deadline);
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
        for job in given_up {
            self.lose(job, DropReason::Shutdown, Error::cancelled("the queue of uploads was shut down"));
        }
        self.work.notify_one();
        Drained { dropped }
    }

    /// What is queued and what became of it so far.
    #[must_use]
    pub fn snapshot(&self) -> QueueSnapshot {
        self.entries().snapshot()
    }

    fn entries(&self) -> MutexGuard<'_, Entries<B::Kind>> {
        // Nothing that panics is called while the entries are half changed.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for a blob that takes `held_bytes` until it is uploaded, or the upload is dropped and counted so.
    fn room(
        &self,
        ctx: &Context,
        digest: &Digest,
        logical_bytes: u64,
        held_bytes: u64,
        stored_bytes: Option<u64>,
    ) -> Result<Room> {
        let disabled = self.options.max_items == 0;
        let closed = self.closed.load(Ordering::Acquire);
        let room = if disabled || closed { None } else { self.entries().reserve(&self.options, held_bytes) };
        if let Some(room) = room {
            return Ok(room);
        }
        let (reason, error) = if disabled {
            (DropReason::Disabled, Error::failed_precondition(format!("upload of {digest}: uploads are switched off")))
        } else if closed {
            let message = format!("upload of {digest}: the queue of uploads is closed");
            (DropReason::Shutdown, Error::failed_precondition(message))
        } else {
            let QueueSnapshot { items, held_bytes, .. } = self.snapshot();
            let message = format!(
                "upload of {digest}: {items} uploads of {held_bytes} bytes are queued, of at most {} of {} bytes",
                self.options.max_items, self.options.max_bytes
            );
            (DropReason::QueueFull, Error::resource_exhausted(message).with_retryable(true))
        };
        let ticket = self.accounts.begin(ctx, digest, B::Kind::STORAGE_TYPE, logical_bytes)?;
        ticket.drop_as(reason, stored_bytes);
        self.entries().count_dropped();
        self.losses.add(digest);
        Err(error.not_stored())
    }

    /// Queues an upload for which there is room, or joins the one that is queued. If `waits`, what is returned tells what
    /// it comes to.
    #[expect(clippy::too_many_arguments, reason = "private, and each is a fact of its own")]
    fn insert(
        &self,
        ctx: &Context,
        digest: &Digest,
        contents: Contents<B::Kind>,
        logical_bytes: u64,
        stored_bytes: Option<u64>,
        room: Room,
        waits: bool,
    ) -> Result<Option<oneshot::Receiver<Result<PutOutcome>>>> {
        let (waiter, waiting) = oneshot::channel();
        let key = digest.cache_key(self.inner.key_format());
        let job = Job {
            key: key.clone(),
            digest: digest.clone(),
            ctx: ctx.clone().without_deadline(),
            contents,
            stored_bytes,
            ticket: None,
            room,
            barrier: self.follows.as_ref().map_or(0, |follows| follows.barrier()),
            sequence: 0,
            waiters: waits.then_some(waiter).into_iter().collect(),
            superseded: Vec::new(),
        };
        let inserted = self.entries().insert(job);
        let sequence = match inserted {
            Inserted::Joined(job) => {
                self.entries().give_back(job.room);
                return Ok(waits.then_some(waiting));
            }
            Inserted::New { sequence, older } => {
                if let Some(older) = older {
                    self.supersede(older);
                }
                sequence
            }
        };
        match self.accounts.begin(ctx, digest, B::Kind::STORAGE_TYPE, logical_bytes) {
            Ok(ticket) => {
                let unwanted = self.entries().arm(&key, sequence, ticket);
                if let Some(ticket) = unwanted {
                    ticket.drop_as(DropReason::SourceUnavailable, stored_bytes);
                }
                self.work.notify_one();
                Ok(waits.then_some(waiting))
            }
            Err(error) => {
                self.losses.add(digest);
                let withdrawn = self.entries().withdraw(&key, sequence);
                if let Some(mut job) = withdrawn {
                    job.answer(&Err(error.clone()));
                    self.entries().give_back(job.room);
                    self.ended.notify_waiters();
                }
                Err(error)
            }
        }
    }

    /// An older value of an entry was still waiting when a newer one came.
    fn supersede(&self, mut job: Job<B::Kind>) {
        if let Some(ticket) = job.ticket.take() {
            ticket.drop_as(DropReason::SourceUnavailable, job.stored_bytes);
        }
        self.entries().give_back(job.room);
    }

    /// Waits for `waiting`, which tells what the upload came to.
    async fn uploaded(waiting: oneshot::Receiver<Result<PutOutcome>>) -> Result<PutOutcome> {
        waiting.await.unwrap_or_else(|_| Err(Error::cancelled("the queue of uploads was stopped")))
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<B: BlobAccess> BlobAccess for UploadQueue<B> {
    type Kind = B::Kind;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        if self.options.acknowledge == Acknowledge::Queued {
            let key = digest.cache_key(self.inner.key_format());
            let pending = self.entries().contents(&key);
            match pending {
                Some(Contents::Held(bytes)) if B::Kind::STORAGE_TYPE.is_mutable() => {
                    return Ok(Blob::from_bytes(bytes));
                }
                Some(Contents::Held(bytes)) => return Ok(Blob::from_verified_bytes(digest, bytes)),
                Some(Contents::Stored(store)) => match store.get(ctx, digest).await {
                    Err(error) if error.is_not_found() => {}
                    result => return result,
                },
                None => {}
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
        let key = parent.cache_key(self.inner.key_format());
        if self.options.acknowledge == Acknowledge::Queued && self.entries().contents(&key).is_some() {
            return blobaccess::get_and_slice(self, ctx, parent, child, slicer).await;
        }
        self.inner.get_from_composite(ctx, parent, child, slicer).await
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        let (size, max) = (blob.size_bytes(), self.options.max_blob_size_bytes);
        if size > max {
            let message = format!("blob {digest} is {size} bytes, while the queue of uploads takes at most {max}");
            return Err(Error::invalid_argument(message));
        }
        let waits = self.options.acknowledge == Acknowledge::Uploaded;
        let mutable = B::Kind::STORAGE_TYPE.is_mutable();
        if !mutable && !waits && self.entries().join(&digest.cache_key(self.inner.key_format()), None).is_ok() {
            return Ok(PutOutcome::Unclassified { stored_bytes: None });
        }
        let room = Reserved { queue: self, room: Some(self.room(ctx, digest, size, size, None)?) };
        let blob = if mutable { blob } else { blob.expecting(digest) };
        let bytes = blob.into_bytes(max).await?;
        let Some(room) = room.take() else { return Err(Error::internal("room was given back twice")) };
        match self.insert(ctx, digest, Contents::Held(bytes), size, None, room, waits)? {
            None => Ok(PutOutcome::Unclassified { stored_bytes: None }),
            Some(waiting) => Self::uploaded(waiting).await,
        }
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

/// Room that goes back unless it is taken.
struct Reserved<'a, B: BlobAccess> {
    queue: &'a UploadQueue<B>,
    room: Option<Room>,
}

impl<B: BlobAccess> Reserved<'_, B> {
    fn take(mut self) -> Option<Room> {
        self.room.take()
    }
}

impl<B: BlobAccess> Drop for Reserved<'_, B> {
    fn drop(&mut self) {
        if let Some(room) = self.room.take() {
            self.queue.entries().give_back(room);
        }
    }
}

#[async_trait]
impl<B: BlobAccess<Kind = Cas>> Predecessor for UploadQueue<B> {
    fn barrier(&self) -> u64 {
        self.entries().barrier()
    }

    async fn passed(&self, barrier: u64) {
        loop {
            // What ends from here on is not missed.
            let ended = self.ended.notified();
            if self.entries().has_passed(barrier) {
                return;
            }
            ended.await;
        }
    }

    fn has_losses(&self) -> bool {
        self.losses.any()
    }

    async fn lacks(&self, ctx: &Context, action: &Digest, message: &[u8]) -> bool {
        let suspects = self.losses.suspects(action, message);
        if suspects.is_empty() {
            return false;
        }
        match self.inner.find_missing(ctx, &suspects).await {
            Ok(missing) => {
                for found in &suspects.difference(&missing) {
                    self.losses.remove(found);
                }
                !missing.is_empty()
            }
            // Then it is not certain that they are there.
            Err(_) => true,
        }
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
#[cfg(not(loom))]
mod tests;
