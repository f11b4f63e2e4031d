//! Connections to a server: by TCP or a socket, perhaps through a proxy, perhaps encrypted.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio_rustls::TlsConnector;
use tonic::codegen::Service;
use tonic::codegen::http::Uri;

use super::address::Address;
use super::proxy::Proxy;

/// A connection of any kind.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

/// Makes the connections of a channel. The address that the channel asks for is not used.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    pub(super) target: Arc<Target>,
    /// The number of the channel: among several addresses of a host, the one to begin with.
    pub(super) first: usize,
    pub(super) attempts: Arc<AtomicUsize>,
}

/// A server, and how it is connected to.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) address: Address,
    pub(super) proxy: Option<Proxy>,
    pub(super) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// Whether channels are spread over the addresses of the host.
    pub(super) is_spread: bool,
}

impl Connector {
    async fn connect(self) -> io::Result<TokioIo<Box<dyn Stream>>> {
        let target = &*self.target;
        let stream: Box<dyn Stream> = match (&target.address, &target.proxy) {
            (Address::Unix(path), _) => Box::new(UnixStream::connect(path).await?),
            (Address::Tcp { .. }, Some(proxy)) => Box::new(proxy.connect(&target.address.authority()).await?),
            (Address::Tcp { host, port }, None) => Box::new(self.connect_to_any(host, *port).await?),
        };
        let Some((config, name)) = &target.tls else { return Ok(TokioIo::new(stream)) };
        let stream = TlsConnector::from(Arc::clone(config)).connect(name.clone(), stream).await?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(io::Error::other("the server did not agree to HTTP/2 in the TLS handshake"));
        }
        Ok(TokioIo::new(Box::new(stream)))
    }

    /// Connects to the first address of a host that answers.
    async fn connect_to_any(&self, host: &str, port: u16) -> io::Result<TcpStream> {
        let mut addresses: Vec<SocketAddr> = lookup_host((host, port)).await?.collect();
        if self.target.is_spread && !addresses.is_empty() {
            addresses.sort_unstable();
            addresses.dedup();
            // Another one after a failure, so that channels do not stay with an address that is gone.
            let attempts = self.attempts.fetch_add(1, Ordering::Relaxed);
            let count = addresses.len();
            addresses.rotate_left(self.first.wrapping_add(attempts) % count);
        }
        let mut failure = None;
        for address in addresses {
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address"))))
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Box<dyn Stream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}
