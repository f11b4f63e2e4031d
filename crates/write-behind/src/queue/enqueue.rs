//! The way into the queue: an upload joins an equal one, or is admitted and gets its place.

use std::future::Future;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use blobaccess::{Blob, BlobAccess, Context, Digest, DigestKey, Error, Kind, PutOutcome, Result};
use blobaccess_accounting::{DropReason, ErrorReason, Outcome, Ticket};
use bytes::Bytes;
use futures::TryStreamExt;
use tokio::sync::oneshot;

use super::contents::Contents;
use super::entries::{Inserted, Room};
use super::job::Job;
use super::queued::{Queued, Waiter};
use super::{Acknowledge, QueueSnapshot, UploadQueue};

/// An upload that has its place in the queue.
pub(crate) struct Enqueued(Option<oneshot::Receiver<Result<PutOutcome>>>);

/// Room in a queue, which is given back unless an upload takes it.
pub(super) struct Reservation<'a, B: BlobAccess> {
    queue: &'a UploadQueue<B>,
    room: Option<Room>,
}

/// An upload that may have its place: there is room for it, and its ticket has begun.
struct Admitted {
    room: Room,
    ticket: Ticket,
}

impl Enqueued {
    /// Returns the outcome as far as the queue tells it: `Unclassified` at once, or the outcome of the upload.
    pub(crate) async fn outcome(self) -> Result<PutOutcome> {
        match self.0 {
            None => Ok(PutOutcome::Unclassified { stored_bytes: None }),
            Some(waiting) => {
                waiting.await.unwrap_or_else(|_| Err(Error::cancelled("the queue of uploads was stopped")))
            }
        }
    }
}

impl<B: BlobAccess> UploadQueue<B> {
    /// Queues the upload of `digest`, and reads the blob from `store` when its turn comes. The contents take no room in
    /// the queue. `stored_bytes` is the size that the blob will have in the slow store, if that is known; it is counted if
    /// the upload is dropped.
    ///
    /// If `store` no longer has the blob by then, the upload is dropped.
    ///
    /// # Errors
    ///
    /// As [`put`](BlobAccess::put), immediately.
    pub fn enqueue_from(
        &self,
        ctx: &Context,
        digest: &Digest,
        logical_bytes: u64,
        stored_bytes: Option<u64>,
        store: Arc<dyn BlobAccess<Kind = B::Kind>>,
    ) -> Result<()> {
        let job = self.job(ctx, digest, logical_bytes).with_stored_bytes(stored_bytes);
        let reservation = self.reserve(&job, 0)?;
        self.enqueue(job, Contents::Stored(store), reservation, None)
    }

    /// Queues an upload as [`enqueue_from`](Self::enqueue_from) does, but is [acknowledged](Acknowledge) as puts are: when
    /// the upload is queued, or with its outcome.
    ///
    /// # Cancel safety
    ///
    /// The upload is queued before the returned future is first polled. Dropping the future does not stop the upload.
    ///
    /// # Errors
    ///
    /// As [`put`](BlobAccess::put).
    pub fn upload_from(
        &self,
        ctx: &Context,
        digest: &Digest,
        logical_bytes: u64,
        stored_bytes: Option<u64>,
        store: Arc<dyn BlobAccess<Kind = B::Kind>>,
    ) -> impl Future<Output = Result<PutOutcome>> + Send + use<B> {
        let (waiter, enqueued) = self.waiter();
        let job = self.job(ctx, digest, logical_bytes).with_stored_bytes(stored_bytes);
        let queued = self.join(&job, waiter).or_else(|waiter| {
            let reservation = self.reserve(&job, 0)?;
            self.enqueue(job, Contents::Stored(store), reservation, waiter)
        });
        async move {
            queued?;
            enqueued.outcome().await
        }
    }

    /// Queues a value of a mutable kind, which is held in memory: a store may have a newer value when its turn comes.
    pub(crate) fn enqueue_value(&self, ctx: &Context, digest: &Digest, value: Bytes) -> Result<Enqueued> {
        let size_bytes = u64::try_from(value.len()).unwrap_or(u64::MAX);
        let job = self.job(ctx, digest, size_bytes);
        let reservation = self.reserve(&job, size_bytes)?;
        let (waiter, enqueued) = self.waiter();
        self.enqueue(job, Contents::Held(value), reservation, waiter)?;
        Ok(enqueued)
    }

    /// Counts a value of `size_bytes`, which is larger than the queue takes, as rejected, and returns the error that says so.
    pub(crate) fn reject_value(&self, ctx: &Context, digest: &Digest, size_bytes: u64) -> Error {
        self.reject(&self.job(ctx, digest, size_bytes))
    }

    /// Returns whether an upload of `digest` is queued or under way.
    #[must_use]
    pub fn is_queued(&self, digest: &Digest) -> bool {
        self.entries().contents(&self.key(digest)).is_some()
    }

    /// Returns whether there is room for `items` more uploads that may be unnecessary: they get half of the queue at most.
    pub(crate) fn has_room_to_spare(&self, items: usize) -> bool {
        let QueueSnapshot { items: queued, held_bytes, .. } = self.snapshot();
        queued.saturating_add(items) <= self.options.max_items / 2 && held_bytes <= self.options.max_bytes / 2
    }

    /// Returns the time at which a put is acknowledged.
    pub(crate) const fn acknowledge(&self) -> Acknowledge {
        self.options.acknowledge
    }

    /// Returns the size of the largest value that is held in memory, in bytes.
    pub(crate) const fn max_held_bytes(&self) -> u64 {
        self.options.max_blob_size_bytes
    }

    pub(super) fn key(&self, digest: &Digest) -> DigestKey {
        digest.cache_key(self.inner.key_format())
    }

    pub(super) fn job(&self, ctx: &Context, digest: &Digest, logical_bytes: u64) -> Job {
        Job::new(self.key(digest), ctx, digest, logical_bytes)
    }

    /// Makes the two ends of a wait for an outcome; no end is connected where puts do not wait for their upload.
    pub(super) fn waiter(&self) -> (Option<Waiter>, Enqueued) {
        match self.options.acknowledge {
            Acknowledge::Queued => (None, Enqueued(None)),
            Acknowledge::Uploaded => {
                let (waiter, waiting) = oneshot::channel();
                (Some(waiter), Enqueued(Some(waiting)))
            }
        }
    }

    /// Joins the upload of equal contents, if there is one; else returns the waiter. This takes no room. The put has an outcome
    /// of its own once the upload has ended. A value of a mutable kind joins none: the one that is queued may be another.
    pub(super) fn join(&self, job: &Job, waiter: Option<Waiter>) -> Result<(), Option<Waiter>> {
        if B::Kind::STORAGE_TYPE.is_mutable() {
            return Err(waiter);
        }
        let joined = self.entries().join(&self.options, &job.key, waiter)?;
        let ticket = self.accounts.begin_joined(&job.ctx, &job.digest, B::Kind::STORAGE_TYPE, job.logical_bytes);
        match joined {
            Some(joined) => joined.begin(ticket),
            // It stores nothing, whatever becomes of the upload.
            None => ticket.finish(Outcome::Unclassified { stored_bytes: job.stored_bytes }),
        }
        Ok(())
    }

    /// Counts an upload that is larger than the queue takes as rejected, and returns the error that says so.
    pub(super) fn reject(&self, job: &Job) -> Error {
        let (digest, size, max) = (&job.digest, job.logical_bytes, self.options.max_blob_size_bytes);
        let message = format!("blob {digest} is {size} bytes; the maximum of the queue of uploads is {max}");
        // If its account refuses it, that is counted as rejected, too.
        if let Ok(ticket) = self.begin(job) {
            ticket.finish(Outcome::Error(ErrorReason::Rejected));
        }
        self.entries().count_failed();
        self.losses.add(digest);
        Error::invalid_argument(message)
    }

    /// Reserves room for an upload that holds `held_bytes` in memory. If there is none, the upload is dropped and counted
    /// so.
    pub(super) fn reserve(&self, job: &Job, held_bytes: u64) -> Result<Reservation<'_, B>> {
        let digest = &job.digest;
        let disabled = self.options.max_items == 0;
        let closed = self.closed.load(Ordering::Acquire);
        let room = if disabled || closed { None } else { self.entries().reserve(&self.options, held_bytes) };
        if room.is_some() {
            return Ok(Reservation { queue: self, room });
        }
        let (reason, error) = if disabled {
            (DropReason::Disabled, Error::failed_precondition(format!("upload of {digest}: uploads are switched off")))
        } else if closed {
            let message = format!("upload of {digest}: the queue of uploads is closed");
            (DropReason::Shutdown, Error::failed_precondition(message))
        } else {
            return Err(self.refuse(job)?);
        };
        let ticket = self.begin(job)?;
        ticket.drop_as(reason, job.stored_bytes);
        self.entries().count_dropped();
        self.losses.add(digest);
        Err(error.not_stored())
    }

    /// Reads a blob, and takes room for its bytes as they come: what a slow sender has merely announced takes none. If there is
    /// no room, the upload is dropped and counted so.
    pub(super) async fn read_into(&self, job: &Job, reservation: &mut Reservation<'_, B>, blob: Blob) -> Result<Bytes> {
        let mut stream = blob.into_stream(..)?;
        let mut pieces: Vec<Bytes> = Vec::new();
        while let Some(piece) = stream.try_next().await? {
            if !reservation.grow(u64::try_from(piece.len()).unwrap_or(u64::MAX)) {
                return Err(self.refuse(job)?);
            }
            pieces.push(piece);
        }
        Ok(match <[Bytes; 1]>::try_from(pieces) {
            Ok([whole]) => whole,
            Err(pieces) => pieces.concat().into(),
        })
    }

    /// Counts an upload for which there is no room, and returns the error that says so.
    fn refuse(&self, job: &Job) -> Result<Error> {
        let digest = &job.digest;
        let QueueSnapshot { items, held_bytes, .. } = self.snapshot();
        let message = format!(
            "upload of {digest}: {items} uploads of {held_bytes} bytes are queued; the maximum is {} uploads of {} bytes",
            self.options.max_items, self.options.max_bytes
        );
        let error = Error::resource_exhausted(message).with_retryable(true).not_stored();
        self.begin(job)?.drop_as(DropReason::QueueFull, job.stored_bytes);
        self.entries().count_dropped();
        self.losses.add(digest);
        self.note(&error, true);
        Ok(error)
    }

    /// Gives an upload for which there is room its place, or joins the equal upload that is queued already.
    pub(super) fn enqueue(
        &self,
        job: Job,
        contents: Contents<B::Kind>,
        reservation: Reservation<'_, B>,
        waiter: Option<Waiter>,
    ) -> Result<()> {
        let admission = self.admission();
        let Err(waiter) = self.join(&job, waiter) else { return Ok(()) };
        let Admitted { room, ticket } = self.admit(&job, reservation)?;
        let queued = Queued::new(job, contents, room, ticket).with_waiter(waiter);
        let inserted = self.entries().insert(queued);
        drop(admission);
        match inserted {
            Inserted::New => {}
            Inserted::Instead(older) => self.supersede(older),
            // It had its room when the queue was given up.
            Inserted::TooLate(mut late) => {
                late.give_up_ticket(DropReason::Shutdown);
                self.losses.add(&late.job.digest);
                let mut entries = self.entries();
                entries.count_dropped();
                entries.give_back(late.room);
                drop(entries);
                self.wake();
                let message = format!("upload of {}: the queue of uploads is closed", late.job.digest);
                return Err(Error::failed_precondition(message).not_stored());
            }
        }
        self.work.notify_one();
        self.watch.note_work(&**self.accounts.clock());
        Ok(())
    }

    /// Begins the ticket of an upload for which there is room. The account may refuse it, which is counted.
    fn admit(&self, job: &Job, reservation: Reservation<'_, B>) -> Result<Admitted> {
        let ticket = self.begin(job).inspect_err(|_| self.losses.add(&job.digest))?;
        Ok(Admitted { room: reservation.take()?, ticket })
    }

    pub(super) fn begin(&self, job: &Job) -> Result<Ticket> {
        self.accounts.begin(&job.ctx, &job.digest, B::Kind::STORAGE_TYPE, job.logical_bytes)
    }

    /// Waits until no other upload is being admitted. So each ticket that begins gets its place: no equal upload comes in
    /// between. The entries are not locked meanwhile, as an observer of the accounts may ask for a snapshot.
    fn admission(&self) -> MutexGuard<'_, ()> {
        // There is nothing that a panic could leave half changed.
        self.admission.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends an older value of an entry, which a newer one replaced while it was waiting.
    pub(super) fn supersede(&self, mut older: Queued<B::Kind>) {
        older.give_up_ticket(DropReason::SourceUnavailable);
        self.entries().give_back(older.room);
    }

    /// Wakes all that wait for the queue to change: something ended, or will not come.
    pub(super) fn wake(&self) {
        self.ended.notify_waiters();
        self.work.notify_one();
    }
}

impl<B: BlobAccess> Reservation<'_, B> {
    /// Takes room for `bytes` more. Returns `false` if there is none.
    fn grow(&mut self, bytes: u64) -> bool {
        match &mut self.room {
            Some(room) => self.queue.entries().grow(&self.queue.options, room, bytes),
            None => false,
        }
    }

    fn take(mut self) -> Result<Room> {
        self.room.take().ok_or_else(|| Error::internal("room in the queue was taken twice"))
    }
}

impl<B: BlobAccess> Drop for Reservation<'_, B> {
    fn drop(&mut self) {
        if let Some(room) = self.room.take() {
            self.queue.entries().give_back(room);
            // Whoever drains the queue waits for puts that have room.
            self.queue.wake();
        }
    }
}
