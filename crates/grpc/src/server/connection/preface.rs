//! The first bytes of a connection, to tell when its client has begun to speak.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

/// The length of the preface of HTTP/2, with which a client begins.
const PREFACE_BYTES: usize = 24;

/// A connection that tells when as many bytes as a preface has were read from it.
#[derive(Debug)]
pub(super) struct WatchedPreface<IO> {
    io: IO,
    read_bytes: usize,
    told: Option<oneshot::Sender<()>>,
}

impl<IO> WatchedPreface<IO> {
    /// Makes a connection of `io`, and the receiver of the news.
    pub(super) fn new(io: IO) -> (Self, oneshot::Receiver<()>) {
        let (told, is_read) = oneshot::channel();
        (Self { io, read_bytes: 0, told: Some(told) }, is_read)
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for WatchedPreface<IO> {
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

impl<IO: AsyncWrite + Unpin> AsyncWrite for WatchedPreface<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
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
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
