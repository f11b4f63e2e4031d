//! The connections to a remote store, made when they are first needed.

use std::fmt::{self, Debug, Formatter};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use blobaccess::{Error, Result};
use tonic::transport::{Channel, Endpoint};

use super::options::RemoteOptions;
#[cfg(feature = "tls")]
use super::tls::RemoteTls;

/// How much of a stream may be under way before its reader is heard from, in bytes. HTTP/2's own 64 KiB would let a
/// stream move at most that much a round trip: 13 MB/s over 5 ms.
const STREAM_WINDOW_BYTES: u32 = 2 << 20;

/// The same for all streams of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;

/// Connections that calls are spread over in turn.
pub(super) struct Channels {
    /// The endpoint to connect to; `None` if the channels were given.
    endpoint: Option<Endpoint>,
    count: usize,
    made: OnceLock<Vec<Channel>>,
    next: AtomicUsize,
}

impl Channels {
    /// Connections to the address of `options`. None is made here, so that no runtime is needed yet.
    pub(super) fn lazy(options: &RemoteOptions) -> Result<Self> {
        let endpoint = Some(endpoint(options)?);
        Ok(Self { endpoint, count: options.connections, made: OnceLock::new(), next: AtomicUsize::new(0) })
    }

    /// Uses these channels.
    pub(super) fn given(channels: Vec<Channel>) -> Result<Self> {
        if channels.is_empty() {
            return Err(Error::invalid_argument("a remote store needs at least one channel"));
        }
        let count = channels.len();
        Ok(Self { endpoint: None, count, made: channels.into(), next: AtomicUsize::new(0) })
    }

    /// Returns the channel whose turn it is. The first call must be made within a runtime.
    pub(super) fn pick(&self) -> Result<Channel> {
        let channels = self.made.get_or_init(|| {
            self.endpoint.iter().flat_map(|endpoint| (0..self.count).map(|_| endpoint.connect_lazy())).collect()
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

fn endpoint(options: &RemoteOptions) -> Result<Endpoint> {
    let address = &options.address;
    let invalid = |reason: String| Error::invalid_argument(format!("address {address:?} {reason}"));
    // As Bazel spells it, which is the same.
    let url = match address.split_once("://") {
        Some(("grpc", rest)) => format!("http://{rest}"),
        Some(("grpcs", rest)) => format!("https://{rest}"),
        _ => address.clone(),
    };
    let unix = url.starts_with("unix:");
    let secure = url.starts_with("https://");
    if !unix && !secure && !url.starts_with("http://") {
        return Err(invalid("begins with none of grpc://, grpcs://, http://, https:// and unix:".to_owned()));
    }
    let endpoint = Endpoint::from_shared(url)
        .map_err(|error| invalid(format!("is no address: {}", super::failure::causes(&error))))?;
    if !unix && endpoint.uri().host().is_none_or(str::is_empty) {
        return Err(invalid("has no host".to_owned()));
    }
    let mut endpoint = endpoint
        .connect_timeout(options.connect_timeout)
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    if let Some((interval, timeout)) = options.keepalive {
        endpoint = endpoint.http2_keep_alive_interval(interval).keep_alive_timeout(timeout);
    }
    #[cfg(feature = "tls")]
    match &options.tls {
        Some(tls) if secure => tls.apply(endpoint),
        None if secure => RemoteTls::new().apply(endpoint),
        Some(_) => Err(invalid("is not of https or grpcs, while TLS is configured".to_owned())),
        None => Ok(endpoint),
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
        for good in ["http://localhost:8980", "http://[::1]:1", "grpc://localhost:1"].into_iter().chain(unix) {
            assert!(Channels::lazy(&RemoteOptions::new(good)).is_ok(), "{good}");
        }
        for bad in ["localhost:8980", "", "grpc:/localhost:1", "http://", "http://a b", "ftp://host"] {
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
