//! The connections to a remote store, made when they are first needed.

use std::fmt::{self, Debug, Formatter};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use blobaccess::{Error, Result};
use tonic::transport::Channel;

use super::connector::Connector;
use super::link::Link;
use super::options::RemoteOptions;

/// Connections that calls are spread over in turn.
pub(super) struct Channels {
    /// The way to connect; `None` if the channels were given.
    connector: Option<Arc<Connector>>,
    count: usize,
    made: OnceLock<Vec<Arc<Link>>>,
    next: AtomicUsize,
}

impl Channels {
    /// Connections to the address of `options`. None is made here, so that no runtime is needed yet.
    pub(super) fn lazy(options: &RemoteOptions) -> Result<Self> {
        let connector = Some(Arc::new(Connector::new(options)?));
        Ok(Self { connector, count: options.connections, made: OnceLock::new(), next: AtomicUsize::new(0) })
    }

    /// Uses these channels.
    pub(super) fn given(channels: Vec<Channel>) -> Result<Self> {
        if channels.is_empty() {
            return Err(Error::invalid_argument("a remote store needs at least one channel"));
        }
        let count = channels.len();
        let made: Vec<_> = channels.into_iter().map(|channel| Arc::new(Link::given(channel))).collect();
        Ok(Self { connector: None, count, made: made.into(), next: AtomicUsize::new(0) })
    }

    /// Returns the connection whose turn it is. The first call must be made within a runtime.
    pub(super) fn pick(&self) -> Result<Arc<Link>> {
        let links = self.made.get_or_init(|| {
            let connectors = self.connector.iter().flat_map(|connector| std::iter::repeat_n(connector, self.count));
            connectors.enumerate().map(|(number, connector)| Arc::new(Link::lazy(connector, number))).collect()
        });
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.count.max(1);
        links.get(turn).cloned().ok_or_else(|| Error::internal("a remote store has no channel"))
    }
}

impl Debug for Channels {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channels").field("count", &self.count).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(feature = "tls")]
    use crate::RemoteTls;

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
        assert!(error.message().starts_with("authority of the server cannot be used"), "{error}");
        let broken = RemoteTls::new().with_client_certificate("no", "key at all");
        let error = Channels::lazy(&RemoteOptions::new("https://localhost:1").with_tls(broken)).unwrap_err();
        assert!(error.message().starts_with("certificate of the client cannot be used"), "{error}");
        for (tls, reason) in [
            (RemoteTls::new().with_server_name("a b"), "is no name"),
            (RemoteTls::new().with_cipher_suites(["TLS_RSA_WITH_RC4_128_SHA"]), "RC4"),
        ] {
            let error = Channels::lazy(&RemoteOptions::new("localhost:1").with_tls(tls)).unwrap_err();
            assert!(error.message().contains(reason), "{error}");
        }
    }
}
