//! Identifies callers by their certificates.

use async_trait::async_trait;
use blobaccess::{Caller, Error, ErrorKind, Result};
use rustls_pki_types::CertificateDer;
use webpki::EndEntityCert;

use super::common_name::common_name;
use super::{Authenticator, Identity, RequestParts};

/// The name in a certificate that becomes the name of the [`Caller`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CertificateName {
    /// The common name (CN) of the subject.
    CommonName,
    /// The first DNS name among the subject's alternative names.
    DnsName,
    /// The first URI among the subject's alternative names, such as a SPIFFE ID.
    Uri,
}

/// An [`Authenticator`] that knows callers by the certificates that they show.
///
/// It is of use only with [`ServerTls::with_client_authority`](crate::ServerTls::with_client_authority): that is what
/// asks clients for certificates and verifies them. A request without a certificate, or whose certificate lacks the
/// name, is refused with `Unauthenticated`.
///
/// # Examples
///
/// ```
/// use blobaccess_grpc::{CertificateName, ClientCertificates, ServerTls, ServiceOptions, Services};
///
/// # fn services(certificate: &str, key: &str, authority: &str) -> Services {
/// Services::new(ServiceOptions::default())
///     .with_tls(ServerTls::new(certificate, key).with_client_authority(authority))
///     .with_authenticator(ClientCertificates::new(CertificateName::CommonName))
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ClientCertificates {
    name: CertificateName,
}

impl ClientCertificates {
    /// Makes an authenticator whose callers are called as `name` of their certificates.
    #[must_use]
    pub const fn new(name: CertificateName) -> Self {
        Self { name }
    }

    fn name_in(self, certificate: &EndEntityCert<'_>) -> Option<String> {
        match self.name {
            CertificateName::CommonName => common_name(certificate.subject()),
            CertificateName::DnsName => certificate.valid_dns_names().next().map(str::to_owned),
            CertificateName::Uri => certificate.valid_uri_names().next().map(str::to_owned),
        }
    }
}

#[async_trait]
impl Authenticator for ClientCertificates {
    async fn authenticate(&self, request: &RequestParts<'_>) -> Result<Identity> {
        let refused = |reason: String| Error::new(ErrorKind::Unauthenticated, reason);
        let der = request.peer_certificate().ok_or_else(|| refused("no client certificate was shown".to_owned()))?;
        let der = CertificateDer::from(der);
        let certificate = EndEntityCert::try_from(&der)
            .map_err(|error| refused(format!("client certificate cannot be decoded: {error}")))?;
        let name = self.name_in(&certificate).filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| refused(format!("client certificate has no {:?}", self.name)))?;
        Ok(Identity::new(Caller::new(name)))
    }
}
