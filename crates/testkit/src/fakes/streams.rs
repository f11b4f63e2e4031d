//! Sources of blobs that are slow, that fail, or that must not be read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use blobaccess::{Clock, Error, Result, SystemClock};
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{FutureExt, StreamExt};

/// Returns `contents` in pieces of `piece_bytes`, with one turn of the runtime before each piece.
#[must_use]
pub fn slow_stream(contents: Bytes, piece_bytes: usize) -> BoxStream<'static, Result<Bytes>> {
    stream::unfold(contents, move |mut rest| async move {
        tokio::task::yield_now().await;
        if rest.is_empty() {
            return None;
        }
        let piece = rest.split_to(piece_bytes.clamp(1, rest.len()));
        Some((Ok(piece), rest))
    })
    .boxed()
}

/// Returns the first `after_bytes` of `contents` in pieces of up to `piece_bytes`, followed by `error`.
#[must_use]
pub fn failing_stream(
    mut contents: Bytes,
    after_bytes: usize,
    piece_bytes: usize,
    error: Error,
) -> BoxStream<'static, Result<Bytes>> {
    contents.truncate(after_bytes);
    slow_stream(contents, piece_bytes).chain(async { Err(error) }.into_stream()).boxed()
}

/// Returns `contents` byte by byte, with a pause before each, by the time of the runtime.
#[must_use]
pub fn trickling_stream(contents: Bytes, pause: Duration) -> BoxStream<'static, Result<Bytes>> {
    stream::unfold(contents, move |mut rest| async move {
        SystemClock.sleep_until(SystemClock.monotonic() + pause).await;
        if rest.is_empty() {
            return None;
        }
        let byte = rest.split_to(1);
        Some((Ok(byte), rest))
    })
    .boxed()
}

/// Returns an empty stream that counts how often it is polled, and its counter.
#[must_use]
pub fn watched_stream() -> (BoxStream<'static, Result<Bytes>>, Polls) {
    let polls = Polls::default();
    let counted = polls.clone();
    let stream = stream::poll_fn(move |_| {
        counted.0.fetch_add(1, Ordering::Relaxed);
        std::task::Poll::Ready(None)
    });
    (stream.boxed(), polls)
}

/// The number of times that a [`watched_stream`] was polled.
#[derive(Clone, Debug, Default)]
pub struct Polls(Arc<AtomicU64>);

impl Polls {
    /// Returns the number so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
