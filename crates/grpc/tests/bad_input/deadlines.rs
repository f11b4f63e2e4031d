//! Calls that take longer than they may.

use std::sync::Arc;
use std::time::Duration;

use blobaccess::{Cas, Clock, MemoryStore};
use blobaccess_grpc::ServiceOptions;
use blobaccess_proto::bytestream as bs;
use blobaccess_testkit::ManualClock;
use blobaccess_testkit::fakes::PausedStore;
use futures::{StreamExt, stream};
use tonic::{Code, Request};

use crate::stack::{
    Server, StreamClient, find, messages, services, services_over, sha256, to_proto, write_name, zstd_name,
};

const CONTENTS: &[u8] = b"what takes its time";

#[tokio::test]
async fn an_idle_upload_ends_after_the_time_that_was_set_and_leaves_nothing() {
    let clock = ManualClock::new();
    let idle = Duration::from_secs(40);
    let options = ServiceOptions::default().with_upload_idle_timeout(idle);
    let server = Server::serve(services(options).with_clock(Arc::new(clock.clone()))).await;
    let channel = server.connect().await;
    let digest = sha256(CONTENTS);
    let frame = zstd::bulk::compress(CONTENTS, 1).unwrap();
    let (plain, compressed) = (messages(&write_name(&digest), CONTENTS, 5), messages(&zstd_name(&digest), &frame, 5));
    for begun in [Vec::new(), vec![plain[0].clone()], plain[..2].to_vec(), compressed[..2].to_vec()] {
        let before = clock.sleepers();
        let mut client = StreamClient::new(channel.clone());
        let upload = tokio::spawn(async move { client.write(stream::iter(begun).chain(stream::pending())).await });
        clock.until_sleepers(before + 1).await;
        server.until("an upload", |services| services.snapshot().open_calls == 1).await;
        clock.advance(Duration::from_secs(39));
        assert!(!upload.is_finished());
        // Each message that comes sets a new alarm; the last of them has been set by now or is set soon.
        while !upload.is_finished() {
            clock.advance(idle);
            drop(find(&channel, vec![to_proto(&digest)]).await.unwrap());
        }
        let status = upload.await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
        assert!(status.message().contains("40 s"), "{status}");
        server.is_unharmed(&channel, &[&digest]).await;
    }
    drop(channel);
    server.stop().await;
}

/// Makes a request that may take an hour.
fn within_an_hour<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("grpc-timeout", "3600S".parse().unwrap());
    request
}

#[tokio::test]
async fn a_call_ends_with_the_deadline_of_its_client_wherever_it_hangs() {
    let clock = ManualClock::new();
    let options = ServiceOptions::default().with_upload_idle_timeout(Duration::from_hours(2));
    let paused = Arc::new(PausedStore::new(MemoryStore::<Cas>::new(1 << 20)));
    let services = services_over(Arc::<PausedStore<_>>::clone(&paused), options);
    let server = Server::serve(services.with_clock(Arc::new(clock.clone()))).await;
    let channel = server.connect().await;
    let digest = sha256(CONTENTS);
    let uploaded = messages(&write_name(&digest), CONTENTS, 5);
    // In the store; and where a client sends nothing at all, before it.
    for begun in [uploaded.clone(), Vec::new()] {
        let mut client = StreamClient::new(channel.clone());
        let upload = stream::iter(begun).chain(stream::pending());
        let upload = tokio::spawn(async move { client.write(within_an_hour(upload)).await });
        server.until("an upload", |services| services.snapshot().open_calls == 1).await;
        expire(&server, &clock, &upload).await;
        let status = upload.await.unwrap().unwrap_err();
        assert_eq!(status.code(), Code::DeadlineExceeded, "{status}");
        server.until_quiet().await;
    }
    let mut client = StreamClient::new(channel.clone());
    let request = bs::ReadRequest { resource_name: crate::stack::read_name(&digest), ..Default::default() };
    let reading = tokio::spawn(async move { client.read(within_an_hour(request)).await.map(drop) });
    paused.until_waiting(1).await;
    expire(&server, &clock, &reading).await;
    assert_eq!(reading.await.unwrap().unwrap_err().code(), Code::DeadlineExceeded);
    paused.release_all();
    server.is_unharmed(&channel, &[&digest]).await;
    drop(channel);
    server.stop().await;
}

/// Lets an hour pass, but not two: idle uploads are another matter.
async fn expire<T>(server: &Server, clock: &ManualClock, call: &tokio::task::JoinHandle<T>) {
    let end = clock.monotonic() + Duration::from_mins(119);
    server
        .until("an end", |_| {
            if clock.monotonic() < end {
                clock.advance(Duration::from_mins(1));
            }
            call.is_finished()
        })
        .await;
}
