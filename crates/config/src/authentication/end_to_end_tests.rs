//! Policies and authorizers of configurations in front of a server that a client calls.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use blobaccess::decorators::{Authorizers, Authorizing};
use blobaccess::{
    BlobAccess, BlobAccessExt, Cas, Clock, Context, Digest, DigestFunction, ErrorKind, InstanceName, MemoryStore,
    SystemClock,
};
use blobaccess_grpc::tonic::transport::{Channel, Endpoint};
use blobaccess_grpc::{Remote, RemoteOptions, RemoteTls, RetryPolicy, ServerTls, ServiceOptions, Services};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, PKCS_ED25519, SanType,
    SigningKey,
};
use serde_json::{Value, json};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::UnixListenerStream;

use super::AuthenticationPlan;
use crate::authorizers::AuthorizerPlan;
use crate::background::Background;
use crate::section::section_of;

fn authenticator(json: &Value, background: &mut Background) -> Arc<dyn blobaccess_grpc::Authenticator> {
    let name = "buildbarn.configuration.grpc.AuthenticationPolicy";
    let (plan, end) = section_of(&json.to_string(), name, AuthenticationPlan::read);
    plan.unwrap_or_else(|| panic!("{end:?}")).build(background)
}

/// Makes services with this policy. Only callers in the team `ci` may put.
fn services(policy: &Value) -> Services {
    let mut background = Background::new(Arc::new(SystemClock));
    let authenticator = authenticator(policy, &mut background);
    let mut authorizer = |json: Value| {
        let name = "buildbarn.configuration.auth.AuthorizerConfiguration";
        let (plan, end) = section_of(&json.to_string(), name, AuthorizerPlan::read);
        plan.unwrap_or_else(|| panic!("{end:?}")).build(&mut background)
    };
    let is_ci = json!({"jmespathExpression": {"expression": "authenticationMetadata.private.team == 'ci'"}});
    let allow = || json!({"allow": {}});
    let authorizers = Authorizers::new(authorizer(allow()), authorizer(is_ci), authorizer(allow()));
    let store = Authorizing::new(MemoryStore::<Cas>::new(1 << 20), authorizers);
    Services::new(ServiceOptions::default()).with_cas(store).with_authenticator(authenticator)
}

async fn serve(services: Services) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serving = tokio::spawn(async move { services.serve(listener, pending()).await.unwrap() });
    (address, serving)
}

fn options(address: &str) -> RemoteOptions {
    let retry = RetryPolicy::default().with_backoff(Duration::from_millis(1), Duration::from_millis(2));
    // To be late is another error.
    RemoteOptions::new(address).with_retry(retry).with_connect_timeout(Duration::from_mins(10))
}

/// Returns how reading an absent blob, and putting one, ended.
async fn call(remote: &Remote) -> (ErrorKind, Option<ErrorKind>) {
    let (ctx, cas) = (Context::background(), remote.cas());
    let digest = |contents: &str| Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents.as_bytes());
    let got = cas.get(&ctx, &digest("absent")).await;
    let got = match got {
        Ok(blob) => blob.into_bytes(1 << 10).await.unwrap_err().kind(),
        Err(error) => error.kind(),
    };
    (got, cas.put_bytes(&ctx, &digest("contents"), "contents").await.err().map(|error| error.kind()))
}

const MAY_PUT: (ErrorKind, Option<ErrorKind>) = (ErrorKind::NotFound, None);
const MAY_NOT_PUT: (ErrorKind, Option<ErrorKind>) = (ErrorKind::NotFound, Some(ErrorKind::PermissionDenied));
const REFUSED: (ErrorKind, Option<ErrorKind>) = (ErrorKind::Unauthenticated, Some(ErrorKind::Unauthenticated));

#[tokio::test]
async fn a_policy_decides_about_calls_and_an_authorizer_by_its_metadata() {
    for (policy, expected) in [
        (json!({"allow": {"private": {"team": "ci"}}}), MAY_PUT),
        (json!({"allow": {"public": {"team": "ci"}}}), MAY_NOT_PUT),
        (json!({"deny": "closed"}), REFUSED),
    ] {
        let (address, serving) = serve(services(&policy)).await;
        let remote = Remote::new(options(&format!("grpc://{address}"))).unwrap();
        assert_eq!(call(&remote).await, expected, "{policy}");
        serving.abort();
    }
}

#[tokio::test]
async fn callers_are_known_by_their_tokens() {
    let (pair, other) = (KeyPair::generate_for(&PKCS_ED25519).unwrap(), KeyPair::generate_for(&PKCS_ED25519).unwrap());
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let sign = |pair: &KeyPair, payload: Value| {
        let header = encode(json!({"alg": "EdDSA"}).to_string().as_bytes());
        let signed = format!("{header}.{}", encode(payload.to_string().as_bytes()));
        let signature = pair.sign(signed.as_bytes()).unwrap();
        format!("Bearer {signed}.{}", encode(&signature))
    };
    let key = json!({"kty": "OKP", "crv": "Ed25519", "x": encode(pair.public_key_raw())});
    let policy = json!({"any": {"policies": [{"jwt": {
        "jwksInline": {"keys": [key]},
        "maximumCacheSize": 10,
        "cacheReplacementPolicy": "LEAST_RECENTLY_USED",
        "claimsValidationJmespathExpression": {"expression": "payload.aud == 'cache'"},
        "metadataExtractionJmespathExpression": {"expression": "{private: {team: payload.team}, odd: payload.odd} | \
            !odd && {private: private} || @"},
    }}]}});
    let (address, serving) = serve(services(&policy)).await;
    let now = SystemClock.now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    for (token, expected) in [
        (sign(&pair, json!({"aud": "cache", "team": "ci"})), MAY_PUT),
        (sign(&pair, json!({"aud": "cache", "team": "ci", "exp": now + 10_000, "nbf": now - 10})), MAY_PUT),
        (sign(&pair, json!({"aud": "cache", "team": "other"})), MAY_NOT_PUT),
        (sign(&pair, json!({"aud": "cache"})), MAY_NOT_PUT),
        (sign(&pair, json!({"aud": "elsewhere", "team": "ci"})), REFUSED),
        (sign(&pair, json!({"aud": "cache", "team": "ci", "exp": now - 10})), REFUSED),
        (sign(&pair, json!({"aud": "cache", "team": "ci", "nbf": now + 10_000})), REFUSED),
        (sign(&other, json!({"aud": "cache", "team": "ci"})), REFUSED),
        // The metadata has an unknown field.
        (sign(&pair, json!({"aud": "cache", "team": "ci", "odd": true})), REFUSED),
        ("Basic abc".to_owned(), REFUSED),
    ] {
        let options = options(&format!("grpc://{address}")).with_header("authorization", token.clone());
        assert_eq!(call(&Remote::new(options).unwrap()).await, expected, "{token}");
    }
    assert_eq!(call(&Remote::new(options(&format!("grpc://{address}"))).unwrap()).await, REFUSED);
    serving.abort();
}

/// An authority that certifies names.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn certify(&self, names: Vec<SanType>, usage: Option<ExtendedKeyUsagePurpose>) -> (String, String) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = names;
        params.extended_key_usages.extend(usage);
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

#[tokio::test]
async fn callers_are_known_by_their_certificates() {
    let (authority, other) = (Authority::new(), Authority::new());
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let policy = json!({"any": {"policies": [
        {"tlsClientCertificate": {
            "clientCertificateAuthorities": authority.pem,
            "validationJmespathExpression": {
                "expression": "length(emailAddresses[?ends_with(@, '@example.com')]) == `1`",
            },
            "metadataExtractionJmespathExpression": {
                "expression": "{public: {user: emailAddresses[0], dns: dnsNames}, private: {team: uris[0]}}",
            },
        }},
        {"deny": "show a certificate"},
    ]}});
    let (certificate, key) = authority.certify(vec![dns("localhost")], None);
    let tls = ServerTls::new(certificate, key).with_requested_client_certificates();
    let (address, serving) = serve(services(&policy).with_tls(tls)).await;
    let email = |name: &str| SanType::Rfc822Name(name.try_into().unwrap());
    let uri = |name: &str| SanType::URI(name.try_into().unwrap());
    let client_auth = Some(ExtendedKeyUsagePurpose::ClientAuth);
    let ci = || vec![email("a@example.com"), uri("ci"), dns("a.example.com")];
    for (shown, expected) in [
        (Some(authority.certify(ci(), client_auth.clone())), MAY_PUT),
        (Some(authority.certify(ci(), None)), MAY_PUT),
        (Some(authority.certify(vec![email("a@example.com"), uri("x")], client_auth.clone())), MAY_NOT_PUT),
        (Some(authority.certify(vec![email("a@elsewhere.com"), uri("ci")], client_auth.clone())), REFUSED),
        (Some(authority.certify(Vec::new(), client_auth.clone())), REFUSED),
        (Some(authority.certify(ci(), Some(ExtendedKeyUsagePurpose::ServerAuth))), REFUSED),
        (Some(other.certify(ci(), client_auth)), REFUSED),
        (None, REFUSED),
    ] {
        let mut tls = RemoteTls::new().with_ca_pem(&*authority.pem).with_server_name("localhost");
        if let Some((certificate, key)) = shown {
            tls = tls.with_client_certificate(certificate, key);
        }
        let remote = Remote::new(options(&format!("grpcs://{address}")).with_tls(tls)).unwrap();
        assert_eq!(call(&remote).await, expected);
    }
    serving.abort();
}

#[tokio::test]
async fn callers_at_a_unix_socket_are_known_by_their_users() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let own = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(folder.path()).unwrap());
    let policy = |uid: u32| {
        let team = format!("{{private: {{team: uid == `{uid}` && length(groups) == `1` && 'ci' || 'other'}}}}");
        json!({"peerCredentialsJmespathExpression": {"expression": team}})
    };
    for (uid, expected) in [(own, MAY_PUT), (own.wrapping_add(1), MAY_NOT_PUT)] {
        let listener = UnixListenerStream::new(UnixListener::bind(&path).unwrap());
        let services = services(&policy(uid));
        let serving = tokio::spawn(async move { services.serve_incoming(listener, pending()).await.unwrap() });
        let channel: Channel = Endpoint::from_shared(format!("unix://{}", path.display())).unwrap().connect_lazy();
        let remote = Remote::with_channels(options("grpc://localhost"), [channel]).unwrap();
        assert_eq!(call(&remote).await, expected);
        serving.abort();
        std::fs::remove_file(&path).unwrap();
    }
    let (address, serving) = serve(services(&policy(own))).await;
    assert_eq!(call(&Remote::new(options(&format!("grpc://{address}"))).unwrap()).await, REFUSED);
    serving.abort();
}
