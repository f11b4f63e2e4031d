//! The bytes of a connection, to tell when its client has begun to speak, and whether it reads.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use blobaccess::Clock;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, oneshot};

/// The length of the preface of HTTP/2, with which a client begins.
const PREFACE_BYTES: usize = 24;

/// The bytes that a client has to take within the send time-out while more of them wait: 64 KiB. In a minute, this is about 1 KiB
/// a second, which the slowest lines carry.
const PROGRESS_BYTES: u64 = 64 << 10;

/// A connection that tells when as many bytes as a preface has were read from it, and what is written.
#[derive(Debug)]
pub(super) struct WatchedIo<IO> {
    io: IO,
    read_bytes: usize,
    told: Option<oneshot::Sender<()>>,
    writes: Arc<Writes>,
}

/// The writes of a connection.
#[derive(Debug, Default)]
pub(super) struct Writes {
    bytes: AtomicU64,
    /// Whether the system takes no more for now.
    is_blocked: AtomicBool,
    /// Notified when the system takes no more.
    blocked: Notify,
}

impl Writes {
    /// Returns the number of bytes that the system has taken.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    /// Waits until the client has taken nearly nothing for `timeout` although more was there.
    pub(super) async fn stalled(&self, timeout: Duration, clock: &dyn Clock) {
        loop {
            self.blocked.notified().await;
            while self.is_blocked.load(Ordering::Acquire) {
                let before = self.bytes();
                // An end that lies beyond all times never comes.
                let Some(end) = clock.monotonic().checked_add(timeout) else { return std::future::pending().await };
                clock.sleep_until(end).await;
                let taken = self.bytes().saturating_sub(before);
                if taken < PROGRESS_BYTES && self.is_blocked.load(Ordering::Acquire) {
                    return;
                }
            }
        }
    }

    fn note(&self, polled: &Poll<io::Result<usize>>) {
        match polled {
            Poll::Pending => {
                if !self.is_blocked.swap(true, Ordering::AcqRel) {
                    self.blocked.notify_one();
                }
            }
            Poll::Ready(Ok(bytes)) => {
                self.is_blocked.store(false, Ordering::Release);
                self.bytes.fetch_add(u64::try_from(*bytes).unwrap_or(u64::MAX), Ordering::AcqRel);
            }
            Poll::Ready(Err(_)) => {}
        }
    }
}

impl<IO> WatchedIo<IO> {
    /// Makes a connection of `io`, and the receiver of the news that its client has begun.
    pub(super) fn new(io: IO) -> (Self, oneshot::Receiver<()>) {
        let (told, is_read) = oneshot::channel();
        (Self { io, read_bytes: 0, told: Some(told), writes: Arc::default() }, is_read)
    }

    /// Returns what is known of writes.
    pub(super) fn writes(&self) -> Arc<Writes> {
        Arc::clone(&self.writes)
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for WatchedIo<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buf);
        if self.told.is_some() {
            self.read_bytes = self.read_bytes.saturating_add(buf.filled().len().saturating_sub(before));
            if self.read_bytes >= PREFACE_BYTES
                && let Some(told) = self.told.take()
            {
                // Nobody waits for it if the connection is about to end.
                let _: Result<(), ()> = told.send(());
            }
        }
        polled
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for WatchedIo<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write(cx, buf);
        self.writes.note(&polled);
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.writes.note(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
