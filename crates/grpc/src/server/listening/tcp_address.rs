//! Addresses of TCP as configurations spell them, and the sockets that listen there.

use std::fmt::{self, Display, Formatter};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use blobaccess::{Error, Result};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use super::listen_error::cannot_listen;

/// The number of connections that may wait to be accepted. The system lowers it to its own maximum.
const BACKLOG: i32 = 4096;

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TcpAddress {
    /// The address as it was given.
    text: String,
    host: Host,
    port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    /// All interfaces, in both families.
    All,
    Address(IpAddr),
    Name(String),
}

impl TcpAddress {
    /// Reads `host:port`, where the host may be left out, be an address (that of IPv6 in brackets) or a name.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if it is none.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let invalid = |reason: &str| Error::invalid_argument(format!("address {text:?} {reason}"));
        let (host, port) = text.rsplit_once(':').ok_or_else(|| invalid("has no port"))?;
        let port = if port.is_empty() { Ok(0) } else { port.parse() };
        let port = port.map_err(|_| invalid("has a port that is no number from 0 to 65535"))?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match (bracketed, host.parse::<IpAddr>()) {
            (Some(host), _) => {
                let address =
                    host.parse::<Ipv6Addr>().map_err(|_| invalid("has no address of IPv6 in its brackets"))?;
                Host::Address(IpAddr::V6(address))
            }
            (None, Ok(IpAddr::V6(_))) => return Err(invalid("has an address of IPv6 without brackets")),
            (None, Ok(address)) => Host::Address(address),
            (None, Err(_)) if host.is_empty() => Host::All,
            (None, Err(_)) => {
                let is_name = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
                Host::Name(Some(host).filter(|_| is_name).ok_or_else(|| invalid("has no host"))?.to_owned())
            }
        };
        let is_all = matches!(host, Host::Address(address) if address.is_unspecified());
        let host = if is_all { Host::All } else { host };
        Ok(Self { text: text.to_owned(), host, port })
    }

    /// Listens there.
    pub(super) async fn bind(&self) -> Result<TcpListener> {
        self.try_bind().await.map_err(|error| cannot_listen(self, error))
    }

    async fn try_bind(&self) -> io::Result<TcpListener> {
        match &self.host {
            Host::All => listen(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), self.port)).or_else(|error| {
                // A system without IPv6 has IPv4 only. Any other trouble would be met again.
                let lacks_ipv6 = !matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied);
                if lacks_ipv6 { listen(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), self.port)) } else { Err(error) }
            }),
            Host::Address(address) => listen(SocketAddr::new(*address, self.port)),
            Host::Name(name) => {
                let found: Vec<_> = tokio::net::lookup_host((name.as_str(), self.port)).await?.collect();
                let address = found.iter().find(|address| address.is_ipv4()).or_else(|| found.first());
                listen(*address.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "name has no address"))?)
            }
        }
    }
}

impl Display for TcpAddress {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

/// Listens on one address. That of all interfaces in IPv6 stands for those in IPv4 too.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use blobaccess::ErrorKind;

    use super::*;

    #[test]
    fn an_address_has_a_port_and_may_have_a_host() {
        for (text, host, port) in [
            (":8980", Host::All, 8980),
            (":", Host::All, 0),
            ("0.0.0.0:1", Host::All, 1),
            ("[::]:1", Host::All, 1),
            ("127.0.0.1:65535", Host::Address(Ipv4Addr::LOCALHOST.into()), 65535),
            ("[::1]:80", Host::Address(Ipv6Addr::LOCALHOST.into()), 80),
            ("cache-1.example.com:80", Host::Name("cache-1.example.com".to_owned()), 80),
        ] {
            let address = TcpAddress::parse(text).unwrap();
            assert_eq!((&address.host, address.port), (&host, port), "{text}");
        }
        for bad in
            ["", "8980", "localhost", ":65536", ":-1", ":http", "::1:80", "[::1]", "[x]:1", "a b:1", "[:1", "a/b:1"]
        {
            let error = TcpAddress::parse(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{bad}: {error}");
        }
    }

    #[tokio::test]
    async fn all_interfaces_are_those_of_both_families() {
        let listener = TcpAddress::parse(":0").unwrap().bind().await.unwrap();
        let address = listener.local_addr().unwrap();
        for host in ["127.0.0.1", "::1"] {
            let host: IpAddr = host.parse().unwrap();
            let reached = tokio::net::TcpStream::connect((host, address.port())).await;
            assert!(reached.is_ok() || (host.is_ipv6() && address.is_ipv4()), "{host}: {reached:?}");
        }
    }

    #[tokio::test]
    async fn a_name_is_looked_up_and_an_address_in_use_is_named() {
        let listener = TcpAddress::parse("localhost:0").unwrap().bind().await.unwrap();
        let address = listener.local_addr().unwrap();
        assert!(address.ip().is_loopback());
        let error = TcpAddress::parse(&address.to_string()).unwrap().bind().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{error}");
        assert!(error.message().contains(&address.to_string()), "{error}");
    }
}
