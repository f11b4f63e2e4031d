//! How a client encrypts its connections: whom it trusts, and who it is.

use std::sync::Arc;

use blobaccess::{Clock, Error, Result};
use blobaccess_grpc::RemoteTls;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};

use super::cipher_suites::CipherSuites;
use super::key_pair::{KeyPair, parse_certificates};
use crate::section::Section;

/// How a client encrypts its connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientTlsPlan {
    /// The authorities that are trusted in place of those of the system, in PEM.
    authorities: Option<String>,
    cipher_suites: CipherSuites,
    server_name: Option<String>,
    key_pair: Option<KeyPair>,
}

impl ClientTlsPlan {
    /// Reads a `tls.ClientConfiguration`, with the files that it names. Returns `None` if a fault was noted.
    pub(crate) fn read(section: &Section<'_>) -> Option<Self> {
        let authorities = match section.text("server_certificate_authorities") {
            "" => Some(None),
            pem => read_authorities(section, "server_certificate_authorities", pem).map(|_| Some(pem.to_owned())),
        };
        let cipher_suites = CipherSuites::read(section);
        let server_name = match section.text("server_name") {
            "" => Some(None),
            name if ServerName::try_from(name).is_ok() => Some(Some(name.to_owned())),
            _ => {
                section.fault_at("server_name", "is no valid name of a host");
                None
            }
        };
        let key_pair = match section.message("client_key_pair") {
            None => Some(None),
            Some(pair) => KeyPair::read(&pair).map(Some),
        };
        Some(Self {
            authorities: authorities?,
            cipher_suites: cipher_suites?,
            server_name: server_name?,
            key_pair: key_pair?,
        })
    }

    /// Returns the name that the certificate of the server must have, if it is not the host of the address.
    pub(crate) fn server_name(&self) -> Option<&str> {
        self.server_name.as_deref()
    }

    /// Makes the settings of a client of gRPC. Files of a key pair are read again as by [`to_config`](Self::to_config).
    ///
    /// # Errors
    ///
    /// `FailedPrecondition` or `InvalidArgument` if the key pair cannot be read or used.
    pub(super) fn to_remote_tls(&self, clock: &Arc<dyn Clock>) -> Result<RemoteTls> {
        let mut tls = RemoteTls::new().with_cipher_suites(self.cipher_suites.names());
        if let Some(pem) = &self.authorities {
            tls = tls.with_ca_pem(pem.as_str());
        }
        if let Some(name) = &self.server_name {
            tls = tls.with_server_name(name);
        }
        if let Some(pair) = &self.key_pair {
            tls = tls.with_replaceable_client_certificate(pair.to_client_certificate(clock)?);
        }
        Ok(tls)
    }

    /// Makes the settings of `rustls` for a client of HTTP, which offer these protocols, best first.
    ///
    /// Files of a key pair are read again when a connection is made after their interval.
    ///
    /// # Errors
    ///
    /// `FailedPrecondition` or `InvalidArgument` if certificates cannot be read or used.
    pub(crate) fn to_config(&self, protocols: &[&[u8]], clock: &Arc<dyn Clock>) -> Result<Arc<ClientConfig>> {
        let unusable = |error| Error::invalid_argument(format!("TLS cannot be set up: {error}"));
        let builder = ClientConfig::builder_with_provider(Arc::new(self.cipher_suites.provider()));
        let builder = builder.with_safe_default_protocol_versions().map_err(unusable)?;
        let builder = builder.with_root_certificates(self.roots()?);
        let mut config = match &self.key_pair {
            None => builder.with_no_client_auth(),
            Some(pair) => builder.with_client_cert_resolver(Arc::new(pair.to_client_certificate(clock)?)),
        };
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        if let Some(pem) = &self.authorities {
            let unusable =
                |reason| Error::invalid_argument(format!("the certificate of an authority cannot be used: {reason}"));
            for authority in parse_certificates(pem).map_err(unusable)? {
                roots.add(authority).map_err(|error| unusable(error.to_string()))?;
            }
            return Ok(roots);
        }
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "a certificate of the system cannot be read");
        }
        roots.add_parsable_certificates(found.certs);
        Ok(roots)
    }
}

/// Reads authorities in PEM, each of which must be usable. Returns `None` if a fault was noted.
pub(super) fn read_authorities(section: &Section<'_>, name: &str, pem: &str) -> Option<Vec<CertificateDer<'static>>> {
    let usable = parse_certificates(pem).and_then(|authorities| {
        let mut roots = RootCertStore::empty();
        authorities.iter().try_for_each(|authority| roots.add(authority.clone())).map_err(|error| error.to_string())?;
        Ok(authorities)
    });
    match usable {
        Ok(authorities) => Some(authorities),
        Err(reason) => {
            section.fault_at(name, format!("has no authorities that can be used: {reason}"));
            None
        }
    }
}
