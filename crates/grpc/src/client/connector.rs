//! Connections to a server: by TCP or a socket, through a proxy or not, encrypted or not.

use std::error::Error as StdError;
use std::fmt::{self, Debug, Formatter};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use blobaccess::{Clock, Error, Result, SystemClock};
use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tonic::ConnectError;
use tonic::transport::{Channel, Endpoint};
use tower::Service;

use super::options::RemoteOptions;
use super::proxy::Proxy;
use super::target::{Place, Target};
#[cfg(feature = "tls")]
use super::tls::{Encryption, RemoteTls};

/// The largest metadata that is received with an answer, in bytes.
const MAX_METADATA_BYTES: u32 = 64 << 10;

/// A connection of any kind.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

/// A server, and how it is connected to.
pub(super) struct Connector {
    endpoint: Endpoint,
    place: Place,
    proxy: Option<Proxy>,
    #[cfg(feature = "tls")]
    encryption: Option<Encryption>,
    connect_timeout: Duration,
    /// Whether channels are spread over the addresses of the host.
    is_spread: bool,
}

impl Connector {
    /// Makes the way to the address of `options`. Nothing is connected.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if the address, the proxy or the settings of TLS cannot be used.
    pub(super) fn new(options: &RemoteOptions) -> Result<Self> {
        #[cfg(feature = "tls")]
        let has_tls = options.tls.is_some();
        #[cfg(not(feature = "tls"))]
        let has_tls = false;
        let Target { place, secure } = Target::parse(&options.address, has_tls)?;
        #[cfg(feature = "tls")]
        let encryption = match &options.tls {
            Some(tls) if secure => Some(tls.encryption(place.host_name())?),
            None if secure => Some(RemoteTls::new().encryption(place.host_name())?),
            Some(_) | None => None,
        };
        #[cfg(not(feature = "tls"))]
        if secure {
            let reason = Error::invalid_argument("needs the feature `tls`");
            return Err(reason.at(format!("address {:?}", options.address)));
        }
        Ok(Self {
            endpoint: endpoint(options, &place, secure)?,
            proxy: options.proxy.as_ref().map(super::proxy::ProxyUrl::parse).transpose()?,
            place,
            #[cfg(feature = "tls")]
            encryption,
            connect_timeout: options.connect_timeout,
            is_spread: options.spreads_addresses,
        })
    }

    /// Makes a channel, which connects when it is first used. Among several addresses of a spread host, it begins with
    /// the one of its `number`.
    pub(super) fn connect_lazy(self: &Arc<Self>, number: usize) -> Channel {
        let attempts = Arc::new(AtomicUsize::new(number));
        self.endpoint.connect_with_connector_lazy(Attempts { connector: Arc::clone(self), attempts })
    }

    /// Makes a connection. Of a spread host, the address of this number is tried first.
    async fn connect(&self, attempt: usize) -> Result<Box<dyn Stream>, ConnectError> {
        // Channels have no other clock.
        let end = SystemClock.monotonic().checked_add(self.connect_timeout);
        let clock: &dyn Clock = &SystemClock;
        let connected = clock.timeout(end, self.connect_at_leisure(attempt)).await;
        connected.unwrap_or_else(|_| {
            let reason = format!("no connection was made within {:?}", self.connect_timeout);
            Err(failed(io::Error::new(io::ErrorKind::TimedOut, reason)))
        })
    }

    async fn connect_at_leisure(&self, attempt: usize) -> Result<Box<dyn Stream>, ConnectError> {
        let stream: Box<dyn Stream> = match (&self.place, &self.proxy) {
            (Place::Socket(path), _) => Box::new(connect_to_socket(path).await.map_err(failed)?),
            (place, Some(proxy)) => Box::new(proxy.connect(&place.host_and_port()).await.map_err(failed)?),
            (Place::Host { host, port, .. }, None) => Box::new(self.connect_to_any(host, *port, attempt).await?),
        };
        #[cfg(feature = "tls")]
        if let Some(encryption) = &self.encryption {
            return Ok(Box::new(encryption.connect(stream).await.map_err(failed)?));
        }
        Ok(stream)
    }

    /// Connects to an address of a host. The time is divided among the addresses, and the first of the other family is
    /// tried at the same time once the one before is late (RFC 8305), so that one that is gone does not hide the others.
    async fn connect_to_any(&self, host: &str, port: u16, attempt: usize) -> Result<TcpStream, ConnectError> {
        let first = self.is_spread.then_some(attempt);
        let mut http = HttpConnector::new_with_resolver(Addresses { host: host.into(), port, first });
        http.set_connect_timeout(Some(self.connect_timeout));
        http.set_nodelay(true);
        // The addresses know the name and the port: they may have a zone, which no URI can.
        let stream = http.call(Uri::from_static("http://server.invalid")).await.map_err(failed)?;
        Ok(stream.into_inner())
    }
}

impl Debug for Connector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("place", &self.place).finish_non_exhaustive()
    }
}

/// Makes the connections of one channel. The address that the channel asks for is not used.
#[derive(Clone, Debug)]
struct Attempts {
    connector: Arc<Connector>,
    /// The number of the next attempt, so that after a failure another address is tried.
    attempts: Arc<AtomicUsize>,
}

impl Service<Uri> for Attempts {
    type Response = TokioIo<Box<dyn Stream>>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
        let connector = Arc::clone(&self.connector);
        Box::pin(async move { connector.connect(attempt).await.map(TokioIo::new) })
    }
}

/// The addresses of a host, which are asked for anew for each connection.
#[derive(Clone, Debug)]
struct Addresses {
    host: Arc<str>,
    port: u16,
    /// The number of the first one to try; `None` to keep the order in which they are given.
    first: Option<usize>,
}

impl Addresses {
    async fn resolve(self) -> io::Result<std::vec::IntoIter<SocketAddr>> {
        let addresses: Vec<SocketAddr> = lookup_host((&*self.host, self.port)).await?.collect();
        if addresses.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("{} has no address", self.host)));
        }
        Ok(in_turn(addresses, self.first).into_iter())
    }
}

/// Returns the addresses in the order in which they are tried.
fn in_turn(mut addresses: Vec<SocketAddr>, first: Option<usize>) -> Vec<SocketAddr> {
    if let Some(first) = first {
        // Name servers rotate them too.
        addresses.sort_unstable();
        addresses.dedup();
        let count = addresses.len().max(1);
        addresses.rotate_left(first % count);
    }
    addresses
}

impl Service<Name> for Addresses {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _name: Name) -> Self::Future {
        Box::pin(self.clone().resolve())
    }
}

fn failed(error: impl StdError + Send + Sync + 'static) -> ConnectError {
    ConnectError(Box::new(error))
}

#[cfg(unix)]
async fn connect_to_socket(path: &Path) -> io::Result<tokio::net::UnixStream> {
    tokio::net::UnixStream::connect(path).await
}

#[cfg(not(unix))]
fn connect_to_socket(_path: &Path) -> impl Future<Output = io::Result<TcpStream>> {
    std::future::ready(Err(io::Error::other("sockets with paths need a UNIX system")))
}

fn endpoint(options: &RemoteOptions, place: &Place, secure: bool) -> Result<Endpoint> {
    let authority = options.authority.clone().unwrap_or_else(|| place.authority());
    let scheme = if secure { "https" } else { "http" };
    let origin = Uri::builder().scheme(scheme).authority(authority.as_str()).path_and_query("/").build();
    let origin = origin.map_err(|error| {
        Error::invalid_argument(format!("calls cannot be sent to {authority:?}: {error}")).with_source(error)
    })?;
    // The connector encrypts. The endpoint must not try to, so its own address has no TLS.
    let mut endpoint = Endpoint::from_static("http://server.invalid")
        .origin(origin)
        .initial_stream_window_size(options.stream_window_bytes)
        .initial_connection_window_size(options.connection_window_bytes)
        // A server's long text must not hide what it is about.
        .http2_max_header_list_size(MAX_METADATA_BYTES);
    if let Some((interval, timeout)) = options.keepalive {
        endpoint = endpoint
            .http2_keep_alive_interval(interval)
            .keep_alive_timeout(timeout)
            .keep_alive_while_idle(options.keepalive_while_idle);
    }
    Ok(endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_a_spread_host_take_turns_whatever_order_they_come_in() {
        let addresses = |hosts: &[u8]| hosts.iter().map(|host| SocketAddr::from(([10, 0, 0, *host], 9))).collect();
        let given: Vec<SocketAddr> = addresses(&[3, 1, 2, 1]);
        assert_eq!(in_turn(given.clone(), None), given);
        for (first, expected) in [(0, [1, 2, 3]), (1, [2, 3, 1]), (5, [3, 1, 2])] {
            assert_eq!(in_turn(given.clone(), Some(first)), addresses(&expected), "{first}");
        }
        assert!(in_turn(Vec::new(), Some(usize::MAX)).is_empty());
    }

    #[tokio::test]
    async fn a_host_without_an_address_is_an_error() {
        let absent = Addresses { host: "absent.invalid".into(), port: 9, first: Some(0) };
        assert!(absent.resolve().await.is_err());
    }
}
