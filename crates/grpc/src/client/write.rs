//! Stores a blob as a stream.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use blobaccess::{Compressor, Context, Digest, Error, ErrorKind, PutOutcome, Result, WriteResource};
use blobaccess_proto::bytestream::WriteResponse;
use tokio::sync::oneshot;
use tonic::{CancellationHandle, Response, Status};
use uuid::Uuid;

use super::connection::Connection;
use super::failure;
use super::upload::{self, Progress, UploadContents};
use crate::metadata_keys::OUTCOME_RESPONSE;
use crate::outcome;
use crate::stubs::bytestream::byte_stream_client::ByteStreamClient;

/// A guard that resets the stream of an upload that nobody waits for: left alone, its body would continue.
struct ResetOnDrop(Option<CancellationHandle>);

impl Drop for ResetOnDrop {
    fn drop(&mut self) {
        if let Some(handle) = self.0.take() {
            handle.cancel();
        }
    }
}

impl Connection {
    /// Stores `contents` under `digest`. Contents that are not at hand are sent again only if none of them were read.
    pub(super) async fn write(
        &self,
        ctx: &Context,
        digest: &Digest,
        compressor: Option<Compressor>,
        contents: UploadContents,
    ) -> Result<PutOutcome> {
        let contents = Arc::new(contents);
        let attempt = || self.upload(ctx, digest, compressor, Arc::clone(&contents));
        self.retried_put(ctx, |_| contents.is_whole(), attempt).await
    }

    async fn upload(
        &self,
        ctx: &Context,
        digest: &Digest,
        compressor: Option<Compressor>,
        contents: Arc<UploadContents>,
    ) -> Result<PutOutcome> {
        let progress = Arc::new(Progress::default());
        let (failed, failure) = oneshot::channel();
        let resource = WriteResource { uuid: Uuid::new_v4().to_string(), digest: digest.clone(), compressor };
        let upload = async {
            self.within(ctx.deadline(), contents.prepare()).await?;
            let _permit = self.within(self.silence_deadline(ctx), self.permit()).await?;
            let max = self.options.max_batch_contents();
            let messages = upload::messages(contents, resource.to_string(), max, Arc::clone(&progress), failed);
            let request = self.request(ctx, ctx.deadline(), messages);
            let mut request = self.within(self.silence_deadline(ctx), request).await?;
            let _reset = ResetOnDrop(Some(request.cancellation_handle()));
            let attempt = self.attempt()?;
            let mut client = ByteStreamClient::new(attempt.channel());
            let response = self.supervise(ctx, &progress, client.write(request), failure).await;
            match &response {
                // Time that the source took says nothing about the connection.
                Err(error) if error.kind() == ErrorKind::DeadlineExceeded => {
                    if progress.in_source.load(Ordering::Relaxed) {
                        attempt.leave();
                    }
                }
                Ok(_) | Err(_) => attempt.answered(),
            }
            let response = response?;
            check_committed_size(digest, compressor, &progress, response.get_ref().committed_size)?;
            let outcome = response.metadata().get_bin(OUTCOME_RESPONSE).and_then(|value| value.to_bytes().ok());
            Ok(outcome::from_bytes(outcome.as_deref()))
        };
        upload.await.map_err(|error: Error| {
            let unfinished = !progress.finished.load(Ordering::Relaxed);
            if unfinished { error.not_stored() } else { error }
        })
    }

    /// Waits for the response while the source does not fail and the server takes the messages.
    async fn supervise(
        &self,
        ctx: &Context,
        progress: &Progress,
        call: impl Future<Output = Result<Response<WriteResponse>, Status>>,
        failure: oneshot::Receiver<Error>,
    ) -> Result<Response<WriteResponse>> {
        let mut call = std::pin::pin!(call);
        // A finished body drops its end of the channel, which is no failure.
        let failed = async {
            match failure.await {
                Ok(error) => error,
                Err(_) => std::future::pending().await,
            }
        };
        let mut failed = std::pin::pin!(failed);
        loop {
            let steps = progress.steps.load(Ordering::Relaxed);
            let silent = self.within(self.silence_deadline(ctx), std::future::pending::<Result<()>>());
            tokio::select! {
                biased;
                answer = &mut call => return answer.map_err(|status| failure::never_absent(failure::from_status(status))),
                error = &mut failed => return Err(error),
                silence = silent => {
                    let overdue = ctx.is_overdue(self.now());
                    let moved = progress.steps.load(Ordering::Relaxed) != steps;
                    if overdue || !(moved || progress.in_source.load(Ordering::Relaxed)) {
                        silence?;
                    }
                }
            }
        }
    }
}

/// Checks the committed size: all of the blob; for a compressed one, the bytes sent, or -1 if the blob existed.
fn check_committed_size(
    digest: &Digest,
    compressor: Option<Compressor>,
    progress: &Progress,
    committed: i64,
) -> Result<()> {
    let whole = crate::message::size(digest.size_bytes());
    let sent = crate::message::size(progress.sent.load(Ordering::Relaxed));
    let finished = progress.finished.load(Ordering::Relaxed);
    if committed == whole || committed == -1 || (compressor.is_some() && finished && committed == sent) {
        return Ok(());
    }
    Err(Error::internal(format!("remote store committed {committed} bytes of blob {digest}")))
}
