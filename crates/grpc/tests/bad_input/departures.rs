//! Clients that go away in the middle.

use blobaccess_grpc::ServiceOptions;
use blobaccess_proto::bytestream as bs;
use futures::{StreamExt, stream};

use crate::stack::{Server, StreamClient, messages, noise, read, read_name, sha256, write, write_name, zstd_name};

/// How an upload is left.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Leaving {
    /// The call is given up, and the connection goes on.
    Call,
    /// The connection is closed.
    Connection,
}

#[tokio::test]
async fn a_client_that_goes_away_in_mid_upload_leaves_nothing() {
    let server = Server::start(ServiceOptions::default()).await;
    let contents = noise(1 << 20);
    let digest = sha256(&contents);
    let frame = zstd::bulk::compress(&contents, 1).unwrap();
    for uploaded in [messages(&write_name(&digest), &contents, 10_000), messages(&zstd_name(&digest), &frame, 10_000)] {
        for sent in [1, 20, uploaded.len() - 1] {
            for leaving in [Leaving::Call, Leaving::Connection] {
                let channel = server.connect().await;
                let mut client = StreamClient::new(channel.clone());
                let begun = stream::iter(uploaded.get(..sent).unwrap().to_vec()).chain(stream::pending());
                let upload = tokio::spawn(async move { client.write(begun).await });
                server.until("an upload", |services| services.snapshot().open_calls == 1).await;
                upload.abort();
                assert!(upload.await.unwrap_err().is_cancelled());
                if leaving == Leaving::Connection {
                    drop(channel);
                    server.until_quiet().await;
                    server.is_unharmed(&server.connect().await, &[&digest]).await;
                } else {
                    server.until_quiet().await;
                    server.is_unharmed(&channel, &[&digest]).await;
                }
            }
        }
    }
    let mut client = StreamClient::new(server.connect().await);
    write(&mut client, messages(&write_name(&digest), &contents, 10_000)).await.unwrap();
    assert_eq!(read(&mut client, &digest).await.unwrap(), contents);
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_goes_away_in_mid_read_holds_nothing() {
    let server = Server::start(ServiceOptions::default()).await;
    let contents = noise(8 << 20);
    let digest = sha256(&contents);
    let mut client = StreamClient::new(server.connect().await);
    write(&mut client, messages(&write_name(&digest), &contents, 1 << 20)).await.unwrap();
    for name in [read_name(&digest), read_name(&digest).replace("blobs/", "compressed-blobs/zstd/")] {
        for leaving in [Leaving::Call, Leaving::Connection] {
            let channel = server.connect().await;
            let mut reader = StreamClient::new(channel.clone());
            let request = bs::ReadRequest { resource_name: name.clone(), ..Default::default() };
            let mut pieces = reader.read(request).await.unwrap().into_inner();
            assert!(!pieces.message().await.unwrap().unwrap().data.is_empty());
            drop((pieces, reader));
            if leaving == Leaving::Connection {
                drop(channel);
                server.until_quiet().await;
            } else {
                server.until_quiet().await;
                server.is_unharmed(&channel, &[]).await;
            }
        }
    }
    assert_eq!(read(&mut client, &digest).await.unwrap(), contents);
    drop(client);
    server.stop().await;
}
