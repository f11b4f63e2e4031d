//! Servers behind UNIX sockets, plain addresses and proxies.

use std::sync::{Arc, Mutex};

use blobaccess::{BlobAccess as _, Context, ErrorKind, Fsac, MemoryStore};
use blobaccess_grpc::{
    ListenerGroup, ListenerOptions, Remote, RemoteOptions, RemoteTls, RetryPolicy, ServerTls, ServiceOptions, Services,
};
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
