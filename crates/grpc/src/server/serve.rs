//! Serves the services on listeners until they are told to stop.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use blobaccess::{Clock, LogInterval, Result};
use futures::future::{self, BoxFuture, Either};
use futures::stream::{self, Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::transport::server::{Connected, TcpIncoming};

use super::call_observer::ObservedMethods;
use super::connection::ConnectionServer;
use super::listening::{BoundListeners, GroupPolicy, Sockets};
use super::open_connections::OpenConnections;
use super::services::Services;

/// The time of silence after which the system asks whether the other end of a connection is still there.
const TCP_KEEPALIVE: Duration = Duration::from_mins(1);

/// The wait after a connection could not be accepted. The cause is mostly too many open files, which does not change
/// immediately.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

/// The time between two lines of the log about connections that are not served.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

impl Services {
    /// Serves on `listener` until `shutdown` resolves; with encryption if [TLS](Self::with_tls) is set.
    ///
    /// Then health turns to `NOT_SERVING`, no further connection is accepted, and running calls have the
    /// [grace](crate::ServiceOptions::with_shutdown_grace) to finish. Remaining calls are then cut off. Connections without
    /// a call have three seconds to close.
    ///
    /// # Memory
    ///
    /// A connection can make the server hold 4 MiB that no service has read yet. Messages are limited
    /// [by their size](crate::ServiceOptions::with_max_in_flight_bytes) and by
    /// [the number of calls](crate::ServiceOptions::with_max_open_calls).
    ///
    /// # Slow clients
    ///
    /// A request that does not arrive ends with `DeadlineExceeded` after the
    /// [idle time-out](crate::ServiceOptions::with_upload_idle_timeout). An answer that is not read ends after the
    /// [send time-out](crate::ListenerOptions::with_send_timeout).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future immediately cuts all connections.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if the TLS settings cannot be used.
    pub async fn serve(&self, listener: TcpListener, shutdown: impl Future<Output = ()> + Send) -> Result<()> {
        self.serve_incoming(tcp_incoming(listener), shutdown).await
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
        let policy = GroupPolicy {
            #[cfg(feature = "tls")]
            tls: self.tls.clone(),
            ..GroupPolicy::default()
        };
        let (drain, draining) = watch::channel(false);
        let accepting = self.group(&policy)?.accept(incoming, draining);
        self.serve_all(drain, vec![Box::pin(accepting)], shutdown).await;
        Ok(())
    }

    /// Serves on all `listeners`, each group with its own policy, until `shutdown` resolves; then as
    /// [`serve`](Self::serve) does, with the [grace](crate::ListenerOptions::with_shutdown_grace) of each group.
    ///
    /// The encryption of [`with_tls`](Self::with_tls) does not concern them: each group has its own.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future immediately cuts all connections.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if the TLS settings of a group cannot be used.
    pub async fn serve_listeners(
        &self,
        listeners: impl IntoIterator<Item = BoundListeners>,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<()> {
        let (drain, draining) = watch::channel(false);
        let mut accepting: Vec<BoxFuture<'static, ()>> = Vec::new();
        for BoundListeners { sockets, policy } in listeners {
            let group = self.group(&policy)?;
            let Sockets {
                tcp,
                #[cfg(unix)]
                unix,
            } = sockets;
            for listener in tcp {
                accepting.push(Box::pin(group.clone().accept(tcp_incoming(listener), draining.clone())));
            }
            #[cfg(unix)]
            for socket in unix {
                let incoming = stream::unfold(socket, |(file, listener)| async move {
                    let accepted = listener.accept().await.map(|(connection, _)| connection);
                    Some((accepted, (file, listener)))
                });
                accepting.push(Box::pin(group.clone().accept(incoming, draining.clone())));
            }
        }
        self.serve_all(drain, accepting, shutdown).await;
        Ok(())
    }

    fn group(&self, policy: &GroupPolicy) -> Result<Group> {
        let server = ConnectionServer::new(self.group_routes(policy)?, &policy.options, self.call_limits())
            .with_observed_methods(self.observed_methods()?);
        #[cfg(feature = "tls")]
        let server = match &policy.tls {
            Some(tls) => server.with_tls(tls)?,
            None => server,
        };
        let shutdown_grace = policy.options.shutdown_grace.unwrap_or(self.options.shutdown_grace);
        let log = Arc::new(LogInterval::new(LOG_INTERVAL));
        let (connections, clock) = (self.connections.clone(), Arc::clone(&self.clock));
        Ok(Group { server: Arc::new(server), connections, shutdown_grace, clock, log })
    }

    fn observed_methods(&self) -> Result<Option<ObservedMethods>> {
        let Some(observer) = &self.call_observer else { return Ok(None) };
        let names: Vec<_> = self.served.names().into_iter().map(|(name, _)| name).collect();
        ObservedMethods::for_server(&**observer, &names, Arc::clone(&self.clock)).map(Some)
    }

    async fn serve_all(
        &self,
        drain: watch::Sender<bool>,
        accepting: Vec<BoxFuture<'_, ()>>,
        shutdown: impl Future<Output = ()> + Send,
    ) {
        let mut served = future::join_all(accepting);
        let (shutdown, probing) = (pin!(shutdown), pin!(self.run()));
        if let Either::Left(_) = future::select(&mut served, future::select(shutdown, probing)).await {
            return;
        }
        self.drain();
        drain.send_replace(true);
        served.await;
    }
}

/// Accepts connections of TCP.
fn tcp_incoming(listener: TcpListener) -> TcpIncoming {
    TcpIncoming::from(listener).with_nodelay(Some(true)).with_keepalive(Some(TCP_KEEPALIVE))
}

/// The way in which the connections of a group are served.
#[derive(Clone)]
struct Group {
    server: Arc<ConnectionServer>,
    connections: OpenConnections,
    shutdown_grace: Duration,
    clock: Arc<dyn Clock>,
    log: Arc<LogInterval>,
}

impl Group {
    /// Serves the connections of `incoming` until it ends or is to be drained, and all connections have ended.
    async fn accept<I, IO, E>(self, incoming: I, mut draining: watch::Receiver<bool>)
    where
        I: Stream<Item = Result<IO, E>> + Send,
        IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
    {
        let mut connections = JoinSet::new();
        self.accept_all(incoming, draining.clone(), &mut connections).await;
        // Nobody is accepted any more. Whoever is connected is served until the grace is over.
        let ended = async { while connections.join_next().await.is_some() {} };
        tokio::select! {
            () = ended => return,
            _ = draining.wait_for(|draining| *draining) => {}
        }
        let cut_off = self.clock.monotonic().checked_add(self.shutdown_grace);
        let ended = async { while connections.join_next().await.is_some() {} };
        if self.clock.timeout(cut_off, ended).await.is_err() {
            tracing::warn!(connections = connections.len(), "calls that did not finish in time are cut off");
            connections.shutdown().await;
        }
    }

    async fn accept_all<I, IO, E>(
        &self,
        incoming: I,
        mut draining: watch::Receiver<bool>,
        connections: &mut JoinSet<()>,
    ) where
        I: Stream<Item = Result<IO, E>> + Send,
        IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + Send,
    {
        let told = draining.clone();
        let mut incoming = pin!(incoming);
        let mut stopped = pin!(async { drop(draining.wait_for(|draining| *draining).await) });
        loop {
            tokio::select! {
                biased;
                () = &mut stopped => return,
                // Connections that have ended are let go.
                Some(_) = connections.join_next() => {}
                accepted = incoming.next() => match accepted {
                    Some(Ok(io)) => match self.connections.open(&io.connect_info()) {
                        Some(open) => {
                            let served = Arc::clone(&self.server).serve(io, told.clone());
                            connections.spawn(async move {
                                served.await;
                                drop(open);
                            });
                        }
                        None => {
                            if let Some(left_out) = self.log.due(self.clock.monotonic()) {
                                let connections = self.connections.count();
                                tracing::warn!(connections, left_out, "connection is refused: there are too many");
                            }
                        }
                    },
                    Some(Err(error)) => {
                        let error: Box<dyn std::error::Error + Send + Sync> = error.into();
                        if let Some(left_out) = self.log.due(self.clock.monotonic()) {
                            tracing::warn!(%error, left_out, "connection cannot be accepted");
                        }
                        let until = self.clock.monotonic().checked_add(ACCEPT_BACKOFF);
                        if self.clock.timeout(until, &mut stopped).await.is_ok() {
                            return;
                        }
                    }
                    None => return,
                },
            }
        }
    }
}
