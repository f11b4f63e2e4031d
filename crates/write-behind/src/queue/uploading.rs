//! One upload under way: it waits for its predecessors, is sent, and leaves the queue whatever ends it.

use blobaccess::{Blob, BlobAccess, Error, PutOutcome, Result};
use blobaccess_accounting::{DropReason, Outcome};

use super::UploadQueue;
use super::entries::PutBack;
use super::queued::Queued;

impl<B: BlobAccess> UploadQueue<B> {
    pub(super) fn upload(&self, queued: Queued<B::Kind>) -> impl Future<Output = ()> + Send {
        // The guard takes the upload out of the queue even if the future is never polled.
        let uploading = Uploading { queue: self, queued: Some(queued) };
        self.upload_guarded(uploading)
    }

    async fn upload_guarded(&self, mut uploading: Uploading<'_, B>) {
        let result = match &mut uploading.queued {
            None => return,
            Some(queued) => self.try_upload(queued).await,
        };
        let Some(queued) = uploading.queued.take() else { return };
        match result {
            Ok(outcome) => {
                self.losses.remove(&queued.job.digest);
                self.finish(queued, &Ok(outcome));
            }
            Err(Failed::Upload(error)) => {
                self.losses.add(&queued.job.digest);
                self.finish(queued, &Err(error));
            }
            Err(Failed::Source(error)) => self.lose(queued, DropReason::SourceUnavailable, error),
        }
    }

    async fn try_upload(&self, queued: &mut Queued<B::Kind>) -> Result<PutOutcome, Failed> {
        let blob = self.ready(queued).await.map_err(Failed::Source)?;
        let Some(mut ticket) = queued.ticket.take() else {
            return Err(Failed::Upload(Error::internal("an upload was begun twice")));
        };
        let ctx = ticket.send(&queued.job.ctx);
        match self.inner.put(&ctx, &queued.job.digest, blob).await {
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

    /// Waits until everything has been uploaded that must come first, and returns the blob.
    async fn ready(&self, queued: &Queued<B::Kind>) -> Result<Blob> {
        let Some(follows) = &self.follows else { return queued.blob().await };
        follows.passed(queued.barrier).await;
        if !follows.has_losses() {
            return queued.blob().await;
        }
        let message = queued.blob().await?.into_bytes(self.options.max_blob_size_bytes).await?;
        let digest = &queued.job.digest;
        if follows.lacks(&queued.job.ctx, digest, &message).await {
            return Err(Error::failed_precondition(format!("action result {digest} needs contents that were lost")));
        }
        Ok(Blob::from_bytes(message))
    }

    /// Ends an upload before its first byte.
    pub(super) fn lose(&self, mut queued: Queued<B::Kind>, reason: DropReason, error: Error) {
        if let Some(ticket) = queued.ticket.take() {
            ticket.drop_as(reason, queued.job.stored_bytes);
        }
        self.entries().count_dropped();
        self.losses.add(&queued.job.digest);
        self.finish(queued, &Err(error.not_stored()));
    }

    /// Queues an upload again that was interrupted before its first byte. Returns the upload if the queue has given
    /// everything up.
    fn take_back(&self, queued: Queued<B::Kind>) -> Option<Queued<B::Kind>> {
        let put_back = self.entries().put_back(queued);
        match put_back {
            PutBack::Waits => {}
            PutBack::Superseded(older) => self.supersede(older),
            PutBack::GivenUp(queued) => return Some(queued),
        }
        self.work.notify_one();
        None
    }

    fn finish(&self, mut queued: Queued<B::Kind>, result: &Result<PutOutcome>) {
        let waiters = self.entries().finish(&mut queued, result.is_ok());
        queued.waiters.extend(waiters);
        queued.answer(result);
        self.ended.notify_waiters();
        // Another value of the same entry may have waited for this one.
        self.work.notify_one();
    }
}

/// The reason why an upload failed.
enum Failed {
    /// There was nothing to send.
    Source(Error),
    /// Sending failed.
    Upload(Error),
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
            let queued = if unsent { self.queue.take_back(queued) } else { Some(queued) };
            let Some(queued) = queued else { return };
            self.queue.losses.add(&queued.job.digest);
            // If the first byte was not sent, its ticket ends as dropped because of a shutdown.
            self.queue.finish(queued, &Err(Error::cancelled("the queue of uploads was stopped")));
        }
    }
}
