//! Serves the services on a listener until they are told to stop.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use blobaccess::{Error, Result};
use futures::future::{self, Either};
use futures::stream::{Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::transport::Server;
use tonic::transport::server::{Connected, TcpIncoming};

use super::cut_connections::ConnectionCutter;
use super::services::Services;
#[cfg(feature = "tls")]
use super::tls::ServerTls;

/// The bytes of one call that a client may send ahead of the service that reads them. At a round trip of 10 ms, this
/// allows a call 100 MB/s.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;

/// The bytes that a client may send ahead on all calls of a connection. It bounds the unread bytes of a connection that
/// the server holds, besides the message that each call is assembling.
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// The maximum number of open calls of one connection. Clients wait with further calls, or open another connection.
const STREAMS_PER_CONNECTION: u32 = 1024;

/// The maximum number of calls of one connection that were cancelled before they were handled. A client that sends on
/// behalf of many callers cancels all open calls of one that goes away. HTTP/2's default of 20 would close the
/// connection for that, and fail the calls of the others.
const TAKEN_BACK_PER_CONNECTION: usize = 1024;

/// The time of silence after which a connection is pinged.
const KEEPALIVE_INTERVAL: Duration = Duration::from_mins(1);

/// The time after which a connection that does not answer a ping is closed.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// The wait after a connection could not be accepted. The cause is mostly too many open files, which does not change
/// immediately.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

impl Services {
    /// Serves on `listener` until `shutdown` resolves; with encryption if [TLS](Self::with_tls) is set.
    ///
    /// Then health turns to `NOT_SERVING`, no further connection is accepted, and running calls have the
    /// [grace](crate::ServiceOptions::with_shutdown_grace) to finish. Remaining calls are then cut off.
    ///
    /// # Memory
    ///
    /// A connection can make the server hold 4 MiB that no service has read yet, and each of its calls a message. Up to
    /// 400 KiB of each response wait for a client that reads slowly.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future immediately cuts all connections.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if the TLS settings cannot be used.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) -> Result<()> {
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true)).with_keepalive(Some(KEEPALIVE_INTERVAL));
        self.serve_incoming(incoming, shutdown).await
    }

    /// Serves as [`serve`](Self::serve) does, on connections from any source. It also ends when `incoming` has ended
    /// and all its calls have.
    ///
    /// # Errors
    ///
    /// As those of [`serve`](Self::serve).
    pub async fn serve_incoming<I, IO, E>(&self, incoming: I, shutdown: impl Future<Output = ()> + Send) -> Result<()>
    where
        I: Stream<Item = Result<IO, E>> + Send,
        IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
    {
        let cutter = ConnectionCutter::new();
        let wrap = cutter.wrap();
        let clock = &self.clock;
        let incoming = incoming.map(move |accepted| accepted.map(&wrap)).then(|accepted| async {
            if accepted.is_err() {
                tracing::warn!("connection cannot be accepted");
                clock.sleep_until(clock.monotonic() + ACCEPT_BACKOFF).await;
            }
            accepted
        });
        #[cfg(feature = "tls")]
        let mut builder = match &self.tls {
            Some(tls) => builder().tls_config(tls.to_config()).or_else(ServerTls::unusable)?,
            None => builder(),
        };
        #[cfg(not(feature = "tls"))]
        let mut builder = builder();
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = builder.add_routes(self.routes()?).serve_with_incoming_shutdown(incoming, async {
            drop(stopped.await);
        });
        let mut served = Box::pin(async { serving.await.map_err(broken) });

        let (shutdown, probing) = (pin!(shutdown), pin!(self.run()));
        if let Either::Left((ended, _)) = future::select(&mut served, future::select(shutdown, probing)).await {
            return ended;
        }
        self.drain();
        drop(stop);
        let cut_off = clock.monotonic().checked_add(self.options.shutdown_grace);
        if let Ok(ended) = clock.timeout(cut_off, &mut served).await {
            return ended;
        }
        tracing::warn!(open_calls = self.open_calls.open(), "calls that did not finish in time are cut off");
        drop(cutter);
        served.await
    }
}

fn builder() -> Server {
    Server::builder()
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .http2_max_pending_accept_reset_streams(Some(TAKEN_BACK_PER_CONNECTION))
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
}

fn broken(error: tonic::transport::Error) -> Error {
    Error::internal("server failed").with_source(error)
}
