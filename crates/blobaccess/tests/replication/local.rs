//! Tests of copies that are made while a reader reads.

use std::sync::Arc;
use std::time::Duration;

use blobaccess::replication::{LocalReplicator, Replicator};
use blobaccess::{Blob, Cas, Digest, MemoryStore, ReadRequest};
use blobaccess_testkit::fakes::ScriptedStore;
use blobaccess_testkit::{ManualClock, digest_of};
use bytes::Bytes;
use futures::{FutureExt, poll, stream};

use crate::{CTX, paused, read, store, stored};

const MAX_WAIT: Duration = Duration::from_secs(5);

/// Makes a blob that is not at hand.
fn streamed(contents: &'static str) -> Blob {
    let pieces = contents.as_bytes().chunks(2).map(|piece| Ok(Bytes::from_static(piece)));
    Blob::from_verified_stream(&digest_of(contents), stream::iter(pieces.collect::<Vec<_>>()))
}

fn source_of(blob: Blob) -> Arc<ScriptedStore<Cas>> {
    Arc::new(ScriptedStore::new().on_get(Ok(blob)))
}

async fn assert_the_copy_is_given_up_in_time(blob: Blob, digest: Digest) {
    let (clock, sink) = (ManualClock::new(), paused(MemoryStore::<Cas>::new(1 << 20)));
    let source = source_of(blob);
    let replicator =
        LocalReplicator::new(source, Arc::clone(&sink)).with_clock(Arc::new(clock.clone())).with_max_wait(MAX_WAIT);
    let mut reading = read(&replicator, &digest).boxed();
    assert!(poll!(&mut reading).is_pending(), "the last bytes wait for the copy");
    assert_eq!(replicator.snapshot().under_way_while_read, 1);
    clock.advance(MAX_WAIT.saturating_sub(Duration::from_nanos(1)));
    assert!(poll!(&mut reading).is_pending());
    clock.advance(Duration::from_nanos(1));
    assert_eq!(reading.await.unwrap(), "hello");
    let snapshot = replicator.snapshot();
    assert_eq!((snapshot.under_way_while_read, snapshot.given_up, snapshot.copies.blobs), (0, 1, 0));
}

#[tokio::test]
async fn a_sink_that_hangs_holds_a_reader_up_for_a_bounded_time() {
    let digest = digest_of("hello");
    assert_the_copy_is_given_up_in_time(
        Blob::from_verified_bytes(&digest, Bytes::from_static(b"hello")),
        digest.clone(),
    )
    .await;
    assert_the_copy_is_given_up_in_time(streamed("hello"), digest).await;
}

#[tokio::test]
async fn the_wait_for_a_copy_begins_when_the_source_has_ended() {
    let (clock, digest) = (ManualClock::new(), digest_of("hello"));
    let (mut sender, receiver) = futures::channel::mpsc::unbounded();
    let source = source_of(Blob::from_verified_stream(&digest, receiver));
    let sink = paused(MemoryStore::<Cas>::new(1 << 20));
    let replicator = LocalReplicator::new(source, Arc::clone(&sink)).with_clock(Arc::new(clock.clone()));
    let mut reading = read(&replicator, &digest).boxed();
    sender.start_send(Ok(Bytes::from_static(b"hel"))).unwrap();
    assert!(poll!(&mut reading).is_pending());
    // A source that is slow is not the fault of the sink.
    clock.advance(Duration::from_hours(1));
    assert!(poll!(&mut reading).is_pending());
    sender.start_send(Ok(Bytes::from_static(b"lo"))).unwrap();
    drop(sender);
    assert!(poll!(&mut reading).is_pending());
    assert_eq!(clock.sleepers(), 1);
    sink.release_all();
    assert_eq!(reading.await.unwrap(), "hello");
    let snapshot = replicator.snapshot();
    assert_eq!((snapshot.given_up, snapshot.copies.blobs, snapshot.copies.bytes), (0, 1, 5));
}

#[tokio::test]
async fn copies_are_counted_however_they_end() {
    let (source, sink) = (store::<Cas>(), store::<Cas>());
    let digest = stored(&source, "hello").await;
    let replicator = LocalReplicator::new(Arc::clone(&source), Arc::clone(&sink));
    drop(replicator.replicate(&CTX, &ReadRequest::blob(&digest)).await.unwrap());
    assert_eq!(replicator.snapshot().given_up, 1);
    crate::outage(&sink).begin(blobaccess::Error::unavailable("gone fishing"));
    assert_eq!(read(&replicator, &digest).await.unwrap(), "hello");
    replicator.replicate_all(&CTX, &digest.clone().into()).await.unwrap_err();
    crate::outage(&sink).end();
    replicator.replicate_all(&CTX, &digest.clone().into()).await.unwrap();
    assert_eq!(read(&replicator, &digest).await.unwrap(), "hello");
    let snapshot = replicator.snapshot();
    assert_eq!((snapshot.copies.blobs, snapshot.copies.bytes, snapshot.copies.failed), (2, 10, 2));
    assert_eq!((snapshot.under_way, snapshot.under_way_while_read, snapshot.given_up), (0, 0, 1));
}
