//! Certificates with their private keys.

use std::fmt::{self, Debug, Formatter};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use blobaccess::{Clock, Error, Result};
use blobaccess_grpc::ClientCertificate;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::section::Section;

/// Where a certificate and its private key are.
#[derive(Clone)]
pub(super) enum KeyPair {
    /// In the configuration, in PEM.
    Inline { certificate: String, key: String },
    /// In files, which are read again after each interval.
    Files { certificate: PathBuf, key: PathBuf, interval: Duration },
}

impl KeyPair {
    /// Reads an `X509KeyPair`, with the files that it names. Returns `None` if a fault was noted.
    pub(super) fn read(section: &Section<'_>) -> Option<Self> {
        match section.member("key_pair") {
            Some("inline") => {
                let inline = section.message("inline")?;
                let certificate = inline.required_text("certificate");
                let key = inline.required_text("private_key");
                let pair = Self::Inline { certificate: certificate?.to_owned(), key: key?.to_owned() };
                pair.check(&inline)
            }
            Some("files") => {
                let files = section.message("files")?;
                let certificate = files.required_text("certificate_path");
                let key = files.required_text("private_key_path");
                let interval = files.required_duration("refresh_interval");
                if interval.is_some_and(|interval| interval.is_zero()) {
                    files.fault_at("refresh_interval", "must be positive");
                    return None;
                }
                let pair = Self::Files { certificate: certificate?.into(), key: key?.into(), interval: interval? };
                pair.check(&files)
            }
            Some(_) | None => {
                section.fault("must have inline or files");
                None
            }
        }
    }

    fn check(self, section: &Section<'_>) -> Option<Self> {
        match self.load() {
            Ok(_) => Some(self),
            Err(error) => {
                section.fault(error.message());
                None
            }
        }
    }

    /// Makes the certificate that a client shows. Files are read again when a connection is made after their interval.
    ///
    /// # Errors
    ///
    /// As those of [`load`](Self::load).
    pub(super) fn to_client_certificate(&self, clock: &Arc<dyn Clock>) -> Result<ClientCertificate> {
        match self.interval() {
            None => {
                let (certificate, key) = self.load_pem()?;
                ClientCertificate::new(certificate, key)
            }
            Some(interval) => {
                let pair = self.clone();
                ClientCertificate::read_every(interval, Arc::clone(clock), move || pair.load_pem())
            }
        }
    }

    /// Returns the interval after which files are read again.
    pub(super) fn interval(&self) -> Option<Duration> {
        match self {
            Self::Inline { .. } => None,
            Self::Files { interval, .. } => Some(*interval),
        }
    }

    /// Returns certificate and key in PEM, as they are now.
    ///
    /// # Errors
    ///
    /// `FailedPrecondition` if a file cannot be read.
    pub(super) fn load_pem(&self) -> Result<(String, String)> {
        match self {
            Self::Inline { certificate, key } => Ok((certificate.clone(), key.clone())),
            Self::Files { certificate, key, .. } => Ok((read_file(certificate)?, read_file(key)?)),
        }
    }

    /// Returns certificate and key, as they are now.
    ///
    /// # Errors
    ///
    /// As [`load_pem`](Self::load_pem). `InvalidArgument` if they cannot be used, or do not belong together.
    fn load(&self) -> Result<Arc<CertifiedKey>> {
        let (certificate, key) = self.load_pem()?;
        let chain = parse_certificates(&certificate)
            .map_err(|reason| Error::invalid_argument(format!("has a certificate that cannot be used: {reason}")))?;
        // The error would not say more, and must not show the key.
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
            .map_err(|_| Error::invalid_argument("has a private key that is not one in PEM"))?;
        let provider = rustls::crypto::ring::default_provider();
        let key = CertifiedKey::from_der(chain, key, &provider).map_err(|error| {
            Error::invalid_argument(format!("has a certificate and a private key that cannot be used: {error}"))
        })?;
        Ok(Arc::new(key))
    }
}

impl Debug for KeyPair {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline { .. } => f.debug_struct("Inline").finish_non_exhaustive(),
            Self::Files { certificate, .. } => {
                f.debug_struct("Files").field("certificate", certificate).finish_non_exhaustive()
            }
        }
    }
}

fn read_file(path: &std::path::Path) -> Result<String> {
    std::fs::read_to_string(path)
        .map_err(|error| Error::failed_precondition(format!("names {}, which cannot be read: {error}", path.display())))
}

/// Returns the certificates in a text of PEM, of which there must be one.
pub(super) fn parse_certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err("no certificate in PEM is there".to_owned()),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(error.to_string()),
    }
}
