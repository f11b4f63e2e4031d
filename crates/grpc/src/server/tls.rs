//! The certificate of a server, and the authority of its clients.

use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, PoisonError, RwLock};

use blobaccess::Result;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio_rustls::TlsAcceptor;

use crate::certificates::{parse_authorities, parse_certified_key, unusable};
use crate::cipher_suites::provider;

/// The beginning of errors about the authority of clients.
const AUTHORITY: &str = "authority of clients cannot be used";

/// The protocol that is agreed on in the handshake: HTTP/2.
const PROTOCOL: &[u8] = b"h2";

/// The certificate and key of a server, and the authority that must have certified its clients, if any.
///
/// Everything is in PEM. `Debug` prints neither. TLS 1.2 and 1.3 are spoken.
#[derive(Clone)]
pub struct ServerTls {
    certificate: CertificateSource,
    clients: ClientCheck,
    cipher_suites: Vec<String>,
}

#[derive(Clone)]
enum CertificateSource {
    Pem { certificate: String, key: String },
    Replaceable(ServerCertificate),
}

/// The certificates that clients are asked for.
#[derive(Clone, PartialEq, Eq)]
enum ClientCheck {
    None,
    /// Certificates of these authorities.
    Required(String),
    /// Any or none, without a check.
    Requested,
}

/// Tells in the extensions of a request that nobody has verified the certificate of the client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnverifiedCertificates;

impl ServerTls {
    /// Uses this certificate, followed by those that lead to a root, and its private key.
    pub fn new(certificate_pem: impl Into<String>, key_pem: impl Into<String>) -> Self {
        Self::over(CertificateSource::Pem { certificate: certificate_pem.into(), key: key_pem.into() })
    }

    /// Uses a certificate that can be replaced while the server runs.
    #[must_use]
    pub fn with_certificate(certificate: ServerCertificate) -> Self {
        Self::over(CertificateSource::Replaceable(certificate))
    }

    fn over(certificate: CertificateSource) -> Self {
        Self { certificate, clients: ClientCheck::None, cipher_suites: Vec::new() }
    }

    /// Requires clients to present a certificate of one of these authorities. By default, no certificate is required.
    #[must_use]
    pub fn with_client_authority(mut self, certificates_pem: impl Into<String>) -> Self {
        self.clients = ClientCheck::Required(certificates_pem.into());
        self
    }

    /// Asks clients for a certificate, and lets them in without one and with any: only that they have its key is
    /// verified. An [`Authenticator`](crate::Authenticator) must decide, by
    /// [`RequestParts::shown_certificates`](crate::RequestParts::shown_certificates).
    ///
    /// This is for servers where a certificate is one of several ways to be known.
    #[must_use]
    pub fn with_requested_client_certificates(mut self) -> Self {
        self.clients = ClientCheck::Requested;
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

    /// Returns what accepts encrypted connections.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if certificate, key, authority or cipher suites cannot be used.
    pub(crate) fn to_acceptor(&self) -> Result<TlsAcceptor> {
        let provider = Arc::new(provider(&self.cipher_suites)?);
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().map_err(unusable("TLS cannot be set up"))?;
        let builder = match &self.clients {
            ClientCheck::None => builder.with_no_client_auth(),
            ClientCheck::Required(pem) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(
                    Arc::new(parse_authorities(pem.as_bytes(), AUTHORITY)?),
                    provider,
                );
                builder.with_client_cert_verifier(verifier.build().map_err(unusable(AUTHORITY))?)
            }
            ClientCheck::Requested => builder.with_client_cert_verifier(Arc::new(AnyCertificate(provider))),
        };
        let certificate = match &self.certificate {
            CertificateSource::Pem { certificate, key } => ServerCertificate::new(certificate, key)?,
            CertificateSource::Replaceable(certificate) => certificate.clone(),
        };
        let mut config = builder.with_cert_resolver(Arc::new(certificate));
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    /// Returns the mark of certificates that nobody has verified, if clients are let in so.
    pub(crate) fn unverified_certificates(&self) -> Option<UnverifiedCertificates> {
        (self.clients == ClientCheck::Requested).then_some(UnverifiedCertificates)
    }
}

impl Debug for ServerTls {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls")
            .field("clients_are_certified", &matches!(self.clients, ClientCheck::Required(_)))
            .field("clients_are_asked", &(self.clients == ClientCheck::Requested))
            .field("cipher_suites", &self.cipher_suites)
            .finish_non_exhaustive()
    }
}

/// The certificate of a server with its key, which can be replaced while the server runs. Clones are the same
/// certificate.
///
/// # Examples
///
/// ```no_run
/// use blobaccess_grpc::{ListenerGroup, ListenerOptions, ServerCertificate, ServerTls};
///
/// # fn read(path: &str) -> std::io::Result<String> { std::fs::read_to_string(path) }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let certificate = ServerCertificate::new(&read("server.crt")?, &read("server.key")?)?;
/// let group = ListenerGroup::new(ListenerOptions::default())
///     .with_address(":8980")
///     .with_tls(ServerTls::with_certificate(certificate.clone()));
/// // Later, when it has been renewed:
/// certificate.replace(&read("server.crt")?, &read("server.key")?)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ServerCertificate {
    current: Arc<RwLock<Arc<CertifiedKey>>>,
}

impl ServerCertificate {
    /// Uses this certificate, followed by those that lead to a root, and its private key, both in PEM.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if one of them cannot be used, or they do not belong together.
    pub fn new(certificate_pem: &str, key_pem: &str) -> Result<Self> {
        Ok(Self { current: Arc::new(RwLock::new(parse(certificate_pem, key_pem)?)) })
    }

    /// Uses another certificate and key from now on, for connections that are made later.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`, as those of [`new`](Self::new). The certificate before is used on.
    pub fn replace(&self, certificate_pem: &str, key_pem: &str) -> Result<()> {
        let key = parse(certificate_pem, key_pem)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = key;
        Ok(())
    }
}

impl ResolvesServerCert for ServerCertificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Debug for ServerCertificate {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerCertificate").finish_non_exhaustive()
    }
}

/// A check that lets in clients with any certificate or none, if they have its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn parse(certificate_pem: &str, key_pem: &str) -> Result<Arc<CertifiedKey>> {
    parse_certified_key(certificate_pem.as_bytes(), key_pem.as_bytes(), "server")
}
