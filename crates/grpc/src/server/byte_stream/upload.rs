//! The contents of an upload, out of messages that are held to the protocol.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use blobaccess::{Error, Result};
use blobaccess_proto::bytestream::WriteRequest;
use bytes::Bytes;
use futures::{Stream, stream};
use tokio::sync::oneshot;
use tonic::Status;

use super::idle_timeout::IdleTimeout;
use crate::message;
use crate::status::from_status;

/// The time that a client may take to close its side after it has finished its upload. Until then, data behind the end
/// can still be refused. Nearly all clients close immediately.
const CLOSING_TIMEOUT: Duration = Duration::from_secs(1);

/// The messages of an upload.
pub(super) struct Upload<S> {
    /// The messages that have not come yet; `None` once they have been handed on.
    messages: Option<S>,
    idle_timeout: IdleTimeout,
    /// The first message, once it has been looked at.
    first: Option<WriteRequest>,
    resource_name: String,
    /// The offset that the first message begins at.
    first_offset: i64,
    /// The maximum number of bytes taken.
    max_bytes: u64,
    progress: Arc<Progress>,
    /// The time since which only messages without data have come.
    empty_since: Option<Instant>,
    /// The taker of what is left when the upload is dropped.
    left: Option<oneshot::Sender<Remainder<S>>>,
}

/// The part of an upload that nobody has read.
pub(super) struct Remainder<S> {
    messages: S,
    first: Option<WriteRequest>,
    idle_timeout: IdleTimeout,
    progress: Arc<Progress>,
}

/// The progress of an upload, for observers that do not read it.
#[derive(Debug, Default)]
pub(super) struct Progress {
    received_bytes: AtomicU64,
    finished: AtomicBool,
}

impl Progress {
    /// Returns the number of bytes that have been read, as they were sent.
    pub(super) fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Ordering::Acquire)
    }

    /// Returns whether all of the upload has been read.
    pub(super) fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }
}

impl<S> Remainder<S>
where
    S: Stream<Item = Result<WriteRequest, Status>> + Unpin,
{
    /// Reads on to the end, and discards what comes. It gives up on a client that sends no data for too long, that has
    /// sent more than `max_bytes` in all, or that ends without finishing.
    pub(super) async fn discard(mut self, max_bytes: u64) {
        let mut received = self.progress.received_bytes();
        loop {
            let message = match self.first.take() {
                Some(first) => first,
                None => match self.idle_timeout.next_that(&mut self.messages, carries_on).await {
                    Some(Some(Ok(message))) => message,
                    Some(Some(Err(_)) | None) | None => return,
                },
            };
            received = received.saturating_add(u64::try_from(message.data.len()).unwrap_or(u64::MAX));
            if received > max_bytes {
                return;
            }
            self.progress.received_bytes.store(received, Ordering::Release);
            if message.finish_write {
                break;
            }
        }
        // The client's own end comes right behind. Whatever else comes does not matter any more.
        drop(closing_timeout(&self.idle_timeout).next(&mut self.messages).await);
        self.progress.finished.store(true, Ordering::Release);
    }
}

/// Returns whether a message brings an upload nearer to its end.
fn carries_on(message: &Result<WriteRequest, Status>) -> bool {
    message.as_ref().is_ok_and(|message| !message.data.is_empty() || message.finish_write) || message.is_err()
}

fn closing_timeout(idle_timeout: &IdleTimeout) -> IdleTimeout {
    IdleTimeout { timeout: CLOSING_TIMEOUT.min(idle_timeout.timeout), ..idle_timeout.clone() }
}

impl<S> Drop for Upload<S> {
    fn drop(&mut self) {
        if let (Some(messages), Some(left)) = (self.messages.take(), self.left.take()) {
            let (idle_timeout, progress) = (self.idle_timeout.clone(), Arc::clone(&self.progress));
            let remainder = Remainder { messages, first: self.first.take(), idle_timeout, progress };
            // If nobody waits for it, the call has ended.
            drop(left.send(remainder));
        }
    }
}

impl<S> Upload<S>
where
    S: Stream<Item = Result<WriteRequest, Status>> + Unpin + Send + 'static,
{
    /// Begins an upload with the next of `messages`.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if there is none; the error of the stream; `DeadlineExceeded` if nothing arrives.
    pub(super) async fn begin(messages: S, idle_timeout: IdleTimeout) -> Result<Self> {
        let mut upload = Self {
            messages: Some(messages),
            idle_timeout,
            first: None,
            resource_name: String::new(),
            first_offset: 0,
            max_bytes: u64::MAX,
            progress: Arc::default(),
            empty_since: None,
            left: None,
        };
        let first = upload.receive().await?;
        let first = first.ok_or_else(|| Error::invalid_argument("client closed the upload without a request"))?;
        upload.resource_name.clone_from(&first.resource_name);
        upload.first_offset = first.write_offset;
        upload.first = Some(first);
        Ok(upload)
    }

    /// Returns the resource that the first message names.
    pub(super) fn resource_name(&self) -> &str {
        &self.resource_name
    }

    /// Returns the offset that the upload goes on at; `None` if it begins at the beginning.
    pub(super) fn resumed_offset(&self) -> Option<i64> {
        (self.first_offset != 0).then_some(self.first_offset)
    }

    /// Returns the progress of the upload.
    pub(super) fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }

    /// Returns a receiver of what is left when the upload is dropped.
    pub(super) fn remainder(&mut self) -> oneshot::Receiver<Remainder<S>> {
        let (left, remainder) = oneshot::channel();
        self.left = Some(left);
        remainder
    }

    /// Returns the data of the messages, up to `max_bytes`. The stream ends without an error only after the message
    /// that finishes the upload.
    pub(super) fn into_stream(mut self, max_bytes: u64) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
        self.max_bytes = max_bytes;
        stream::try_unfold((self, false), |(mut upload, mut finished)| async move {
            while !finished {
                let message = match upload.first.take() {
                    Some(first) => first,
                    None => upload.receive().await?.ok_or_else(|| upload.unfinished())?,
                };
                upload.check(&message)?;
                finished = message.finish_write;
                if !message.data.is_empty() {
                    upload.take(&message.data)?;
                    return Ok(Some((message.data, (upload, finished))));
                }
            }
            upload.end().await?;
            Ok(None)
        })
    }

    async fn receive(&mut self) -> Result<Option<WriteRequest>> {
        let Some(messages) = &mut self.messages else { return Ok(None) };
        let message = self.idle_timeout.next(messages).await;
        let message = message.ok_or_else(|| self.idle())?;
        if message.as_ref().is_none_or(carries_on) {
            self.empty_since = None;
        } else {
            let now = self.idle_timeout.clock.monotonic();
            let since = *self.empty_since.get_or_insert(now);
            if now.saturating_duration_since(since) >= self.idle_timeout.timeout {
                return Err(self.idle());
            }
        }
        message.transpose().map_err(from_status)
    }

    fn idle(&self) -> Error {
        let (seconds, received) = (self.idle_timeout.timeout.as_secs_f64(), self.progress.received_bytes());
        Error::deadline_exceeded(format!("no request with data came for {seconds} s, after {received} bytes"))
    }

    fn check(&self, message: &WriteRequest) -> Result<()> {
        if !message.resource_name.is_empty() && message.resource_name != self.resource_name {
            return Err(Error::invalid_argument("resource name differs from that of the first request"));
        }
        let (offset, expected) = (message.write_offset, message::size(self.progress.received_bytes()));
        if offset != expected {
            let message = format!("write at offset {offset} was requested, while {expected} was expected");
            return Err(Error::invalid_argument(message));
        }
        Ok(())
    }

    fn take(&self, data: &Bytes) -> Result<()> {
        let data = u64::try_from(data.len()).unwrap_or(u64::MAX);
        let received = self.progress.received_bytes().saturating_add(data);
        if received > self.max_bytes {
            let max = self.max_bytes;
            let message = format!("upload is at least {received} bytes, while at most {max} are permitted");
            return Err(Error::invalid_argument(message));
        }
        self.progress.received_bytes.store(received, Ordering::Release);
        Ok(())
    }

    /// Makes sure that nothing follows the message that finished the upload.
    async fn end(&mut self) -> Result<()> {
        let Some(messages) = &mut self.messages else { return Ok(()) };
        if let Some(Some(message)) = closing_timeout(&self.idle_timeout).next(messages).await {
            message.map_err(from_status)?;
            return Err(Error::invalid_argument("client sent a request behind the one that finished the upload"));
        }
        self.progress.finished.store(true, Ordering::Release);
        Ok(())
    }

    fn unfinished(&self) -> Error {
        let received = self.progress.received_bytes();
        Error::invalid_argument(format!("client closed the upload after {received} bytes, without finishing it"))
    }
}
