//! Callers by the certificates that they show, as a configuration says it.

use std::sync::Arc;

use blobaccess_grpc::Authenticator;
use rustls::RootCertStore;
use rustls::crypto::ring::default_provider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::certificate_authenticator::CertificateAuthenticator;
use crate::background::Background;
use crate::jmespath::ExpressionPlan;
use crate::section::Section;

/// A policy about certificates: a `buildbarn.configuration.x509.ClientCertificateVerifierConfiguration`.
#[derive(Clone, Debug)]
pub(crate) struct CertificatePlan {
    verifier: Arc<dyn ClientCertVerifier>,
    validation: ExpressionPlan,
    extraction: ExpressionPlan,
}

impl CertificatePlan {
    /// Reads a policy about certificates. `None` if there are faults.
    pub(super) fn read(section: &Section<'_>) -> Option<Self> {
        let verifier = read_verifier(section);
        let expression = |name| section.required(name).and_then(|section| ExpressionPlan::read(&section));
        let validation = expression("validation_jmespath_expression");
        let extraction = expression("metadata_extraction_jmespath_expression");
        Some(Self { verifier: verifier?, validation: validation?, extraction: extraction? })
    }

    /// Returns what identifies callers.
    pub(super) fn build(&self, background: &mut Background) -> Arc<dyn Authenticator> {
        Arc::new(CertificateAuthenticator::new(
            Arc::clone(&self.verifier),
            self.validation.build(background),
            self.extraction.build(background),
            Arc::clone(background.clock()),
        ))
    }
}

/// Reads the authorities of certificates.
fn read_verifier(section: &Section<'_>) -> Option<Arc<dyn ClientCertVerifier>> {
    let name = "client_certificate_authorities";
    let pem = section.required_text(name)?;
    let (mut roots, mut refused) = (RootCertStore::empty(), 0);
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let is_added = certificate.is_ok_and(|certificate| roots.add(certificate).is_ok());
        refused += usize::from(!is_added);
    }
    if roots.is_empty() {
        section.fault_at(name, "has no certificate in PEM that can be used");
        return None;
    }
    if refused > 0 {
        section.notice_at(name, format!("{refused} of its certificates cannot be used, and have no effect"));
    }
    match WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider())).build() {
        Ok(verifier) => Some(verifier),
        Err(error) => {
            section.fault_at(name, format!("cannot be used: {error}"));
            None
        }
    }
}
