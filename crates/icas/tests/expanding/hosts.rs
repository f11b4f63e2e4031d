//! References lead only to servers that are allowed.

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use blobaccess::{Error, ErrorKind, Result};
use blobaccess_icas::{AllowedHosts, ExpandingOptions, NameResolver, Reference};
use futures::FutureExt;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use crate::server::{Answer, Server};
use crate::{options, read_by, store, store_without_hosts};

/// A resolver that answers with the next of its answers each time, and with the last one from then on.
#[derive(Debug)]
struct ScriptedResolver {
    answers: Mutex<Vec<Vec<&'static str>>>,
    lookups: AtomicUsize,
}

impl ScriptedResolver {
    fn new<const N: usize>(answers: [&[&'static str]; N]) -> Arc<Self> {
        let answers = answers.iter().rev().map(|answer| answer.to_vec()).collect();
        Arc::new(Self { answers: Mutex::new(answers), lookups: AtomicUsize::new(0) })
    }
}

#[async_trait]
impl NameResolver for ScriptedResolver {
    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>> {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        let mut answers = self.answers.lock().unwrap();
        let answer = if answers.len() > 1 { answers.pop() } else { answers.last().cloned() };
        let addresses = answer.ok_or_else(|| Error::unavailable(format!("no server knows {name}")))?;
        Ok(addresses.iter().map(|address| address.parse().unwrap()).collect())
    }
}

#[tokio::test]
async fn nobody_is_asked_who_is_not_allowed() {
    let server = Server::having("hello").await;
    let port = server.address.port();
    let store = store_without_hosts();
    let urls = [
        server.url("/a"),
        format!("http://localhost:{port}/a"),
        format!("http://0.0.0.0:{port}/a"),
        format!("http://[::ffff:127.0.0.1]:{port}/a"),
        format!("http://2130706433:{port}/a"),
    ];
    for url in &urls {
        let error = read_by(&store, "hello", Reference::http(url.as_str())).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::FailedPrecondition, false), "{error}");
    }
    assert_eq!(store.snapshot().refused, u64::try_from(urls.len()).unwrap());
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn urls_with_credentials_are_refused() {
    let server = Server::having("hello").await;
    let store = store(options(&server));
    let error = read_by(&store, "hello", Reference::http(format!("http://me:secret@{}/a", server.address))).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{error}");
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    assert_eq!(server.connections(), 0);
}

/// Returns the options of a host that is called `files.example.com`.
fn named(server: &Server, may_be_private: bool) -> ExpandingOptions {
    let host = format!("files.example.com:{}", server.address.port());
    let hosts = AllowedHosts::none();
    ExpandingOptions::new(if may_be_private { hosts.with_private_host(&host) } else { hosts.with_host(&host) }.unwrap())
}

fn reference(server: &Server) -> Reference {
    Reference::http(format!("http://files.example.com:{}/a", server.address.port()))
}

#[tokio::test]
async fn a_name_leads_to_no_address_of_the_inside() {
    let server = Server::having("hello").await;
    for address in ["127.0.0.1", "::ffff:127.0.0.1", "0.0.0.0", "::1", "10.0.0.1", "169.254.169.254", "fe80::1"] {
        let resolver = ScriptedResolver::new([&[address]]);
        let store = store(named(&server, false)).with_name_resolver(resolver).unwrap();
        let error = read_by(&store, "hello", reference(&server)).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::FailedPrecondition, false), "{error:?}");
        assert!(error.to_string().contains("public addresses only"), "{error}");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_private_name_leads_to_any_address_of_a_host() {
    let server = Server::having("hello").await;
    // An address that names no host is passed over.
    let resolver = ScriptedResolver::new([&["0.0.0.0", "224.0.0.1", "127.0.0.1"]]);
    let store = store(named(&server, true)).with_name_resolver(resolver).unwrap();
    assert_eq!(read_by(&store, "hello", reference(&server)).await.unwrap(), "hello");
    let host = format!("files.example.com:{}", server.address.port());
    assert_eq!(server.requests()[0].header("host"), Some(host.as_str()));
}

#[tokio::test]
async fn a_name_is_resolved_once_and_cannot_change_before_it_is_used() {
    let server = Server::having("hello").await;
    let private: &[&str] = &["127.0.0.1"];
    // 203.0.113.1 is for documentation: nobody is there, and it is not public either.
    let resolver = ScriptedResolver::new([&["203.0.113.1"], private]);
    let store = store(named(&server, false)).with_name_resolver(Arc::<ScriptedResolver>::clone(&resolver)).unwrap();
    for lookups in 1..3 {
        let error = read_by(&store, "hello", reference(&server)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{error:?}");
        assert_eq!(resolver.lookups.load(Ordering::Relaxed), lookups, "one look-up for each connection");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_connection_outlives_what_its_name_says_later() {
    let server = Server::having("hello").await;
    let resolver = ScriptedResolver::new([&["127.0.0.1"], &["192.0.2.1"]]);
    let store = store(named(&server, true)).with_name_resolver(Arc::<ScriptedResolver>::clone(&resolver)).unwrap();
    for _ in 0..3 {
        assert_eq!(read_by(&store, "hello", reference(&server)).await.unwrap(), "hello");
    }
    assert_eq!((server.connections(), resolver.lookups.load(Ordering::Relaxed)), (1, 1));
}

#[tokio::test]
async fn a_name_that_cannot_be_resolved_is_an_outage() {
    let server = Server::having("hello").await;
    for resolver in [ScriptedResolver::new([]), ScriptedResolver::new([&[]])] {
        let options = named(&server, false).with_gone_is_missing(true);
        let store = store(options).with_name_resolver(resolver).unwrap();
        let error = read_by(&store, "hello", reference(&server)).await.unwrap_err();
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Unavailable, true), "{error:?}");
    }
}

#[tokio::test]
async fn the_resolver_of_the_system_knows_localhost() {
    let server = Server::having("hello").await;
    let host = format!("localhost:{}", server.address.port());
    let private = ExpandingOptions::new(AllowedHosts::none().with_private_host(&host).unwrap());
    let reference = Reference::http(format!("http://{host}/a"));
    assert_eq!(read_by(&store(private), "hello", reference.clone()).await.unwrap(), "hello");
    let public = ExpandingOptions::new(AllowedHosts::none().with_host(&host).unwrap());
    let error = read_by(&store(public), "hello", reference).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{error:?}");
}

#[tokio::test]
async fn tls_is_that_of_the_name_and_of_a_trusted_authority() {
    let authority_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(params, authority_key);
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["files.example.com".to_owned()]).unwrap();
    let certificate = certificate.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let server = Server::start_with(
        |request| Answer::file(request, b"hello"),
        move |stream| {
            let acceptor = acceptor.clone();
            async move { acceptor.accept(stream).await.ok() }.boxed()
        },
    )
    .await;
    let port = server.address.port();
    let hosts = AllowedHosts::none()
        .with_private_host(&format!("files.example.com:{port}"))
        .and_then(|hosts| hosts.with_private_host(&format!("other.example.com:{port}")))
        .unwrap();
    let make = || {
        store(ExpandingOptions::new(hosts.clone())).with_name_resolver(ScriptedResolver::new([&["127.0.0.1"]])).unwrap()
    };
    let reference = |name: &str| Reference::http(format!("https://{name}.example.com:{port}/a"));
    let trusting = make().with_certificate_authorities(authority.pem().as_bytes()).unwrap();
    assert_eq!(read_by(&trusting, "hello", reference("files")).await.unwrap(), "hello");
    let other_name = read_by(&trusting, "hello", reference("other")).await.unwrap_err();
    let untrusted = read_by(&make(), "hello", reference("files")).await.unwrap_err();
    for error in [other_name, untrusted] {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(error.to_string().to_lowercase().contains("certificate"), "{error}");
    }
    assert_eq!(make().with_certificate_authorities(b"no certificate").unwrap_err().kind(), ErrorKind::InvalidArgument);
}
