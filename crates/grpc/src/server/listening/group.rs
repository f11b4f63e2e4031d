//! Groups of addresses that are served alike.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use blobaccess::{Error, Result};
use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::net::UnixListener;

use super::options::ListenerOptions;
#[cfg(unix)]
use super::socket_file::SocketFile;
use super::tcp_address::TcpAddress;
use crate::server::authentication::Authenticator;
#[cfg(feature = "tls")]
use crate::server::tls::ServerTls;

/// Addresses and sockets on which [`Services`](crate::Services) are served alike: with the same encryption,
/// authentication and limits of connections.
///
/// [`Services::serve_listeners`](crate::Services::serve_listeners) serves several groups, each with a policy of its own,
/// over the same stores.
///
/// # Examples
///
/// ```no_run
/// use blobaccess::{Cas, MemoryStore};
/// use blobaccess_grpc::{ListenerGroup, ListenerOptions, ServerTls, ServiceOptions, Services};
///
/// # async fn example(certificate: &str, key: &str) -> blobaccess::Result<()> {
/// let services = Services::new(ServiceOptions::default()).with_cas(MemoryStore::<Cas>::new(1 << 30));
/// // Encrypted for everybody, and plain for programs on this machine.
/// let public = ListenerGroup::new(ListenerOptions::default())
///     .with_address(":8980")
///     .with_tls(ServerTls::new(certificate, key));
/// let local = ListenerGroup::new(ListenerOptions::default()).with_socket_path("/run/cache.sock");
///
/// let listeners = [public.bind().await?, local.bind().await?];
/// let shutdown = async { drop(tokio::signal::ctrl_c().await) };
/// services.serve_listeners(listeners, shutdown).await
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ListenerGroup {
    addresses: Vec<String>,
    socket_paths: Vec<PathBuf>,
    policy: GroupPolicy,
}

/// The part of a group that is the same for all its sockets.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupPolicy {
    pub(crate) options: ListenerOptions,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<ServerTls>,
    pub(crate) authenticator: Option<Arc<dyn Authenticator>>,
}

/// The sockets of a [`ListenerGroup`]: clients can connect, and wait until they are
/// [served](crate::Services::serve_listeners).
///
/// Dropping it closes the sockets and removes the files of UNIX sockets.
#[derive(Debug)]
pub struct BoundListeners {
    pub(crate) sockets: Sockets,
    pub(crate) policy: GroupPolicy,
}

/// Sockets that are listened on.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    pub(crate) tcp: Vec<TcpListener>,
    /// A file comes before its listener, so that it is dropped first: while the listener is there, no other file can
    /// have the number of this one.
    #[cfg(unix)]
    pub(crate) unix: Vec<(SocketFile, UnixListener)>,
}

impl ListenerGroup {
    /// Makes a group without addresses.
    #[must_use]
    pub fn new(options: ListenerOptions) -> Self {
        let policy = GroupPolicy { options, ..GroupPolicy::default() };
        Self { addresses: Vec::new(), socket_paths: Vec::new(), policy }
    }

    /// Adds an address of TCP: `host:port`.
    ///
    /// The host is an address (that of IPv6 in brackets), or a name, of whose addresses the first one of IPv4 is taken,
    /// or else the first one. Without a host, and with `0.0.0.0` or `[::]`, it is all interfaces in both families. Port 0
    /// is any free one.
    #[must_use]
    pub fn with_address(mut self, address: impl Into<String>) -> Self {
        self.addresses.push(address.into());
        self
    }

    /// Adds a UNIX socket.
    ///
    /// A socket that is there already is taken for one that an earlier process has left, and is replaced. Any other file
    /// is not touched, and [`bind`](Self::bind) fails. The socket is removed at the end.
    ///
    /// Who may connect is decided by the rights of the folder and by the umask.
    #[must_use]
    pub fn with_socket_path(mut self, path: impl Into<PathBuf>) -> Self {
        self.socket_paths.push(path.into());
        self
    }

    /// Encrypts the connections of this group.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_tls(mut self, tls: ServerTls) -> Self {
        self.policy.tls = Some(tls);
        self
    }

    /// Identifies the callers of this group by `authenticator`, in place of that of the
    /// [services](crate::Services::with_authenticator).
    #[must_use]
    pub fn with_authenticator(mut self, authenticator: impl Authenticator) -> Self {
        self.policy.authenticator = Some(Arc::new(authenticator));
        self
    }

    /// Checks what can be checked without listening: addresses and TLS.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, as that of [`bind`](Self::bind).
    pub fn check(&self) -> Result<()> {
        self.parse().map(drop)
    }

    fn parse(&self) -> Result<Vec<TcpAddress>> {
        if self.addresses.is_empty() && self.socket_paths.is_empty() {
            return Err(Error::invalid_argument("a server has no addresses and no paths to listen on"));
        }
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.policy.tls {
            tls.to_acceptor().map(drop)?;
        }
        self.addresses.iter().map(|address| TcpAddress::parse(address)).collect()
    }

    /// Listens on all addresses and paths.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if there is no address at all, one is malformed or not of this machine, or TLS cannot be set
    /// up; `FailedPrecondition` if an address is in use, or a path is taken by something else than a socket or has no
    /// folder; `PermissionDenied`; else `Unavailable`. Nothing stays listened on then.
    ///
    /// # Cancel safety
    ///
    /// A dropped call listens on nothing.
    pub async fn bind(&self) -> Result<BoundListeners> {
        let mut sockets = Sockets::default();
        for address in self.parse()? {
            sockets.tcp.push(address.bind().await?);
        }
        for path in &self.socket_paths {
            #[cfg(unix)]
            {
                let (listener, file) = SocketFile::bind(path)?;
                sockets.unix.push((file, listener));
            }
            #[cfg(not(unix))]
            return Err(Error::invalid_argument(format!("socket {} needs a UNIX system", path.display())));
        }
        Ok(BoundListeners { sockets, policy: self.policy.clone() })
    }
}

impl BoundListeners {
    /// Returns the addresses of TCP that are listened on, in the order in which they were given, with the ports that
    /// were chosen.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.tcp.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Returns the listeners of TCP, for a server of another protocol. Other sockets are closed.
    #[must_use]
    pub fn into_tcp_listeners(self) -> Vec<TcpListener> {
        self.sockets.tcp
    }
}
