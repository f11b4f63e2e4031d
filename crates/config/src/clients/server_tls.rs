//! How a server encrypts its connections.

use std::sync::Arc;

use blobaccess::Result;
use blobaccess_grpc::{ServerCertificate, ServerTls};

use super::cipher_suites::CipherSuites;
use super::key_pair::KeyPair;
use crate::background::Background;
use crate::section::Section;

/// The certificate of a server, and the cipher suites that it offers.
#[derive(Clone, Debug)]
pub(crate) struct ServerTlsPlan {
    key_pair: KeyPair,
    cipher_suites: CipherSuites,
}

impl ServerTlsPlan {
    /// Reads a `tls.ServerConfiguration`, with the files that it names. Returns `None` if a fault was noted.
    pub(crate) fn read(section: &Section<'_>) -> Option<Self> {
        let cipher_suites = CipherSuites::read(section);
        let key_pair = section.required("server_key_pair").and_then(|pair| KeyPair::read(&pair));
        Some(Self { key_pair: key_pair?, cipher_suites: cipher_suites? })
    }

    /// Makes the settings of a server. Files of the certificate are read again in the background.
    ///
    /// # Errors
    ///
    /// `FailedPrecondition` or `InvalidArgument` if the certificate or its key cannot be read or used.
    pub(crate) fn build(&self, background: &mut Background) -> Result<ServerTls> {
        let (certificate, key) = self.key_pair.load_pem()?;
        let current = ServerCertificate::new(&certificate, &key)?;
        if let Some(interval) = self.key_pair.interval() {
            let (pair, replaced) = (Arc::new(self.key_pair.clone()), current.clone());
            background.add_job(interval, move || {
                let renewed = pair.load_pem().and_then(|(certificate, key)| replaced.replace(&certificate, &key));
                if let Err(error) = renewed {
                    tracing::warn!(%error, "the certificate of the server cannot be read again");
                }
            });
        }
        Ok(ServerTls::with_certificate(current).with_cipher_suites(self.cipher_suites.names()))
    }
}
