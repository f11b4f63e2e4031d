//! Certificates and private keys in PEM.

use std::error::Error as StdError;
use std::sync::Arc;

use blobaccess::{Error, Result};
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// Returns a function that makes an error of one that TLS cannot be done with.
pub(crate) fn unusable<E: Into<Box<dyn StdError + Send + Sync>>>(what: impl Into<String>) -> impl FnOnce(E) -> Error {
    let what = what.into();
    move |error| {
        let error = error.into();
        Error::invalid_argument(format!("{what}: {error}")).with_source(error)
    }
}

/// Returns the certificate of `owner`, followed by those that lead to a root, with its private key.
///
/// # Errors
///
/// `InvalidArgument` if one of them cannot be used, or they do not belong together. It does not show the key.
pub(crate) fn parse_certified_key(certificate_pem: &[u8], key_pem: &[u8], owner: &str) -> Result<Arc<CertifiedKey>> {
    let chain = parse_certificates(certificate_pem, &format!("certificate of the {owner} cannot be used"))?;
    // The error would not say more, and must not show the key.
    let key = PrivateKeyDer::from_pem_slice(key_pem);
    let key = key.map_err(|_| Error::invalid_argument(format!("key of the {owner} is no private key in PEM")))?;
    let key = CertifiedKey::from_der(chain, key, &ring::default_provider());
    key.map(Arc::new).map_err(unusable(format!("certificate and key of the {owner} cannot be used")))
}

/// Returns the authorities that are trusted.
///
/// # Errors
///
/// `InvalidArgument`, which begins with `what`, if there is none, or one cannot be used.
pub(crate) fn parse_authorities(pem: &[u8], what: &str) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in parse_certificates(pem, what)? {
        roots.add(certificate).map_err(unusable(what))?;
    }
    Ok(roots)
}

fn parse_certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err(Error::invalid_argument(format!("{what}: no PEM is there"))),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(unusable(what)(error)),
    }
}
