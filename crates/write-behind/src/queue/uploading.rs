//! One upload under way: it waits for its predecessors, is sent, and leaves the queue or waits for another attempt.

use std::time::{Duration, Instant};

use blobaccess::{Blob, BlobAccess, Error, ErrorKind, Kind, PutOutcome, Result};
use blobaccess_accounting::{DropReason, Outcome};
use futures::future::{Either, select};
use tokio::sync::OwnedSemaphorePermit;

use super::entries::PutBack;
use super::joined::JoinedEnd;
use super::predecessor::Needs;
use super::queued::Queued;
use super::{Acknowledge, UploadQueue};

/// The time after which an upload is slow, and another one may take its place.
const SLOW: Duration = Duration::from_secs(5);

/// The slowest transfer that an attempt is given time for, in bytes a second.
const SLOWEST_BYTES_PER_SECOND: u64 = 64 << 10;

impl<B: BlobAccess> UploadQueue<B> {
    pub(super) fn upload(
        &self,
        queued: Queued<B::Kind>,
        slot: Option<OwnedSemaphorePermit>,
    ) -> impl Future<Output = ()> + Send {
        // The guard takes the upload out of the queue even if the future is never polled.
        let uploading = Uploading { queue: self, queued: Some(queued) };
        self.upload_guarded(uploading, slot)
    }

    async fn upload_guarded(&self, mut uploading: Uploading<'_, B>, slot: Option<OwnedSemaphorePermit>) {
        let result = match &mut uploading.queued {
            None => return,
            Some(queued) => self.try_upload(queued, slot).await,
        };
        let Some(mut queued) = uploading.queued.take() else { return };
        match result {
            Ok(outcome) => {
                self.losses.remove(&queued.job.digest);
                let result = Ok(outcome);
                let end = JoinedEnd::of(&result);
                self.finish(queued, &result, end);
            }
            Err(Failed::Again(error, at)) => {
                self.note(&error, false);
                queued.last_error = Some(error);
                let put_back = self.entries().retry(queued, self.accounts.clock().monotonic(), at);
                self.keep(put_back);
            }
            Err(Failed::Upload(error)) => {
                self.note(&error, true);
                self.losses.add(&queued.job.digest);
                let result = Err(error);
                let end = JoinedEnd::of(&result);
                self.finish(queued, &result, end);
            }
            Err(Failed::Source(error)) => {
                self.note(&error, true);
                self.lose(queued, DropReason::SourceUnavailable, error);
            }
        }
    }

    async fn try_upload(
        &self,
        queued: &mut Queued<B::Kind>,
        slot: Option<OwnedSemaphorePermit>,
    ) -> Result<PutOutcome, Failed> {
        let blob = match self.ready(queued).await {
            Ok(blob) => blob,
            Err(error) => return Err(self.failed_source(queued, error)),
        };
        let slot = match slot {
            Some(slot) => Some(slot),
            // The semaphore is never closed.
            None => std::sync::Arc::clone(&self.slots).acquire_owned().await.ok(),
        };
        let Some(mut ticket) = queued.ticket.take() else {
            return Err(Failed::Upload(Error::internal("an upload was begun twice")));
        };
        let clock = self.accounts.clock();
        let allowed = Duration::from_secs(queued.job.logical_bytes / SLOWEST_BYTES_PER_SECOND);
        let allowed = self.options.attempt_timeout.saturating_add(allowed);
        let deadline = clock.monotonic().checked_add(allowed);
        let ctx = ticket.send(&queued.job.ctx);
        let ctx = match deadline {
            Some(deadline) => ctx.with_deadline(deadline),
            None => ctx,
        };
        let put = clock.timeout(deadline, self.inner.put(&ctx, &queued.job.digest, blob));
        let put = match self.put_in_slot(put, slot, queued.sequence).await {
            Ok(put) => put,
            Err(_) => Err(Error::deadline_exceeded("the store did not answer in time")),
        };
        match put {
            Ok(outcome) => {
                let outcome = known(outcome, queued);
                ticket.finish(Outcome::from(outcome));
                Ok(outcome)
            }
            Err(error) => {
                let error = queued.joined_error(error);
                let Some(at) = self.again(queued, &error) else {
                    ticket.fail(&error);
                    return Err(Failed::Upload(error));
                };
                queued.ticket = Some(ticket);
                Err(Failed::Again(error, at))
            }
        }
    }

    /// Waits for a put, and gives its slot back early if it is slow.
    async fn put_in_slot<T>(
        &self,
        put: impl Future<Output = T>,
        slot: Option<OwnedSemaphorePermit>,
        sequence: u64,
    ) -> T {
        let clock = self.accounts.clock();
        let put = std::pin::pin!(put);
        let Some(patience) = clock.monotonic().checked_add(SLOW) else { return put.await };
        match select(put, clock.sleep_until(patience)).await {
            Either::Left((done, _)) => done,
            Either::Right(((), put)) => {
                drop(slot);
                self.entries().end_slow_probe(sequence, clock.monotonic());
                self.work.notify_one();
                put.await
            }
        }
    }

    /// Returns when an upload that failed with `error` is to be tried again, or `None` if it is not. Counts the failure.
    fn again(&self, queued: &mut Queued<B::Kind>, error: &Error) -> Option<Instant> {
        if self.options.acknowledge == Acknowledge::Uploaded || !may_pass_later(error.kind()) {
            return None;
        }
        let now = self.accounts.clock().monotonic();
        let since = *queued.first_failure.get_or_insert(now);
        if now.saturating_duration_since(since) >= self.options.retry_for {
            return None;
        }
        let factor = 1_u32.checked_shl(queued.failures).unwrap_or(u32::MAX);
        queued.failures = queued.failures.saturating_add(1);
        let pause = self.options.backoff_first.saturating_mul(factor).min(self.options.backoff_max);
        now.checked_add(pause)
    }

    /// Decides what becomes of an upload whose blob could not be read, or whose contents could not be asked about.
    fn failed_source(&self, queued: &mut Queued<B::Kind>, error: Error) -> Failed {
        let error = queued.joined_error(error.not_stored());
        match self.again(queued, &error) {
            // The ticket is as it was: nothing was sent by this attempt.
            Some(at) => Failed::Again(error, at),
            None => Failed::Source(error),
        }
    }

    /// Waits until everything has been uploaded that must come first, and returns the blob.
    async fn ready(&self, queued: &Queued<B::Kind>) -> Result<Blob> {
        let Some(follows) = &self.follows else { return queued.blob().await };
        if follows.is_idle() {
            return queued.blob().await;
        }
        let message = queued.blob().await?.into_bytes(self.options.max_blob_size_bytes).await?;
        let digest = &queued.job.digest;
        loop {
            match follows.needs(&queued.job.ctx, digest, &message).await? {
                Needs::Nothing => return Ok(Blob::from_bytes(message)),
                Needs::Uploads(uploads) => {
                    self.entries().end_probe(queued.sequence);
                    self.work.notify_one();
                    drop(futures::future::join_all(uploads).await);
                }
                Needs::Lost => {
                    let message = format!("action result {digest} needs contents that were lost");
                    return Err(Error::failed_precondition(message));
                }
            }
        }
    }

    /// Ends an upload before its first byte, or between two attempts.
    pub(super) fn lose(&self, mut queued: Queued<B::Kind>, reason: DropReason, error: Error) {
        queued.give_up_ticket(reason);
        self.entries().count_dropped();
        self.losses.add(&queued.job.digest);
        let (error, end) = (queued.joined_error(error.not_stored()), queued.lost_end(reason));
        self.finish(queued, &Err(error), end);
    }

    /// Goes on with an upload that has its place back. Returns it if the queue has given everything up.
    fn take_back(&self, put_back: PutBack<B::Kind>) -> Option<Queued<B::Kind>> {
        match put_back {
            PutBack::Waits => {}
            PutBack::Superseded(older) => self.supersede(older),
            PutBack::GivenUp(queued) => return Some(queued),
        }
        self.work.notify_one();
        None
    }

    fn keep(&self, put_back: PutBack<B::Kind>) {
        if let Some(queued) = self.take_back(put_back) {
            self.lose(queued, DropReason::Shutdown, Error::cancelled("the queue of uploads was shut down"));
        }
    }

    pub(super) fn note(&self, error: &Error, is_last: bool) {
        self.notices.note(self.accounts.clock().monotonic(), error, is_last, || self.snapshot());
    }

    fn finish(&self, mut queued: Queued<B::Kind>, result: &Result<PutOutcome>, end: JoinedEnd) {
        self.entries().finish(&mut queued, result.is_ok());
        queued.answer(result, end);
        // Another value of the same entry may have waited for this one.
        self.wake();
    }
}

/// Returns whether a put that failed so may succeed later, the same put to the same store. What a store refuses to this
/// program may be given back to it.
const fn may_pass_later(kind: ErrorKind) -> bool {
    !matches!(
        kind,
        ErrorKind::InvalidArgument
            | ErrorKind::NotFound
            | ErrorKind::AlreadyExists
            | ErrorKind::FailedPrecondition
            | ErrorKind::OutOfRange
            | ErrorKind::Unimplemented
            | ErrorKind::DataLoss
    )
}

/// Returns an outcome as far as it is known after earlier attempts. One of them may have replaced the message.
fn known<K: Kind>(outcome: PutOutcome, queued: &Queued<K>) -> PutOutcome {
    if let PutOutcome::Replaced { stored_bytes, .. } | PutOutcome::AlreadyExists { stored_bytes } = outcome
        && K::STORAGE_TYPE.is_mutable()
        && queued.is_ambiguous()
    {
        return PutOutcome::Unclassified { stored_bytes: Some(stored_bytes) };
    }
    outcome
}

/// The reason why an upload failed.
enum Failed {
    /// There was nothing to send.
    Source(Error),
    /// Sending failed, for good.
    Upload(Error),
    /// It failed, and is tried again at that time.
    Again(Error, Instant),
}

/// A guard that takes an upload out of the queue, whatever ends the upload.
struct Uploading<'a, B: BlobAccess> {
    queue: &'a UploadQueue<B>,
    queued: Option<Queued<B::Kind>>,
}

impl<B: BlobAccess> Drop for Uploading<'_, B> {
    fn drop(&mut self) {
        if let Some(queued) = self.queued.take() {
            // A panic may be that of the source, which would come again if the upload were queued again.
            let unsent = queued.ticket.is_some() && !std::thread::panicking();
            let queued = if unsent {
                let put_back = self.queue.entries().put_back(queued);
                self.queue.take_back(put_back)
            } else {
                Some(queued)
            };
            let Some(mut queued) = queued else { return };
            // An upload whose ticket is elsewhere may have been sent.
            let end = match &queued.ticket {
                Some(_) => queued.lost_end(DropReason::Shutdown),
                None => JoinedEnd::of(&Err(Error::cancelled("the queue of uploads was stopped"))),
            };
            queued.give_up_ticket(DropReason::Shutdown);
            self.queue.losses.add(&queued.job.digest);
            self.queue.finish(queued, &Err(Error::cancelled("the queue of uploads was stopped")), end);
        }
    }
}
