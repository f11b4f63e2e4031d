//! Tests that depend on a real connection.

use std::net::SocketAddr;

use futures::{FutureExt, StreamExt};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Code;
use tonic::transport::{Channel, Server};

use super::*;
use crate::server::watched_store::sha256;

async fn serve(store: &Arc<WatchedStore>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder().add_service(ByteStreamServer::new(service(store, ServiceOptions::default())));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

async fn connect(address: SocketAddr) -> ByteStreamClient<Channel> {
    ByteStreamClient::connect(format!("http://{address}")).await.unwrap()
}

/// Makes an upload that sends as much as is requested, and never ends.
fn endless(name: String) -> impl futures::Stream<Item = bs::WriteRequest> + Send + 'static {
    let data = Bytes::from(vec![0; 64 << 10]);
    stream::iter(0_i64..).map(move |n| bs::WriteRequest {
        resource_name: name.clone(),
        write_offset: n * (64 << 10),
        finish_write: false,
        data: data.clone(),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_keeps_sending_learns_of_early_success_and_the_connection_lives() {
    let store = WatchedStore::new();
    let digest = store.add(vec![0; 50 << 20]).await;
    let compressed = store.add(vec![0; 1 << 20]).await;
    let mut client = connect(serve(&store).await).await;
    for _ in 0..20 {
        let answer = client.write(endless(write_name(&digest))).await.unwrap().into_inner();
        assert_eq!(answer.committed_size, 50 << 20);
        let answer = client.write(endless(zstd_name(&compressed))).await.unwrap().into_inner();
        assert_eq!(answer.committed_size, -1);
    }
    let small = sha256(b"small");
    let answer = client.write(stream::iter(messages(&write_name(&small), b"small", 2))).await.unwrap().into_inner();
    assert_eq!(answer.committed_size, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_keeps_sending_learns_why_it_is_refused() {
    let store = WatchedStore::new();
    let mut client = connect(serve(&store).await).await;
    let digest = sha256(&[0; 100]);
    for _ in 0..20 {
        let error = client.write(endless(write_name(&digest))).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        let error = client.write(endless("nonsense".into())).await.unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
    }
    assert!(!store.has(&digest).await);
    let whole = stream::iter(messages(&write_name(&digest), &[0; 100], 14));
    assert_eq!(client.write(whole).await.unwrap().into_inner().committed_size, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_disconnects_leaves_nothing_and_the_next_is_served() {
    let store = WatchedStore::new();
    let address = serve(&store).await;
    let contents = vec![7; 1 << 20];
    let digest = sha256(&contents);
    let mut all = messages(&write_name(&digest), &contents, 16 << 10);
    let last = all.pop().unwrap();
    for _ in 0..5 {
        let mut client = connect(address).await;
        let (sent, all_sent) = tokio::sync::oneshot::channel();
        let begun = stream::iter(all.clone()).chain(stream::once(async move {
            sent.send(()).unwrap();
            std::future::pending().await
        }));
        let upload = client.write(begun).fuse();
        futures::pin_mut!(upload);
        futures::select! {
            answer = upload => unreachable!("{answer:?}"),
            sent = all_sent.fuse() => sent.unwrap(),
        }
    }
    assert!(!store.has(&digest).await);
    all.push(last);
    let answer = connect(address).await.write(stream::iter(all)).await.unwrap().into_inner();
    assert_eq!(answer.committed_size, 1 << 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_very_many_tiny_messages_arrives() {
    let store = WatchedStore::new();
    let mut client = connect(serve(&store).await).await;
    let contents = vec![9; 140_000];
    let digest = sha256(&contents);
    let answer = client.write(stream::iter(messages(&write_name(&digest), &contents, 14))).await.unwrap();
    assert_eq!(answer.into_inner().committed_size, 140_000);
    let mut sent = Vec::new();
    let request = bs::ReadRequest { resource_name: read_name(&digest), ..Default::default() };
    let mut pieces = client.read(request).await.unwrap().into_inner();
    while let Some(piece) = pieces.message().await.unwrap() {
        sent.extend_from_slice(&piece.data);
    }
    assert_eq!(sent, contents);
}
