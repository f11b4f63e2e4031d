//! Servers behind UNIX sockets, plain addresses and proxies.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use blobaccess::{BlobAccess as _, Context, ErrorKind, Fsac, MemoryStore};
use blobaccess_grpc::{
    ClientCertificate, ListenerGroup, ListenerOptions, Remote, RemoteOptions, RemoteTls, RetryPolicy, ServerTls,
    ServiceOptions, Services,
};
use blobaccess_testkit::ManualClock;
use rcgen::{CertificateParams, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::fake::digest;

/// Serves on `group` for as long as the test runs, and returns the addresses.
async fn serve(group: ListenerGroup) -> Vec<std::net::SocketAddr> {
    let services = Services::new(ServiceOptions::default()).with_fsac(MemoryStore::<Fsac>::new(1 << 20));
    let bound = group.bind().await.unwrap();
    let addresses = bound.addresses();
    tokio::spawn(async move { services.serve_listeners([bound], std::future::pending()).await });
    addresses
}

/// Returns how a read of what is not there ends: `NotFound` from a server that was reached.
async fn reach(options: RemoteOptions) -> ErrorKind {
    let remote = Remote::new(options.with_retry(RetryPolicy::default().with_attempts(1))).unwrap();
    remote.fsac().get(&Context::background(), &digest(b"absent")).await.unwrap_err().kind()
}

fn group() -> ListenerGroup {
    ListenerGroup::new(ListenerOptions::default())
}

/// Returns a certificate for `localhost` that is its own authority, and its key.
fn certificate() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

#[tokio::test]
async fn a_server_is_reached_by_a_socket_and_by_addresses_without_a_scheme() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.sock");
    let address = serve(group().with_address("127.0.0.1:0").with_socket_path(&path)).await.pop().unwrap();
    let path = path.display();
    for target in [
        format!("unix:{path}"),
        format!("unix://{path}"),
        address.to_string(),
        format!("dns:///{address}"),
        format!(":{}", address.port()),
    ] {
        assert_eq!(reach(RemoteOptions::new(&target)).await, ErrorKind::NotFound, "{target}");
    }
    assert_eq!(reach(RemoteOptions::new(format!("unix:{path}.absent"))).await, ErrorKind::Unavailable);
}

#[tokio::test]
async fn tls_is_spoken_on_a_socket_and_to_an_address_without_a_scheme_if_it_is_set() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cache.sock");
    let (certificate, key) = certificate();
    let group = group().with_address("127.0.0.1:0").with_socket_path(&path);
    let address = serve(group.with_tls(ServerTls::new(certificate.clone(), key))).await.pop().unwrap();
    let tls = RemoteTls::new().with_ca_pem(certificate).with_server_name("localhost");
    for target in [format!("unix:{}", path.display()), address.to_string()] {
        assert_eq!(reach(RemoteOptions::new(&target).with_tls(tls.clone())).await, ErrorKind::NotFound, "{target}");
        assert_eq!(reach(RemoteOptions::new(&target)).await, ErrorKind::Unavailable, "{target}");
    }
}

#[tokio::test]
async fn a_client_shows_the_certificate_that_it_has_when_it_connects() {
    let (server, server_key) = certificate();
    let (own, own_key) = certificate();
    let (foreign, foreign_key) = certificate();
    let tls = ServerTls::new(server.clone(), server_key).with_client_authority(own.clone());
    let address = serve(group().with_address("127.0.0.1:0").with_tls(tls)).await.pop().unwrap();
    let shown = ClientCertificate::new(&own, &own_key).unwrap();
    let options = |certificate: &ClientCertificate| {
        let tls = RemoteTls::new().with_ca_pem(server.clone()).with_server_name("localhost");
        let tls = tls.with_cipher_suites(["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]);
        RemoteOptions::new(address.to_string()).with_tls(tls.with_replaceable_client_certificate(certificate.clone()))
    };
    assert_eq!(options(&shown), options(&shown));
    assert_eq!(reach(options(&shown)).await, ErrorKind::NotFound);
    assert!(shown.replace(&foreign, &own_key).is_err(), "they do not belong together");
    assert_eq!(reach(options(&shown)).await, ErrorKind::NotFound);
    shown.replace(&foreign, &foreign_key).unwrap();
    assert_eq!(reach(options(&shown)).await, ErrorKind::Unavailable, "the server does not know its authority");

    // One that is read again.
    let clock = ManualClock::new();
    let files = Arc::new(Mutex::new((own.clone(), own_key.clone())));
    let read = Arc::clone(&files);
    let minute = Duration::from_mins(1);
    let reading = move || Ok(read.lock().unwrap().clone());
    let shown = ClientCertificate::read_every(minute, Arc::new(clock.clone()), reading).unwrap();
    *files.lock().unwrap() = (foreign, foreign_key);
    assert_eq!(reach(options(&shown)).await, ErrorKind::NotFound, "it is not time yet");
    clock.advance(minute);
    assert_eq!(reach(options(&shown)).await, ErrorKind::Unavailable);
    *files.lock().unwrap() = (own, own_key);
    clock.advance(minute);
    assert_eq!(reach(options(&shown)).await, ErrorKind::NotFound);
    files.lock().unwrap().1.clear();
    clock.advance(minute);
    assert_eq!(reach(options(&shown)).await, ErrorKind::NotFound, "the one before is used on");
}

#[tokio::test]
async fn a_server_that_never_answers_the_handshake_is_given_up_in_time() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = RemoteOptions::new(format!("https://{}", silent.local_addr().unwrap()))
        .with_connect_timeout(Duration::from_millis(20));
    assert_eq!(reach(options).await, ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_server_is_reached_through_a_proxy_that_says_yes() {
    let address = serve(group().with_address("127.0.0.1:0")).await.pop().unwrap();
    let proxy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy_address = proxy.local_addr().unwrap();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&heads);
    tokio::spawn(async move {
        loop {
            let (mut client, _) = proxy.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(client.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            seen.lock().unwrap().push(head.clone());
            if !head.contains("proxy-authorization: Basic bWU6c2VjcmV0\r\n") {
                client.write_all(b"HTTP/1.1 407 Who are you\r\n\r\n").await.unwrap();
                continue;
            }
            let mut server = tokio::net::TcpStream::connect(address).await.unwrap();
            client.write_all(b"HTTP/1.1 200 Connected\r\nvia: test\r\n\r\n").await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut server).await });
        }
    });
    // The name is that of the proxy's world.
    let options = RemoteOptions::new("cache.invalid:8980");
    let known = options.clone().with_proxy(format!("http://me:secret@{proxy_address}"));
    assert!(!format!("{known:?}").contains("secret"));
    assert_eq!(reach(known).await, ErrorKind::NotFound);
    let head = heads.lock().unwrap().pop().unwrap();
    assert!(head.starts_with("CONNECT cache.invalid:8980 HTTP/1.1\r\nhost: cache.invalid:8980\r\n"), "{head}");
    assert_eq!(reach(options.clone().with_proxy(format!("http://{proxy_address}"))).await, ErrorKind::Unavailable);
    let error = Remote::new(options.with_proxy("socks5://proxy")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
}
