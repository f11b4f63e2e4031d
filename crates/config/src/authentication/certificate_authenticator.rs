//! Identifies callers by the certificates that they show.

use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use blobaccess::{Clock, Digest, DigestFunction, Error, ErrorKind, InstanceName, Result};
use blobaccess_grpc::{Authenticator, Identity, RequestParts};
use lru::LruCache;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::{CertificateDer, UnixTime};
use serde_json::{Value, json};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::AuthenticationMetadata;
use crate::jmespath::{Expression, Node, node_of};

/// The number of chains of certificates that are remembered.
const REMEMBERED_CHAINS: usize = 1000;

/// The time for which a chain of certificates is remembered as good.
const REMEMBERED_FOR: Duration = Duration::from_mins(1);

/// A policy that serves clients that show a certificate of certain authorities, with names that an expression is true
/// for. Another expression extracts metadata from these names.
///
/// A chain that was found good is not verified again within a minute.
pub(super) struct CertificateAuthenticator {
    verifier: Arc<dyn ClientCertVerifier>,
    validation: Expression,
    extraction: Expression,
    clock: Arc<dyn Clock>,
    /// The identities by the hashes of chains, and the times that these were found good at.
    known: Mutex<LruCache<Digest, (Instant, Identity)>>,
}

impl CertificateAuthenticator {
    /// Serves clients with certificates that `verifier` accepts.
    pub(super) fn new(
        verifier: Arc<dyn ClientCertVerifier>,
        validation: Expression,
        extraction: Expression,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { verifier, validation, extraction, clock, known: Mutex::new(LruCache::unbounded()) }
    }

    fn recall(&self, chain: &Digest, now: Instant) -> Option<Identity> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, identity) = known.get(chain)?;
        (now.saturating_duration_since(*since) < REMEMBERED_FOR).then(|| identity.clone())
    }

    fn remember(&self, chain: Digest, now: Instant, identity: Identity) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.put(chain, (now, identity));
        while known.len() > REMEMBERED_CHAINS {
            known.pop_lru();
        }
    }

    fn verify(&self, own: &[u8], others: &[Vec<u8>]) -> Result<Identity> {
        let refused = |reason: String| Error::new(ErrorKind::Unauthenticated, reason);
        let since_epoch = self.clock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (certificate, now) = (CertificateDer::from(own), UnixTime::since_unix_epoch(since_epoch));
        let others: Vec<_> = others.iter().map(|other| CertificateDer::from(other.as_slice())).collect();
        let verified = self.verifier.verify_client_cert(&certificate, &others, now);
        verified.map_err(|error| refused(format!("client certificate is not valid: {error}")))?;
        let names = names_in(own).map_err(|()| refused("client certificate cannot be decoded".to_owned()))?;
        let input = || ["dnsNames", "emailAddresses", "uris"].into_iter().zip(names.iter().map(Node::clone));
        if !self.validation.is_true(input()) {
            return Err(refused("names of the client certificate are not those that are asked for".to_owned()));
        }
        let metadata = self.extraction.evaluate_to_json(input());
        let metadata = metadata.and_then(|metadata| AuthenticationMetadata::of_json(&metadata));
        metadata.map(AuthenticationMetadata::into_identity).map_err(|error| {
            tracing::warn!(error, "no metadata can be extracted from a client certificate");
            refused("no metadata can be extracted from the client certificate".to_owned())
        })
    }
}

/// Returns the names of DNS, the email addresses and the URIs among the alternative names in a certificate.
fn names_in(certificate: &[u8]) -> Result<[Node; 3], ()> {
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|_| ())?;
    let names = certificate.subject_alternative_name().map_err(|_| ())?;
    let names = names.as_ref().map(|names| names.value.general_names.as_slice()).unwrap_or_default();
    let list = |select: fn(&GeneralName<'_>) -> Option<String>| {
        node_of(&Value::Array(names.iter().filter_map(select).map(|name| json!(name)).collect()))
    };
    Ok([
        list(|name| if let GeneralName::DNSName(name) = name { Some((*name).to_owned()) } else { None }),
        list(|name| if let GeneralName::RFC822Name(name) = name { Some((*name).to_owned()) } else { None }),
        list(|name| if let GeneralName::URI(name) = name { Some((*name).to_owned()) } else { None }),
    ])
}

#[async_trait]
impl Authenticator for CertificateAuthenticator {
    async fn authenticate(&self, request: &RequestParts<'_>) -> Result<Identity> {
        let certificates = request.shown_certificates();
        let Some((own, others)) = certificates.split_first() else {
            return Err(Error::new(ErrorKind::Unauthenticated, "no client certificate was shown"));
        };
        // Each certificate tells its own length.
        let chain = Digest::of(InstanceName::empty(), DigestFunction::Sha256, &certificates.concat());
        let now = self.clock.monotonic();
        if let Some(identity) = self.recall(&chain, now) {
            return Ok(identity);
        }
        let identity = self.verify(own, others)?;
        self.remember(chain, now, identity.clone());
        Ok(identity)
    }
}

impl Debug for CertificateAuthenticator {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateAuthenticator").field("validation", &self.validation).finish_non_exhaustive()
    }
}
