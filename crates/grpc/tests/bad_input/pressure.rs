//! Clients that are slow, and what they hold meanwhile.

use std::sync::Arc;

use blobaccess_grpc::ServiceOptions;
use blobaccess_proto::bytestream as bs;
use futures::{FutureExt, StreamExt, stream};
use tokio::sync::Semaphore;

use crate::stack::{Server, StreamClient, messages, noise, read, read_name, sha256, size, write, write_name};

const BLOB_BYTES: usize = 16 << 10;

fn blob(number: usize) -> Vec<u8> {
    noise(BLOB_BYTES + number).split_off(number)
}

#[tokio::test]
async fn uploads_of_more_than_the_bytes_in_flight_go_on_all_the_same() {
    let max = u64::try_from(4 * BLOB_BYTES).unwrap();
    let server = Server::start(ServiceOptions::default().with_max_in_flight_bytes(max)).await;
    let go = Arc::new(Semaphore::new(0));
    let mut uploads = Vec::new();
    for number in 0..12 {
        let contents = blob(number);
        let mut begun = messages(&write_name(&sha256(&contents)), &contents, 4 << 10);
        let last = begun.pop().unwrap();
        let go = Arc::clone(&go);
        let end = async move {
            go.acquire().await.unwrap().forget();
            last
        };
        let mut client = StreamClient::new(server.connect().await);
        let uploaded = stream::iter(begun).chain(end.into_stream());
        uploads.push(tokio::spawn(async move { client.write(uploaded).await }));
    }
    server
        .until("uploads", |services| {
            let snapshot = services.snapshot();
            snapshot.open_calls == 12 && snapshot.in_flight_bytes <= max
        })
        .await;
    assert!(uploads.iter().all(|upload| !upload.is_finished()));
    // What has no contents on their way is served all the same.
    assert!(crate::stack::find(&server.connect().await, Vec::new()).await.unwrap().is_empty());
    go.add_permits(12);
    for upload in uploads {
        assert_eq!(upload.await.unwrap().unwrap().into_inner().committed_size, size(&sha256(&blob(0))));
    }
    let channel = server.connect().await;
    for number in 0..12 {
        let contents = blob(number);
        assert_eq!(read(&mut StreamClient::new(channel.clone()), &sha256(&contents)).await.unwrap(), contents);
    }
    server.is_unharmed(&channel, &[]).await;
    drop(channel);
    server.stop().await;
}

#[tokio::test]
async fn readers_that_do_not_read_hold_nobody_up() {
    let server = Server::start(ServiceOptions::default()).await;
    let contents = noise(16 << 20);
    let digest = sha256(&contents);
    let channel = server.connect().await;
    let mut client = StreamClient::new(channel.clone());
    write(&mut client, messages(&write_name(&digest), &contents, 1 << 20)).await.unwrap();
    let mut slow = Vec::new();
    for _ in 0..20 {
        let request = bs::ReadRequest { resource_name: read_name(&digest), ..Default::default() };
        let mut pieces = StreamClient::new(server.connect().await).read(request).await.unwrap().into_inner();
        assert!(pieces.message().await.unwrap().is_some());
        slow.push(pieces);
    }
    // One more, on the connection that goes on.
    let request = bs::ReadRequest { resource_name: read_name(&digest), ..Default::default() };
    slow.push(client.read(request).await.unwrap().into_inner());
    assert_eq!(server.services.snapshot().open_calls, 21);
    for number in 0..20 {
        let contents = blob(number);
        let digest = sha256(&contents);
        write(&mut client, messages(&write_name(&digest), &contents, 4 << 10)).await.unwrap();
        assert_eq!(read(&mut client, &digest).await.unwrap(), contents);
    }
    assert_eq!(server.services.snapshot().open_calls, 21);
    let mut last = slow.pop().unwrap();
    let mut whole = Vec::new();
    while let Some(piece) = last.message().await.unwrap() {
        whole.extend_from_slice(&piece.data);
    }
    assert_eq!(whole, contents);
    drop((slow, last));
    server.is_unharmed(&channel, &[]).await;
    drop((client, channel));
    server.stop().await;
}
