//! The part of a request that an authenticator sees.

use std::net::SocketAddr;

use tonic::Extensions;
use tonic::transport::server::TcpConnectInfo;
#[cfg(feature = "tls")]
use tonic::transport::server::TlsConnectInfo;
#[cfg(unix)]
use tonic::transport::server::UdsConnectInfo;

#[cfg(feature = "tls")]
use crate::server::tls::UnverifiedCertificates;

/// The user and the group that a process runs as, by their numbers.
#[cfg(unix)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PeerUser {
    /// The number of the user.
    pub uid: u32,
    /// The number of the user's group.
    pub gid: u32,
}

/// The part of a request that an [`Authenticator`](super::Authenticator) sees: everything but the message.
#[derive(Debug)]
pub struct RequestParts<'a> {
    parts: &'a http::request::Parts,
}

impl<'a> RequestParts<'a> {
    /// Makes the part of a request that is `parts`, such as a request to a server of HTTP beside the services.
    #[must_use]
    pub const fn new(parts: &'a http::request::Parts) -> Self {
        Self { parts }
    }

    /// Returns the path of the method, such as `/build.bazel.remote.execution.v2.ActionCache/GetActionResult`.
    #[must_use]
    pub fn method_path(&self) -> &str {
        self.parts.uri.path()
    }

    /// Returns the first value of the request metadata `name`; `None` if it is absent or is not visible ASCII.
    ///
    /// Names are in lower case. A value whose name ends in `-bin` is returned in Base64, as it was sent.
    #[must_use]
    pub fn metadata(&self, name: &str) -> Option<&str> {
        self.parts.headers.get(name)?.to_str().ok()
    }

    /// Returns all values of the request metadata `name` that are visible ASCII, in their order.
    pub fn metadata_values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.parts.headers.get_all(name).iter().filter_map(|value| value.to_str().ok())
    }

    /// Returns the token of an `authorization: Bearer TOKEN`; `None` if the request has no such metadata.
    #[must_use]
    pub fn bearer_token(&self) -> Option<&str> {
        bearer_token(self.metadata("authorization")?)
    }

    /// Returns the tokens of all metadata `authorization: Bearer TOKEN`, in their order.
    pub fn bearer_tokens(&self) -> impl Iterator<Item = &str> {
        self.metadata_values("authorization").filter_map(bearer_token)
    }

    /// Returns the DER of the certificate that the client has shown, which the server has verified.
    ///
    /// `None` if the connection is not encrypted by this server, if the server did not verify certificates
    /// ([`ServerTls::with_client_authority`](crate::ServerTls::with_client_authority)), or if the connection is neither
    /// TCP nor a UNIX socket nor a stream without addresses.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn peer_certificate(&self) -> Option<Vec<u8>> {
        if self.parts.extensions.get::<UnverifiedCertificates>().is_some() {
            return None;
        }
        self.shown_certificates().into_iter().next()
    }

    /// Returns the DER of all certificates that the client has shown, its own first; none if it has shown none.
    ///
    /// They are verified only where [`peer_certificate`](Self::peer_certificate) returns one. With
    /// [`ServerTls::with_requested_client_certificates`](crate::ServerTls::with_requested_client_certificates), all that
    /// is known is that the client has the key of the first.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn shown_certificates(&self) -> Vec<Vec<u8>> {
        let extensions = &self.parts.extensions;
        let certificates = extensions.get::<TlsConnectInfo<TcpConnectInfo>>().and_then(TlsConnectInfo::peer_certs);
        #[cfg(unix)]
        let certificates = certificates
            .or_else(|| extensions.get::<TlsConnectInfo<UdsConnectInfo>>().and_then(TlsConnectInfo::peer_certs));
        let certificates =
            certificates.or_else(|| extensions.get::<TlsConnectInfo<()>>().and_then(TlsConnectInfo::peer_certs));
        certificates.iter().flat_map(|all| all.iter()).map(|certificate| certificate.to_vec()).collect()
    }

    /// Returns the address of the client, if it is connected by TCP.
    #[must_use]
    pub fn remote_address(&self) -> Option<SocketAddr> {
        let plain = self.parts.extensions.get::<TcpConnectInfo>();
        #[cfg(feature = "tls")]
        let plain = plain
            .or_else(|| self.parts.extensions.get::<TlsConnectInfo<TcpConnectInfo>>().map(TlsConnectInfo::get_ref));
        plain?.remote_addr()
    }

    /// Returns the user and the group that the client's process runs as, by their numbers, if it is connected by a UNIX
    /// socket.
    #[cfg(unix)]
    #[must_use]
    pub fn peer_user(&self) -> Option<PeerUser> {
        let plain = self.parts.extensions.get::<UdsConnectInfo>();
        #[cfg(feature = "tls")]
        let plain = plain
            .or_else(|| self.parts.extensions.get::<TlsConnectInfo<UdsConnectInfo>>().map(TlsConnectInfo::get_ref));
        let credentials = plain?.peer_cred?;
        Some(PeerUser { uid: credentials.uid(), gid: credentials.gid() })
    }

    /// Returns the extensions of the request: what tonic and layers in front of the services have put there.
    #[must_use]
    pub const fn extensions(&self) -> &Extensions {
        &self.parts.extensions
    }
}

/// Returns the token in the value of `authorization`, if it has one.
fn bearer_token(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start_matches(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_is_what_follows_the_scheme() {
        let token = |value: &str| {
            let request = http::Request::builder().header("authorization", value).body(()).unwrap();
            RequestParts::new(&request.into_parts().0).bearer_token().map(str::to_owned)
        };
        assert_eq!(token("Bearer abc").as_deref(), Some("abc"));
        assert_eq!(token("bearer  a b").as_deref(), Some("a b"));
        for other in ["Basic abc", "Bearer", "", "abc"] {
            assert_eq!(token(other), None, "{other}");
        }
    }
}
