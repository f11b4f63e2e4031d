//! The server at an address, however the address is spelled.

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
    /// A host with a port.
    Host(String),
    Socket(PathBuf),
}

impl Target {
    /// Reads an address. One without a scheme that tells is encrypted if `has_tls`.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if it is none, or its scheme is at odds with `has_tls`.
    pub(super) fn parse(address: &str, has_tls: bool) -> Result<Self> {
        let invalid = |reason: &str| Error::invalid_argument(format!("address {address:?} {reason}"));
        if let Some(path) = address.strip_prefix("unix:") {
            let path = match path.strip_prefix("//") {
                Some(path) if !path.starts_with('/') => return Err(invalid("has a path that does not begin with /")),
                Some(path) => path,
                None => path,
            };
            if path.is_empty() {
                return Err(invalid("has no path"));
            }
            return Ok(Self { place: Place::Socket(path.into()), secure: has_tls });
        }
        let (authority, secure) = match address.split_once("://") {
            Some(("grpc" | "http", _)) if has_tls => {
                return Err(invalid("is not of https or grpcs, while TLS is configured"));
            }
            Some(("grpc" | "http", rest)) => (rest.strip_suffix('/').unwrap_or(rest), false),
            Some(("grpcs" | "https", rest)) => (rest.strip_suffix('/').unwrap_or(rest), true),
            // The name of a server of names comes first, and is mostly empty.
            Some(("dns" | "passthrough", rest)) => {
                let (server, rest) = rest.split_once('/').ok_or_else(|| invalid("has no host"))?;
                if !server.is_empty() {
                    return Err(invalid("names a server of names, while those of the system are asked"));
                }
                (rest, has_tls)
            }
            Some(_) => {
                return Err(invalid("begins with none of grpc://, grpcs://, http://, https://, dns: and unix:"));
            }
            None => (address.strip_prefix("dns:").unwrap_or(address), has_tls),
        };
        let is_whole = address.starts_with("http") || address.starts_with("grpc");
        if authority.is_empty() || (is_whole && authority.starts_with(':')) {
            return Err(invalid("has no host"));
        }
        let authority = if authority.starts_with(':') { format!("localhost{authority}") } else { authority.to_owned() };
        let parsed: http::uri::Authority =
            authority.parse().map_err(|error| invalid(&format!("is no address: {error}")))?;
        // A colon within brackets is a part of the address.
        let has_port = authority.rsplit(']').next().is_some_and(|rest| rest.contains(':'));
        if has_port && parsed.port_u16().is_none() {
            return Err(invalid("has a port that is no number from 0 to 65535"));
        }
        let host = if has_port || is_whole { authority } else { format!("{authority}:{DEFAULT_PORT}") };
        if host.contains('@') {
            return Err(invalid("names a user, while a host and a port are expected"));
        }
        Ok(Self { place: Place::Host(host), secure })
    }
}

#[cfg(test)]
mod tests {
    use blobaccess::ErrorKind;

    use super::*;

    #[test]
    fn an_address_is_read_as_its_scheme_or_the_lack_of_one_tells() {
        let host = |host: &str| Place::Host(host.to_owned());
        for (address, place) in [
            ("localhost:8980", host("localhost:8980")),
            (":8980", host("localhost:8980")),
            ("storage-0.storage.buildbarn", host("storage-0.storage.buildbarn:443")),
            ("10.0.0.1:80", host("10.0.0.1:80")),
            ("[::1]:80", host("[::1]:80")),
            ("dns:///cache:8980", host("cache:8980")),
            ("dns:cache:8980", host("cache:8980")),
            ("passthrough:///cache:8980", host("cache:8980")),
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
            assert_eq!(Target::parse(address, false).unwrap(), Target { place: host("cache:1"), secure });
            assert_eq!(Target::parse(address, true).is_ok(), secure, "{address}");
        }
        for bad in [
            "",
            "grpc:/localhost:1",
            "http://",
            "http://:1",
            "http://a b",
            "ftp://host",
            "a b:1",
            "cache:99999",
            "unix:",
            "unix://relative",
            "dns://8.8.8.8/cache:1",
            "dns:///",
            "me@cache:1",
            "cache:",
            "cache:x",
            "http://cache/path",
        ] {
            let error = Target::parse(bad, false).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{bad}: {error}");
        }
    }
}
