//! The certificate of a server, and the authority of its clients.

use std::fmt::{self, Debug, Formatter};
use std::time::Duration;

use blobaccess::{Error, Result};
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

/// The time that a client has for the TLS handshake before its connection is dropped.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The certificate and key of a server, and the authority that must have certified its clients, if any.
///
/// Everything is in PEM. `Debug` prints neither.
#[derive(Clone)]
pub struct ServerTls {
    certificate: String,
    key: String,
    client_authority: Option<String>,
}

impl ServerTls {
    /// Uses this certificate, followed by those that lead to a root, and its private key.
    pub fn new(certificate_pem: impl Into<String>, key_pem: impl Into<String>) -> Self {
        Self { certificate: certificate_pem.into(), key: key_pem.into(), client_authority: None }
    }

    /// Requires clients to present a certificate of one of these authorities. By default, no certificate is required.
    #[must_use]
    pub fn with_client_authority(mut self, certificates_pem: impl Into<String>) -> Self {
        self.client_authority = Some(certificates_pem.into());
        self
    }

    /// Converts the settings to those of tonic.
    pub(crate) fn to_config(&self) -> ServerTlsConfig {
        let identity = Identity::from_pem(&self.certificate, &self.key);
        let config = ServerTlsConfig::new().identity(identity).timeout(HANDSHAKE_TIMEOUT);
        match &self.client_authority {
            Some(authority) => config.client_ca_root(Certificate::from_pem(authority)),
            None => config,
        }
    }

    /// Converts the error of settings that cannot be used.
    pub(crate) fn unusable<T>(error: tonic::transport::Error) -> Result<T> {
        Err(Error::invalid_argument("certificate, key or authority of the server cannot be used").with_source(error))
    }
}

impl Debug for ServerTls {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls")
            .field("clients_are_certified", &self.client_authority.is_some())
            .finish_non_exhaustive()
    }
}
