//! The server at an address, however the address is spelled.

use std::net::Ipv6Addr;
use std::path::PathBuf;

use blobaccess::{Error, Result};

/// The port of an address that names none, as gRPC's own libraries have it.
const DEFAULT_PORT: u16 = 443;

/// The server to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) place: Place,
    /// Whether the connection is encrypted.
    pub(super) secure: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Host {
        /// A name or an address, without brackets.
        host: String,
        port: u16,
        /// Whether the server is called by its port too. It is not if a URL has none.
        has_port: bool,
    },
    Socket(PathBuf),
}

impl Target {
    /// Reads an address. One without a scheme that tells is encrypted if `has_tls`.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if it is none, or its scheme is at odds with `has_tls`. The message completes a sentence that
    /// begins with the address.
    pub(super) fn parse(address: &str, has_tls: bool) -> Result<Self> {
        Self::read(address, has_tls)
            .map_err(|reason| Error::invalid_argument(reason).at(format!("address {address:?}")))
    }

    fn read(address: &str, has_tls: bool) -> Result<Self, String> {
        let place = match address.split_once(':') {
            Some(("unix", rest)) => read_path(rest)?,
            Some((scheme @ ("grpc" | "http" | "grpcs" | "https"), rest)) if rest.starts_with("//") => {
                return read_url(scheme, rest.trim_start_matches("//"), has_tls);
            }
            // The name of a server of names comes first, and is mostly empty.
            Some(("dns" | "passthrough", rest)) if !is_port(rest) => match rest.strip_prefix("//") {
                None => Place::read(rest, DEFAULT_PORT)?,
                Some(rest) => match rest.split_once('/') {
                    Some(("", endpoint)) => Place::read(endpoint, DEFAULT_PORT)?,
                    Some(_) => return Err("names a server of names, while those of the system are asked".to_owned()),
                    None => return Err("has no host after its scheme: write dns:///host:port".to_owned()),
                },
            },
            Some((scheme, rest)) if rest.starts_with("//") || scheme == "unix-abstract" => {
                return Err(format!("has the scheme {scheme:?}, which is not supported: use dns or unix"));
            }
            Some(_) | None => Place::read(address, DEFAULT_PORT)?,
        };
        Ok(Self { place, secure: has_tls })
    }
}

impl Place {
    /// Reads a host with or without a port.
    fn read(text: &str, default_port: u16) -> Result<Self, String> {
        if text.is_empty() {
            return Err("has no host".to_owned());
        }
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
        let port = port.map_or(Ok(default_port), read_port)?;
        // As gRPC's own libraries do.
        let host = if host.is_empty() { "localhost" } else { host };
        let is_in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if !host.contains(':') && !host.bytes().all(is_in_name) {
            return Err(format!("has no valid host: {host:?}"));
        }
        Ok(Self::Host { host: host.to_owned(), port, has_port: true })
    }

    /// Returns the name by which calls go to the server. A socket has none: this is the one that gRPC's own libraries
    /// give to its server. A zone is only for this machine.
    pub(super) fn authority(&self) -> String {
        match self {
            Self::Host { port, has_port: true, .. } => format!("{}:{port}", self.bracketed_host()),
            Self::Host { .. } => self.bracketed_host(),
            Self::Socket(_) => "localhost".to_owned(),
        }
    }

    /// Returns the host with its port, as a proxy is asked for it.
    pub(super) fn host_and_port(&self) -> String {
        match self {
            Self::Host { port, .. } => format!("{}:{port}", self.bracketed_host()),
            Self::Socket(_) => self.authority(),
        }
    }

    fn bracketed_host(&self) -> String {
        let name = self.host_name();
        if name.contains(':') { format!("[{name}]") } else { name.to_owned() }
    }

    /// Returns the name that the certificate of the server must have.
    pub(super) fn host_name(&self) -> &str {
        match self {
            Self::Host { host, .. } => host.split('%').next().unwrap_or(host),
            Self::Socket(_) => "localhost",
        }
    }
}

/// Returns whether `text` is a port, so that the text before it is a host and not a scheme.
fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn read_path(rest: &str) -> Result<Place, String> {
    let path = match rest.strip_prefix("//") {
        Some(path) if !path.starts_with('/') => return Err("has a path that does not begin with /".to_owned()),
        Some(path) => path,
        None => rest,
    };
    if path.is_empty() {
        return Err("has no path of a socket".to_owned());
    }
    Ok(Place::Socket(path.into()))
}

fn read_url(scheme: &str, rest: &str, has_tls: bool) -> Result<Target, String> {
    let secure = matches!(scheme, "grpcs" | "https");
    if has_tls && !secure {
        return Err("is not of https or grpcs, while TLS is configured".to_owned());
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.is_empty() || rest.starts_with(':') {
        return Err("has no host".to_owned());
    }
    let mut place = Place::read(rest, if secure { 443 } else { 80 })?;
    if let Place::Host { has_port, .. } = &mut place {
        *has_port = rest.rsplit(']').next().is_some_and(|rest| rest.contains(':'));
    }
    Ok(Target { place, secure })
}

fn read_port(port: &str) -> Result<u16, String> {
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
    use blobaccess::ErrorKind;

    use super::*;

    fn host(host: &str, port: u16) -> Place {
        Place::Host { host: host.to_owned(), port, has_port: true }
    }

    #[test]
    fn an_address_is_read_as_its_scheme_or_the_lack_of_one_tells() {
        for (address, place) in [
            ("localhost:8980", host("localhost", 8980)),
            (":8980", host("localhost", 8980)),
            ("storage-0.storage.buildbarn", host("storage-0.storage.buildbarn", 443)),
            ("10.0.0.1:80", host("10.0.0.1", 80)),
            ("cache:https", host("cache", 443)),
            ("[::1]:80", host("::1", 80)),
            ("[fe80::1%eth0]:8980", host("fe80::1%eth0", 8980)),
            ("::1", host("::1", 443)),
            ("dns:8980", host("dns", 8980)),
            ("dns:///cache:8980", host("cache", 8980)),
            ("dns:cache:8980", host("cache", 8980)),
            ("passthrough:///cache:8980", host("cache", 8980)),
            ("unix:relative.sock", Place::Socket("relative.sock".into())),
            ("unix:/run/cache.sock", Place::Socket("/run/cache.sock".into())),
            ("unix:///run/cache.sock", Place::Socket("/run/cache.sock".into())),
        ] {
            for has_tls in [false, true] {
                let target = Target::parse(address, has_tls).unwrap();
                assert_eq!(target, Target { place: place.clone(), secure: has_tls }, "{address}");
            }
        }
        for (address, secure) in [
            ("grpc://cache:1", false),
            ("http://cache:1/", false),
            ("grpcs://cache:1", true),
            ("https://cache:1/", true),
        ] {
            assert_eq!(Target::parse(address, false).unwrap(), Target { place: host("cache", 1), secure });
            assert_eq!(Target::parse(address, true).is_ok(), secure, "{address}");
        }
    }

    #[test]
    fn other_addresses_are_refused_with_the_reason() {
        for (address, reason) in [
            ("", "has no host"),
            ("grpc:/localhost:1", "too many colons"),
            ("http://", "has no host"),
            ("http://:1", "has no host"),
            ("http://a b", "no valid host"),
            ("http://cache/path", "no valid host"),
            ("ftp://host", "\"ftp\""),
            ("xds:///storage", "\"xds\""),
            ("unix-abstract:storage", "\"unix-abstract\""),
            ("a b:1", "no valid host"),
            ("me@cache:1", "no valid host"),
            ("cache:0", "port 0"),
            ("cache:99999", "no valid port"),
            ("cache:", "no valid port"),
            ("cache:x", "no valid port"),
            ("a:b:1", "too many colons"),
            ("[::1", "not closed"),
            ("[::1]8980", "something other"),
            ("[storage]:1", "no address of IPv6"),
            ("unix:", "no path"),
            ("unix://relative", "does not begin with /"),
            ("dns://8.8.8.8/cache:1", "server of names"),
            ("dns://cache:1", "dns:///host:port"),
            ("dns:///", "has no host"),
        ] {
            let error = Target::parse(address, false).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{address}: {error}");
            assert!(error.message().contains(reason), "{address}: {error}");
        }
    }

    #[test]
    fn a_server_is_called_as_its_address_has_it() {
        for (address, authority, host_and_port, name) in [
            ("cache:8980", "cache:8980", "cache:8980", "cache"),
            ("cache", "cache:443", "cache:443", "cache"),
            ("http://cache", "cache", "cache:80", "cache"),
            ("grpcs://[::1]", "[::1]", "[::1]:443", "::1"),
            ("[fe80::1%eth0]:1", "[fe80::1]:1", "[fe80::1]:1", "fe80::1"),
            ("unix:/run/cache.sock", "localhost", "localhost", "localhost"),
        ] {
            let place = Target::parse(address, false).unwrap().place;
            let found = (place.authority(), place.host_and_port(), place.host_name());
            assert_eq!(found, (authority.to_owned(), host_and_port.to_owned(), name), "{address}");
        }
    }
}
