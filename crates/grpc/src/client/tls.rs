//! How a remote store proves who it is, and how we do.

use std::fmt::{self, Debug, Formatter};

use blobaccess::{Error, Result};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

/// How TLS is done with a remote store: whom we trust, and who we are.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct RemoteTls {
    ca_pem: Option<Vec<u8>>,
    identity: Option<(Vec<u8>, Vec<u8>)>,
    server_name: Option<String>,
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
        self.identity = Some((certificate_pem.into(), key_pem.into()));
        self
    }

    /// Sets the name that the server's certificate must have: the host of the address unless set.
    #[must_use]
    pub fn with_server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    pub(super) fn apply(&self, endpoint: Endpoint) -> Result<Endpoint> {
        let mut config = match &self.ca_pem {
            Some(pem) => ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)),
            None => ClientTlsConfig::new().with_native_roots(),
        };
        if let Some((certificate, key)) = &self.identity {
            config = config.identity(Identity::from_pem(certificate, key));
        }
        if let Some(name) = &self.server_name {
            config = config.domain_name(name);
        }
        endpoint.tls_config(config).map_err(|error| {
            let reason = super::failure::causes(&error);
            Error::invalid_argument(format!("TLS cannot be set up: {reason}")).with_source(error)
        })
    }
}

impl Debug for RemoteTls {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteTls")
            .field("own_ca", &self.ca_pem.is_some())
            .field("client_certificate", &self.identity.is_some())
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}
