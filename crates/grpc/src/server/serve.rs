//! Services on a listener, until they are told to stop.

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

/// How many bytes of one call a client may send ahead of the service that reads them. At a round trip of 10 ms, that
/// allows a call 100 MB/s.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;

/// The same for all calls of a connection: what one that is not read can make this server hold, besides the message
/// that each of its calls is putting together.
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;

/// How many calls one connection may have open. Clients wait with what is beyond, or open another connection.
const STREAMS_PER_CONNECTION: u32 = 1024;

/// How many calls one connection may have taken back before they were looked at. A client that sends on behalf of many
/// takes back all that it has open when one of them goes away; to close the connection for that, as HTTP/2 does at 20
/// unless told otherwise, would fail the calls of the others.
const TAKEN_BACK_PER_CONNECTION: usize = 1024;

/// A connection that is silent for so long is asked for a sign of life ...
const KEEPALIVE_INTERVAL: Duration = Duration::from_mins(1);

/// ... and closed if it gives none for so long.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// After a connection could not be accepted, the next is taken so much later: it mostly means that there are too many
/// files open, which does not change at once.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

impl Services {
    /// Serves on `listener` until `shutdown` ends; with encryption if [TLS](Self::with_tls) is set.
    ///
    /// Then health turns to `NOT_SERVING`, no connection is accepted any more, and calls that are running have the
    /// [grace](crate::ServiceOptions::with_shutdown_grace) to finish in. What is left after that is cut off.
    ///
    /// # Memory
    ///
    /// A connection can make the server hold 4 MiB that no service has read yet, and each of its calls a message. Of
    /// what is sent, up to 400 KiB a call wait for a client that is slow to read.
    ///
    /// # Cancel safety
    ///
    /// To drop the future is to cut all connections at once.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if the TLS settings cannot be used.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) -> Result<()> {
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true)).with_keepalive(Some(KEEPALIVE_INTERVAL));
        self.serve_incoming(incoming, shutdown).await
    }

    /// Serves as [`serve`](Self::serve) does, on connections that come from anywhere. It also ends, once all its calls have, when
    /// `incoming` does.
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
        let grace = clock.sleep_until(clock.monotonic() + self.options.shutdown_grace);
        if let Either::Left((ended, _)) = future::select(&mut served, grace).await {
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
