//! The connections to a remote store, made when they are first needed.

use std::fmt::{self, Debug, Formatter};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use blobaccess::{Error, Result};
use hyper_util::rt::TokioIo;
use tonic::ConnectError;
use tonic::transport::{Channel, Endpoint};

use super::options::RemoteOptions;
use super::proxy::Proxy;
use super::target::{Place, Target};
#[cfg(feature = "tls")]
use super::tls::RemoteTls;

/// Connections that calls are spread over in turn.
pub(super) struct Channels {
    /// The way to connect; `None` if the channels were given.
    connector: Option<Connector>,
    count: usize,
    made: OnceLock<Vec<Channel>>,
    next: AtomicUsize,
}

impl Channels {
    /// Connections to the address of `options`. None is made here, so that no runtime is needed yet.
    pub(super) fn lazy(options: &RemoteOptions) -> Result<Self> {
        let connector = Some(Connector::new(options)?);
        Ok(Self { connector, count: options.connections, made: OnceLock::new(), next: AtomicUsize::new(0) })
    }

    /// Uses these channels.
    pub(super) fn given(channels: Vec<Channel>) -> Result<Self> {
        if channels.is_empty() {
            return Err(Error::invalid_argument("a remote store needs at least one channel"));
        }
        let count = channels.len();
        Ok(Self { connector: None, count, made: channels.into(), next: AtomicUsize::new(0) })
    }

    /// Returns the channel whose turn it is. The first call must be made within a runtime.
    pub(super) fn pick(&self) -> Result<Channel> {
        let channels = self.made.get_or_init(|| {
            self.connector.iter().flat_map(|connector| (0..self.count).map(|_| connector.connect_lazy())).collect()
        });
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.count.max(1);
        channels.get(turn).cloned().ok_or_else(|| Error::internal("a remote store has no channel"))
    }
}

impl Debug for Channels {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channels").field("count", &self.count).finish_non_exhaustive()
    }
}

/// The way in which connections are made.
#[derive(Clone)]
enum Connector {
    Direct(Endpoint),
    Socket(Endpoint, PathBuf),
    Proxied(Endpoint, Arc<Proxy>, String),
}

impl Connector {
    /// Makes the way to the address of `options`. Nothing is connected.
    fn new(options: &RemoteOptions) -> Result<Self> {
        #[cfg(feature = "tls")]
        let has_tls = options.tls.is_some();
        #[cfg(not(feature = "tls"))]
        let has_tls = false;
        let Target { place, secure } = Target::parse(&options.address, has_tls)?;
        let scheme = if secure { "https" } else { "http" };
        // A socket has no name. This is the one that gRPC's own libraries give to its server.
        let host = match &place {
            Place::Host(host) => host.as_str(),
            Place::Socket(_) => "localhost",
        };
        let endpoint = endpoint(options, format!("{scheme}://{host}"), secure)?;
        Ok(match (place, &options.proxy) {
            (Place::Socket(path), _) => Self::Socket(endpoint, path),
            (Place::Host(_), None) => Self::Direct(endpoint),
            (Place::Host(host), Some(proxy)) => {
                let port = if secure { 443 } else { 80 };
                let has_port = endpoint.uri().port().is_some();
                let host = if has_port { host } else { format!("{host}:{port}") };
                Self::Proxied(endpoint, Arc::new(proxy.parse()?), host)
            }
        })
    }

    /// Makes a channel, which connects when it is first used.
    fn connect_lazy(&self) -> Channel {
        match self {
            Self::Direct(endpoint) => endpoint.connect_lazy(),
            Self::Socket(endpoint, path) => {
                let path = path.clone();
                endpoint.connect_with_connector_lazy(tower::service_fn(move |_| {
                    let path = path.clone();
                    async move { connect_to_socket(&path).await.map(TokioIo::new).map_err(failed) }
                }))
            }
            Self::Proxied(endpoint, proxy, host) => {
                let (proxy, host) = (Arc::clone(proxy), host.clone());
                endpoint.connect_with_connector_lazy(tower::service_fn(move |_| {
                    let (proxy, host) = (Arc::clone(&proxy), host.clone());
                    async move { proxy.connect(&host).await.map(TokioIo::new).map_err(failed) }
                }))
            }
        }
    }
}

fn failed(error: io::Error) -> ConnectError {
    ConnectError(Box::new(error))
}

#[cfg(unix)]
async fn connect_to_socket(path: &Path) -> io::Result<tokio::net::UnixStream> {
    tokio::net::UnixStream::connect(path).await
}

#[cfg(not(unix))]
async fn connect_to_socket(_path: &Path) -> io::Result<tokio::net::TcpStream> {
    Err(io::Error::other("sockets with paths need a UNIX system"))
}

fn endpoint(options: &RemoteOptions, url: String, secure: bool) -> Result<Endpoint> {
    let invalid = |reason: String| Error::invalid_argument(format!("address {:?} {reason}", options.address));
    let endpoint = Endpoint::from_shared(url)
        .map_err(|error| invalid(format!("is no address: {}", super::failure::causes(&error))))?;
    if endpoint.uri().host().is_none_or(str::is_empty) {
        return Err(invalid("has no host".to_owned()));
    }
    let mut endpoint = endpoint
        .connect_timeout(options.connect_timeout)
        .tcp_nodelay(true)
        .initial_stream_window_size(options.stream_window_bytes)
        .initial_connection_window_size(options.connection_window_bytes);
    if let Some((interval, timeout)) = options.keepalive {
        endpoint = endpoint
            .http2_keep_alive_interval(interval)
            .keep_alive_timeout(timeout)
            .keep_alive_while_idle(options.keepalive_while_idle);
    }
    #[cfg(feature = "tls")]
    match &options.tls {
        Some(tls) if secure => tls.apply(endpoint),
        None if secure => RemoteTls::new().apply(endpoint),
        Some(_) | None => Ok(endpoint),
    }
    #[cfg(not(feature = "tls"))]
    if secure { Err(invalid("needs the feature `tls`".to_owned())) } else { Ok(endpoint) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_checked_before_anything_is_connected() {
        let unix = ["unix:/run/cache.sock", "unix:///run/cache.sock"];
        let plain = ["http://localhost:8980", "http://[::1]:1", "grpc://localhost:1", "localhost:8980"];
        for good in plain.into_iter().chain(unix) {
            assert!(Channels::lazy(&RemoteOptions::new(good)).is_ok(), "{good}");
        }
        for bad in ["", "grpc:/localhost:1", "http://", "http://a b", "ftp://host"] {
            let error = Channels::lazy(&RemoteOptions::new(bad)).unwrap_err();
            assert_eq!(error.kind(), blobaccess::ErrorKind::InvalidArgument, "{bad}: {error}");
        }
    }

    #[cfg(feature = "tls")]
    #[test]
    fn tls_is_refused_where_it_would_not_be_used_and_where_it_is_wrong() {
        let options = RemoteOptions::new("http://localhost:1").with_tls(RemoteTls::new());
        assert!(Channels::lazy(&options).unwrap_err().message().contains("TLS"));
        let broken = RemoteTls::new().with_ca_pem("x").with_client_certificate("no", "key at all");
        let error = Channels::lazy(&RemoteOptions::new("https://localhost:1").with_tls(broken)).unwrap_err();
        assert!(error.message().starts_with("TLS cannot be set up"), "{error}");
    }
}
