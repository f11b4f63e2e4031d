//! Encrypted connections, and clients that show who they are.

use std::time::Duration;

use blobaccess::{BlobAccess, Context, Digest, DigestFunction, ErrorKind, InstanceName};
use blobaccess_grpc::services::remote_execution::action_cache_client::ActionCacheClient;
use blobaccess_grpc::{Remote, RemoteOptions, RemoteTls, RetryPolicy, ServerTls, ServiceOptions};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tonic::Code;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

use crate::wired::{Server, Wired, get};

pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) certificate_pem: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate_pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), certificate_pem }
    }

    /// Makes a certificate for `name`, and its key.
    pub(crate) fn certify(&self, name: &str) -> (String, String) {
        self.sign(&CertificateParams::new(vec![name.to_owned()]).unwrap())
    }

    /// Makes a certificate of these parameters, and its key.
    pub(crate) fn sign(&self, params: &CertificateParams) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// Makes a call. A client that is not let in tries again, since a handshake that takes too long on a slow machine is
/// cut off.
async fn call(server: &Server, tls: ClientTlsConfig) -> Result<Code, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(format!("https://{}", server.address))?;
    let endpoint = endpoint.tls_config(tls.domain_name("localhost"))?;
    let mut attempts = 1;
    loop {
        let result = match endpoint.connect().await {
            Ok(channel) => Ok(ActionCacheClient::new(channel).get_action_result(get()).await.unwrap_err().code()),
            Err(error) => Err(error),
        };
        if attempts == 4 || matches!(result, Ok(Code::NotFound)) {
            return result;
        }
        attempts += 1;
    }
}

#[tokio::test]
async fn a_client_that_trusts_the_authority_is_served() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (certificate, key) = authority.certify("localhost");
    let server = Wired::new(ServiceOptions::default()).serve(Some(ServerTls::new(certificate, key))).await;
    let trusting = |authority: &Authority| {
        ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&authority.certificate_pem))
    };
    assert_eq!(call(&server, trusting(&authority)).await.unwrap(), Code::NotFound);
    assert!(call(&server, trusting(&other)).await.is_err());
    server.stop().await.unwrap();
}

#[tokio::test]
async fn only_clients_of_the_authority_are_let_in_where_one_is_named() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (certificate, key) = authority.certify("localhost");
    let tls = ServerTls::new(certificate, key).with_client_authority(&*authority.certificate_pem);
    let server = Wired::new(ServiceOptions::default()).serve(Some(tls)).await;
    let trusting = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&authority.certificate_pem));
    let showing = |authority: &Authority| {
        let (certificate, key) = authority.certify("client");
        trusting.clone().identity(Identity::from_pem(certificate, key))
    };
    assert_eq!(call(&server, showing(&authority)).await.unwrap(), Code::NotFound);
    // The handshake of TLS 1.3 is over for a client before the server has looked at its certificate.
    assert_ne!(call(&server, showing(&other)).await.unwrap_or(Code::Unavailable), Code::NotFound);
    assert_ne!(call(&server, trusting.clone()).await.unwrap_or(Code::Unavailable), Code::NotFound);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_no_certificate_is_refused_before_anything_is_served() {
    let (certificate, key) = Authority::new().certify("localhost");
    for tls in [
        ServerTls::new("nonsense", key.clone()),
        ServerTls::new(certificate.clone(), "nonsense"),
        ServerTls::new(certificate, Authority::new().certify("localhost").1),
    ] {
        assert!(!format!("{tls:?}").contains("nonsense"));
        let server = Wired::new(ServiceOptions::default()).serve(Some(tls)).await;
        assert_eq!(server.task.await.unwrap().unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
}

#[tokio::test]
async fn our_client_and_our_server_know_each_other_by_their_certificates() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (certificate, key) = authority.certify("localhost");
    let tls = ServerTls::new(certificate, key).with_client_authority(&*authority.certificate_pem);
    let server = Wired::new(ServiceOptions::default()).serve(Some(tls)).await;
    let (ctx, absent) = (Context::background(), Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"absent"));
    let retry = RetryPolicy::default().with_backoff(Duration::from_millis(1), Duration::from_millis(2));
    let get = async |trusted: &Authority, shown: &Authority| {
        let (certificate, key) = shown.certify("client");
        let tls = RemoteTls::new().with_ca_pem(&*trusted.certificate_pem).with_client_certificate(certificate, key);
        let options = RemoteOptions::new(format!("grpcs://{}", server.address)).with_retry(retry.clone());
        // To be late is `Unavailable` too.
        let options = options.with_connect_timeout(Duration::from_mins(10));
        let remote = Remote::new(options.with_tls(tls.with_server_name("localhost"))).unwrap();
        remote.ac().get(&ctx, &absent).await.unwrap_err().kind()
    };
    assert_eq!(get(&authority, &authority).await, ErrorKind::NotFound);
    // Who is not known is no reason to believe that anything is absent.
    assert_eq!(get(&other, &authority).await, ErrorKind::Unavailable);
    assert_eq!(get(&authority, &other).await, ErrorKind::Unavailable);
    server.stop().await.unwrap();
}
