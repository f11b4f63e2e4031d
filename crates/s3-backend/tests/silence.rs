//! Connections to a bucket: slow ones are not given up while bytes flow, and silent ones are left.
#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests fail so, and sockets need time")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use blobaccess::{BlobAccess, Cas, Context, Digest, DigestFunction, InstanceName};
use blobaccess_s3_backend::sim::SimS3;
use blobaccess_s3_backend::{Bucket, BucketOptions, BucketStore, Connection};
use object_store::{ObjectStoreExt, path::Path};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const SILENCE: Duration = Duration::from_millis(400);

fn bucket(port: u16) -> Bucket {
    let connection = Connection::default().with_allow_http(true).with_read_timeout(SILENCE);
    Bucket::s3(SimS3::builder_at(&format!("http://127.0.0.1:{port}")), &connection).unwrap()
}

async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Takes a request of `bytes` for three times the time of silence, then answers.
async fn take_slowly(mut stream: TcpStream, bytes: usize) {
    let mut buffer = vec![0; bytes / 24];
    let mut taken = 0;
    while taken < bytes {
        let read = stream.read(&mut buffer).await.unwrap();
        if read == 0 {
            return;
        }
        taken += read;
        tokio::time::sleep(SILENCE * 3 / 24).await;
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\netag: \"a\"\r\ncontent-length: 0\r\n\r\n").await.unwrap();
}

#[tokio::test]
async fn a_request_may_take_long_while_its_bytes_flow() {
    let (listener, port) = listen().await;
    let contents = vec![7; 24 << 20];
    let size = contents.len();
    let server = tokio::spawn(async move { take_slowly(listener.accept().await.unwrap().0, size).await });
    bucket(port).object_store().put(&Path::from("a"), contents.into()).await.unwrap();
    server.await.unwrap();
}

#[tokio::test]
async fn a_connection_that_fell_silent_is_replaced() {
    let (listener, port) = listen().await;
    let sim = SimS3::new(1);
    let (inner, inner_port) = listen().await;
    let serving = sim.clone();
    tokio::spawn(async move { serving.serve(inner).await });
    // A middle box that forgets the connections that are open, without a word.
    let (forgotten, accepted) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let forget = Arc::clone(&forgotten);
    tokio::spawn(async move {
        loop {
            let (mut outer, _) = listener.accept().await.unwrap();
            let number = accepted.fetch_add(1, Ordering::Relaxed) + 1;
            let forget = Arc::clone(&forget);
            tokio::spawn(async move {
                let mut server = TcpStream::connect(("127.0.0.1", inner_port)).await.unwrap();
                let (mut here, mut there) = (vec![0; 65_536], vec![0; 65_536]);
                loop {
                    tokio::select! {
                        read = outer.read(&mut here) => match read.unwrap_or(0) {
                            0 => return,
                            _ if number <= forget.load(Ordering::Relaxed) => {}
                            size => server.write_all(&here[..size]).await.unwrap(),
                        },
                        read = server.read(&mut there) => match read.unwrap_or(0) {
                            0 => return,
                            _ if number <= forget.load(Ordering::Relaxed) => {}
                            size => drop(outer.write_all(&there[..size]).await),
                        },
                    }
                }
            });
        }
    });
    let store = BucketStore::<Cas>::open(bucket(port), BucketOptions::default().with_probe(false)).await.unwrap();
    let (ctx, digest) = (Context::background(), Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"x"));
    let asked = digest.into();
    // Several connections, all of which are kept for the next requests.
    let questions = (0..8).map(|_| store.find_missing(&ctx, &asked));
    assert!(futures::future::join_all(questions).await.iter().all(Result::is_ok));
    forgotten.store(usize::MAX / 2, Ordering::Relaxed);
    let mut question = std::pin::pin!(store.find_missing(&ctx, &asked));
    assert!(tokio::time::timeout(SILENCE / 4, &mut question).await.is_err());
    forgotten.store(8, Ordering::Relaxed);
    // One silence, and not one for each connection.
    tokio::time::timeout(SILENCE * 4, question).await.unwrap().unwrap();
}
