//! How a remote store proves who it is, and how we do.

use std::fmt::{self, Debug, Formatter};
use std::io;
use std::sync::Arc;

use blobaccess::{Error, Result};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::client_certificate::ClientCertificate;
use crate::certificates::{parse_authorities, unusable};
use crate::cipher_suites::provider;

/// The protocol that is agreed on in the handshake: HTTP/2.
const PROTOCOL: &[u8] = b"h2";

/// How TLS is done with a remote store: whom we trust, and who we are. TLS 1.2 and 1.3 are spoken.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RemoteTls {
    ca_pem: Option<Vec<u8>>,
    identity: Option<Identity>,
    server_name: Option<String>,
    cipher_suites: Vec<String>,
}

#[derive(Clone, PartialEq, Eq)]
enum Identity {
    Pem { certificate: Vec<u8>, key: Vec<u8> },
    Replaceable(ClientCertificate),
}

impl RemoteTls {
    /// Trusts the roots of the system.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts these authorities, in PEM, in place of the roots of the system.
    #[must_use]
    pub fn with_ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.ca_pem = Some(pem.into());
        self
    }

    /// Shows the server this certificate, of which we have the key, both in PEM.
    #[must_use]
    pub fn with_client_certificate(mut self, certificate_pem: impl Into<Vec<u8>>, key_pem: impl Into<Vec<u8>>) -> Self {
        self.identity = Some(Identity::Pem { certificate: certificate_pem.into(), key: key_pem.into() });
        self
    }

    /// Shows the server a certificate that can be replaced while connections are in use, or that is read again from time
    /// to time.
    #[must_use]
    pub fn with_replaceable_client_certificate(mut self, certificate: ClientCertificate) -> Self {
        self.identity = Some(Identity::Replaceable(certificate));
        self
    }

    /// Sets the name that the server's certificate must have: the host of the address unless set.
    #[must_use]
    pub fn with_server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Restricts the cipher suites of TLS 1.2 to these, by their names of IANA such as
    /// `TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`. Those of TLS 1.3 are always offered. Without a name, the default, all
    /// are.
    #[must_use]
    pub fn with_cipher_suites<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.cipher_suites = names.into_iter().map(Into::into).collect();
        self
    }

    /// Returns how connections to `host` are encrypted.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if certificates, their key, the name or the cipher suites cannot be used.
    pub(super) fn encryption(&self, host: &str) -> Result<Encryption> {
        let name = self.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| Error::invalid_argument(format!("{name:?} is no name that a certificate can have")))?;
        let builder = ClientConfig::builder_with_provider(Arc::new(provider(&self.cipher_suites)?));
        let builder = builder.with_safe_default_protocol_versions().map_err(unusable("TLS cannot be set up"))?;
        let builder = builder.with_root_certificates(self.roots()?);
        let certificate = match &self.identity {
            None => None,
            Some(Identity::Pem { certificate, key }) => Some(ClientCertificate::new(certificate, key)?),
            Some(Identity::Replaceable(certificate)) => Some(certificate.clone()),
        };
        let mut config = match certificate {
            None => builder.with_no_client_auth(),
            Some(certificate) => builder.with_client_cert_resolver(Arc::new(certificate)),
        };
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(Encryption { config: Arc::new(config), name })
    }

    fn roots(&self) -> Result<RootCertStore> {
        if let Some(pem) = &self.ca_pem {
            return parse_authorities(pem, "authority of the server cannot be used");
        }
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "a certificate of the system cannot be read");
        }
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        Ok(roots)
    }
}

impl Debug for RemoteTls {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteTls")
            .field("own_ca", &self.ca_pem.is_some())
            .field("client_certificate", &self.identity.is_some())
            .field("server_name", &self.server_name)
            .field("cipher_suites", &self.cipher_suites)
            .finish_non_exhaustive()
    }
}

/// How the connections to a server are encrypted.
pub(super) struct Encryption {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Encryption {
    /// Encrypts `stream`.
    ///
    /// # Errors
    ///
    /// Those of the handshake, and one if the server does not speak HTTP/2.
    pub(super) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> io::Result<TlsStream<S>> {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let stream = connector.connect(self.name.clone(), stream).await?;
        if stream.get_ref().1.alpn_protocol() != Some(PROTOCOL) {
            return Err(io::Error::other("the server did not agree to HTTP/2 in the TLS handshake"));
        }
        Ok(stream)
    }
}
