//! One upload of a queue: it waits for what has to come before it, is sent, and leaves the queue whatever ends it.

use blobaccess::{Blob, BlobAccess, Error, PutOutcome, Result};

use super::UploadQueue;
use super::entries::{Job, PutBack};
use crate::{DropReason, Outcome};

impl<B: BlobAccess> UploadQueue<B> {
    pub(super) fn upload(&self, job: Job<B::Kind>) -> impl Future<Output = ()> + Send {
        // Whatever ends it, it leaves the queue: even if it is never polled.
        let uploading = Uploading { queue: self, job: Some(job) };
        self.upload_guarded(uploading)
    }

    async fn upload_guarded(&self, mut uploading: Uploading<'_, B>) {
        let result = match &mut uploading.job {
            None => return,
            Some(job) => self.try_upload(job).await,
        };
        let Some(job) = uploading.job.take() else { return };
        match result {
            Ok(outcome) => {
                self.losses.remove(&job.digest);
                self.finish(job, &Ok(outcome));
            }
            Err(Failed::Upload(error)) => {
                self.losses.add(&job.digest);
                self.finish(job, &Err(error));
            }
            Err(Failed::Source(error)) => self.lose(job, DropReason::SourceUnavailable, error),
        }
    }

    async fn try_upload(&self, job: &mut Job<B::Kind>) -> Result<PutOutcome, Failed> {
        let blob = self.ready(job).await.map_err(Failed::Source)?;
        let Some(mut ticket) = job.ticket.take() else {
            return Err(Failed::Upload(Error::internal("an upload was begun twice")));
        };
        let ctx = ticket.send(&job.ctx);
        match self.inner.put(&ctx, &job.digest, blob).await {
            Ok(outcome) => {
                ticket.finish(Outcome::from(outcome));
                Ok(outcome)
            }
            Err(error) => {
                ticket.fail(&error);
                Err(Failed::Upload(error))
            }
        }
    }

    /// The blob of an upload, once everything is there that has to come before it.
    async fn ready(&self, job: &Job<B::Kind>) -> Result<Blob> {
        let Some(follows) = &self.follows else { return job.blob().await };
        follows.passed(job.barrier).await;
        if !follows.has_losses() {
            return job.blob().await;
        }
        let message = job.blob().await?.into_bytes(self.options.max_blob_size_bytes).await?;
        if follows.lacks(&job.ctx, &job.digest, &message).await {
            let digest = &job.digest;
            return Err(Error::failed_precondition(format!("action result {digest} needs contents that were lost")));
        }
        Ok(Blob::from_bytes(message))
    }

    /// An upload ends before its first byte.
    pub(super) fn lose(&self, mut job: Job<B::Kind>, reason: DropReason, error: Error) {
        if let Some(ticket) = job.ticket.take() {
            ticket.drop_as(reason, job.stored_bytes);
        }
        self.entries().count_dropped();
        self.losses.add(&job.digest);
        self.finish(job, &Err(error.not_stored()));
    }

    /// An upload was interrupted before its first byte: it waits again. It comes back if nobody will upload it any more.
    fn take_back(&self, job: Job<B::Kind>) -> Option<Job<B::Kind>> {
        let put_back = self.entries().put_back(job);
        match put_back {
            PutBack::Waits => {}
            PutBack::Superseded(older) => self.supersede(older),
            PutBack::GivenUp(job) => return Some(job),
        }
        self.work.notify_one();
        None
    }

    fn finish(&self, mut job: Job<B::Kind>, result: &Result<PutOutcome>) {
        let waiters = self.entries().finish(&mut job, result.is_ok());
        job.waiters.extend(waiters);
        job.answer(result);
        self.ended.notify_waiters();
        // Another value of the same entry may have waited for this one.
        self.work.notify_one();
    }
}

/// Why an upload failed.
enum Failed {
    /// There was nothing to be sent.
    Source(Error),
    /// It was sent.
    Upload(Error),
}

/// An upload that leaves the queue whatever ends it.
struct Uploading<'a, B: BlobAccess> {
    queue: &'a UploadQueue<B>,
    job: Option<Job<B::Kind>>,
}

impl<B: BlobAccess> Drop for Uploading<'_, B> {
    fn drop(&mut self) {
        if let Some(job) = self.job.take() {
            // A panic may have been that of its source, which would come again with whoever runs next.
            let unsent = job.ticket.is_some() && !std::thread::panicking();
            let job = if unsent { self.queue.take_back(job) } else { Some(job) };
            let Some(job) = job else { return };
            self.queue.losses.add(&job.digest);
            // Its ticket, if the first byte was not sent, says that it was dropped because of a shutdown.
            self.queue.finish(job, &Err(Error::cancelled("the queue of uploads was stopped")));
        }
    }
}
