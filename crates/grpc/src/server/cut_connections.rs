//! Connections that can be cut from afar.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::{Fuse, FusedFuture, Shared};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

/// A handle that cuts connections when it is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionCutter {
    _held: oneshot::Sender<()>,
    cut: Cut,
}

/// A future that resolves when the connections are to be cut.
type Cut = Shared<oneshot::Receiver<()>>;

impl ConnectionCutter {
    pub(crate) fn new() -> Self {
        let (held, cut) = oneshot::channel();
        Self { _held: held, cut: cut.shared() }
    }

    /// Returns a function that makes connections which this cutter cuts.
    pub(crate) fn wrap<IO>(&self) -> impl Fn(IO) -> CuttableConnection<IO> + Send + Sync + 'static {
        let cut = self.cut.clone();
        move |inner| CuttableConnection { inner, cut: cut.clone().fuse() }
    }
}

/// A connection that fails once it is cut.
///
/// It checks this only where it would wait otherwise: a connection that can make progress is not slowed down.
#[derive(Debug)]
pub(crate) struct CuttableConnection<IO> {
    inner: IO,
    cut: Fuse<Cut>,
}

impl<IO> CuttableConnection<IO> {
    fn unless_cut<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_pending() && (self.cut.is_terminated() || self.cut.poll_unpin(cx).is_ready()) {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "server is shutting down")));
        }
        polled
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for CuttableConnection<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_read(cx, buffer);
        self.unless_cut(cx, polled)
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for CuttableConnection<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.unless_cut(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, pieces);
        self.unless_cut(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_flush(cx);
        self.unless_cut(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.unless_cut(cx, polled)
    }
}

impl<IO: Connected> Connected for CuttableConnection<IO> {
    type ConnectInfo = IO::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.inner.connect_info()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn who_waits_for_a_connection_that_is_cut_is_told() {
        let (near, mut far) = tokio::io::duplex(8);
        let cutter = ConnectionCutter::new();
        let (mut reader, mut writer) = tokio::io::split(cutter.wrap()(near));
        far.write_all(b"before").await.unwrap();
        let mut read = [0; 6];
        reader.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"before");

        let mut reading = Box::pin(reader.read_u8());
        let mut writing = Box::pin(writer.write_all(b"more than it takes"));
        assert!((&mut reading).now_or_never().is_none());
        assert!((&mut writing).now_or_never().is_none());
        drop(cutter);
        assert_eq!(reading.await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        assert_eq!(writing.await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }
}
