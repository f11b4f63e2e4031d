//! Addresses of gRPC servers, as Go's client writes them.

use std::fmt::{self, Display, Formatter};
use std::net::Ipv6Addr;
use std::path::PathBuf;

/// The port of addresses without one, as in Go's client.
const DEFAULT_PORT: u16 = 443;

/// The address of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Tcp {
        /// A name or an address, without brackets.
        host: String,
        port: u16,
    },
    Unix(PathBuf),
}

impl Address {
    /// Parses a target of gRPC: `host:port`, `dns:///host:port`, `passthrough:///host:port` or `unix:path`.
    ///
    /// The error completes a sentence that begins with the field.
    pub(super) fn parse(target: &str) -> Result<Self, String> {
        match target.split_once(':') {
            Some(("unix", rest)) => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                if path.is_empty() {
                    return Err("has no path of a socket".to_owned());
                }
                Ok(Self::Unix(path.into()))
            }
            Some(("dns" | "passthrough", rest)) if !is_port(rest) => match rest.strip_prefix("//") {
                None => parse_host_and_port(rest),
                Some(rest) => match rest.split_once('/') {
                    Some(("", endpoint)) => parse_host_and_port(endpoint),
                    Some(_) => Err("names a DNS server, which is not supported: leave it out".to_owned()),
                    None => Err("has no host after its scheme: write dns:///host:port".to_owned()),
                },
            },
            Some((scheme @ ("http" | "https" | "grpc" | "grpcs"), rest)) if rest.starts_with("//") => Err(format!(
                "must not begin with {scheme}://: write host:port, and set tls if connections are encrypted"
            )),
            Some((scheme, rest)) if rest.starts_with("//") || scheme == "unix-abstract" => {
                Err(format!("has the scheme {scheme:?}, which is not supported: use dns or unix"))
            }
            Some(_) | None => parse_host_and_port(target),
        }
    }

    /// Returns the host and port for the header `:authority`; that of a socket is `localhost`.
    pub(super) fn authority(&self) -> String {
        match self {
            Self::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}"),
            Self::Tcp { host, port } => format!("{host}:{port}"),
            Self::Unix(_) => "localhost".to_owned(),
        }
    }

    /// Returns the name that the certificate of the server must have, unless another one is set.
    pub(super) fn server_name(&self) -> &str {
        match self {
            Self::Tcp { host, .. } => host,
            Self::Unix(_) => "localhost",
        }
    }
}

impl Display for Address {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { .. } => f.write_str(&self.authority()),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Returns whether `text` is a port, so that what stands before it is a host and not a scheme.
fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn parse_host_and_port(text: &str) -> Result<Address, String> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or("has a bracket that is not closed")?;
            let port = match rest.strip_prefix(':') {
                Some(port) => Some(port),
                None if rest.is_empty() => None,
                None => return Err("has something other than a port after its bracket".to_owned()),
            };
            let address = host.split('%').next().unwrap_or_default();
            address.parse::<Ipv6Addr>().map_err(|_| format!("has no address of IPv6 in its brackets: {host:?}"))?;
            (host, port)
        }
        // An address of IPv6 without a port.
        None if text.parse::<Ipv6Addr>().is_ok() => (text, None),
        None => match text.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') => (host, Some(port)),
            Some(_) => return Err("has too many colons: write an address of IPv6 as [address]:port".to_owned()),
            None => (text, None),
        },
    };
    let port = match port {
        None => DEFAULT_PORT,
        Some(port) => parse_port(port)?,
    };
    // Go's client connects to this machine then.
    let host = if host.is_empty() { "localhost" } else { host };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if !host.contains(':') && !host.bytes().all(is_name) {
        return Err(format!("has no valid host: {host:?}"));
    }
    Ok(Address::Tcp { host: host.to_owned(), port })
}

fn parse_port(port: &str) -> Result<u16, String> {
    match port.parse() {
        Ok(0) => Err("has the port 0, which nobody listens at".to_owned()),
        Ok(port) => Ok(port),
        Err(_) if port == "http" => Ok(80),
        Err(_) if port == "https" => Ok(443),
        Err(_) => Err(format!("has no valid port: {port:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_of_go_are_understood() {
        for (target, expected) in [
            ("storage-0.storage:8981", "storage-0.storage:8981"),
            ("localhost:8980", "localhost:8980"),
            ("example.com", "example.com:443"),
            (":8980", "localhost:8980"),
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("[::1]:8980", "[::1]:8980"),
            ("[fe80::1%eth0]:8980", "[fe80::1%eth0]:8980"),
            ("::1", "[::1]:443"),
            ("dns:8980", "dns:8980"),
            ("dns:///storage:8981", "storage:8981"),
            ("dns:storage:8981", "storage:8981"),
            ("passthrough:///storage:8981", "storage:8981"),
            ("unix:/run/storage.sock", "unix:/run/storage.sock"),
            ("unix:///run/storage.sock", "unix:/run/storage.sock"),
            ("unix:storage.sock", "unix:storage.sock"),
        ] {
            assert_eq!(Address::parse(target).unwrap().to_string(), expected, "{target}");
        }
    }

    #[test]
    fn other_targets_are_refused_with_what_to_write() {
        for (target, reason) in [
            ("http://storage:8981", "must not begin with http://"),
            ("grpcs://storage:8981", "must not begin with grpcs://"),
            ("xds:///storage", "\"xds\""),
            ("unix-abstract:storage", "\"unix-abstract\""),
            ("unix:", "no path"),
            ("dns://8.8.8.8/storage:8981", "DNS server"),
            ("dns://storage:8981", "dns:///host:port"),
            ("a:b:1", "too many colons"),
            ("[::1", "not closed"),
            ("[::1]8980", "something other"),
            ("[storage]:1", "no address of IPv6"),
            ("storage:0", "port 0"),
            ("storage:65536", "no valid port"),
            ("storage:", "no valid port"),
            ("sto rage:1", "no valid host"),
            ("user@storage:1", "no valid host"),
        ] {
            let refused = Address::parse(target).unwrap_err();
            assert!(refused.contains(reason), "{target}: {refused}");
        }
    }
}
