//! Tests of copies from one store into another.

use std::sync::Arc;

use blobaccess::replication::{EntryLocks, LocalReplicator, Replicator};
use blobaccess::{
    Ac, Blob, BlobAccess, BlobAccessExt, Cas, Context, Digest, DigestSet, Error, ErrorKind, Kind, Operation,
    ReadRequest, Result,
};
use blobaccess_testkit::digest_of;
use blobaccess_testkit::fakes::{LeadingBytes, ScriptedStore};
use bytes::Bytes;
use futures::future::join_all;
use futures::{StreamExt, poll, stream};

use crate::{Inner, beneath, fail, inner, memory, mend, paused, stored};

static CTX: Context = Context::background();

type Stores<K> = (Inner<K>, Inner<K>, LocalReplicator<Inner<K>, Inner<K>>);

fn stores<K: Kind>() -> Stores<K> {
    let (source, sink) = (inner(), inner());
    let replicator = LocalReplicator::new(Arc::new(Arc::clone(&source)), Arc::new(Arc::clone(&sink)));
    (source, sink, replicator)
}

async fn read(replicator: &impl Replicator, digest: &Digest) -> Result<Bytes> {
    replicator.replicate(&CTX, &ReadRequest::blob(digest)).await?.into_bytes(1 << 20).await
}

fn holds_any<K: Kind>(store: &Inner<K>) -> bool {
    memory(store).snapshot().blobs > 0
}

/// Makes a source of `contents` whose blobs are not at hand, which answers `gets` times.
fn streaming(contents: &'static str, gets: usize) -> Arc<ScriptedStore<Cas>> {
    let blob = || {
        let pieces = contents.as_bytes().chunks(2).map(|piece| Ok(Bytes::from_static(piece)));
        Blob::from_verified_stream(&digest_of(contents), stream::iter(pieces.collect::<Vec<_>>()))
    };
    Arc::new((0..gets).fold(ScriptedStore::new(), |source, _| source.on_get(Ok(blob()))))
}

#[tokio::test]
async fn readers_at_the_same_time_make_one_copy() {
    let (sink, digest) = (inner(), digest_of("hello"));
    let replicator = LocalReplicator::new(streaming("hello", 3), Arc::new(Arc::clone(&sink)));
    let mut blobs = Vec::new();
    for _ in 0..3 {
        blobs.push(replicator.replicate(&CTX, &ReadRequest::blob(&digest)).await.unwrap());
    }
    for read in join_all(blobs.into_iter().map(|blob| blob.into_bytes(9))).await {
        assert_eq!(read.unwrap(), "hello");
    }
    assert_eq!(sink.count_of(Operation::Put), 1);
    assert!(holds_any(&sink));
}

#[tokio::test]
async fn a_reader_that_goes_away_leaves_the_copy_to_the_next() {
    let (source, sink, replicator) = stores::<Cas>();
    let digest = stored(&source, "hello").await;
    drop(replicator.replicate(&CTX, &ReadRequest::blob(&digest)).await.unwrap());
    assert!(!holds_any(&sink));
    assert_eq!(read(&replicator, &digest).await.unwrap(), "hello");
    assert!(holds_any(&sink));
}

#[tokio::test]
async fn a_sink_that_fails_fails_no_reader() {
    let (source, sink, replicator) = stores::<Cas>();
    let digest = stored(&source, "hello").await;
    fail(&sink, Error::unavailable("gone fishing"));
    assert_eq!(read(&replicator, &digest).await.unwrap(), "hello");
    assert_eq!(sink.count_of(Operation::Put), 1);
}

#[tokio::test]
async fn a_sink_that_hangs_holds_up_no_reader() {
    let (sink, digest) = (paused(), digest_of("hello"));
    // The copy is more than this behind before it has begun.
    let replicator = LocalReplicator::new(streaming("hello", 1), Arc::clone(&sink)).with_max_apart_bytes(1);
    let blob = replicator.replicate(&CTX, &ReadRequest::blob(&digest)).await.unwrap();
    let mut blob = blob.into_stream(..).unwrap();
    assert_eq!(blob.next().await.unwrap().unwrap(), "he");
    assert_eq!(blob.next().await.unwrap().unwrap(), "ll");
    assert_eq!(sink.count_of(Operation::Put), 1);
    assert!(!holds_any(beneath(&sink)));
}

#[tokio::test]
async fn a_part_is_read_from_a_composite_that_is_copied_whole() {
    let (source, sink, replicator) = stores::<Cas>();
    let parent = stored(&source, "hello").await;
    let request = ReadRequest::part(&parent, &digest_of("he"), Arc::new(LeadingBytes));
    let part = replicator.replicate(&CTX, &request).await.unwrap();
    assert_eq!(part.into_bytes(9).await.unwrap(), "he");
    assert_eq!(memory(&sink).get_bytes(&CTX, &parent, 9).await.unwrap(), "hello");
}

#[tokio::test]
async fn absence_in_the_source_is_not_found() {
    let (_, sink, replicator) = stores::<Cas>();
    let error = read(&replicator, &digest_of("hello")).await.unwrap_err();
    assert!(error.is_not_found() && !error.is_part_missing());
    assert!(sink.calls().is_empty());
}

#[tokio::test]
async fn a_message_is_copied_unless_the_sink_has_a_newer_one() {
    let (source, sink, replicator) = stores::<Ac>();
    let digest = stored(&source, "old").await;
    assert_eq!(read(&replicator, &digest).await.unwrap(), "old");
    assert!(holds_any(&sink));
    memory(&sink).put_bytes(&CTX, &digest, "new").await.unwrap();
    assert_eq!(read(&replicator, &digest).await.unwrap(), "new");
    replicator.replicate_all(&CTX, &digest.clone().into()).await.unwrap();
    assert_eq!(memory(&sink).get_bytes(&CTX, &digest, 9).await.unwrap(), "new");
    fail(&sink, Error::unavailable("gone fishing"));
    assert_eq!(read(&replicator, &digest).await.unwrap_err().to_string(), "sink: gone fishing");
    mend(&sink);
    assert_eq!(read(&replicator, &digest).await.unwrap(), "new");
}

#[tokio::test]
async fn a_message_waits_for_the_lock_of_its_entry() {
    let (source, _, replicator) = stores::<Ac>();
    let locks = Arc::new(EntryLocks::new());
    let replicator = replicator.with_entry_locks(Arc::clone(&locks));
    let digest = stored(&source, "old").await;
    let guard = locks.lock(&digest.cache_key(source.key_format())).await;
    let mut reading = Box::pin(read(&replicator, &digest));
    for _ in 0..10 {
        assert!(poll!(&mut reading).is_pending());
    }
    drop(guard);
    assert_eq!(reading.await.unwrap(), "old");
}

#[tokio::test]
async fn a_message_too_large_to_copy_is_passed_on() {
    let (source, sink, replicator) = stores::<Ac>();
    let digest = stored(&source, "large").await;
    let replicator = replicator.with_max_message_bytes(4);
    assert_eq!(read(&replicator, &digest).await.unwrap(), "large");
    assert!(!holds_any(&sink));
}

#[tokio::test]
async fn all_digests_are_copied_once_for_all_that_ask() {
    let (source, sink) = (paused::<Cas>(), inner::<Cas>());
    let replicator = LocalReplicator::new(Arc::clone(&source), Arc::new(Arc::clone(&sink)));
    let digests: DigestSet = [stored(beneath(&source), "a").await, stored(beneath(&source), "b").await].into();
    let mut first = Box::pin(replicator.replicate_all(&CTX, &digests));
    assert!(poll!(&mut first).is_pending());
    let mut second = Box::pin(replicator.replicate_all(&CTX, &digests));
    assert!(poll!(&mut second).is_pending());
    // The caller that began the copies goes away.
    drop(first);
    source.inner().release_all();
    second.await.unwrap();
    assert!(memory(&sink).find_missing(&CTX, &digests).await.unwrap().is_empty());
    assert_eq!((source.count_of(Operation::Get), sink.count_of(Operation::Put)), (2, 2));
}

#[tokio::test]
async fn a_failed_copy_says_where_it_failed_and_for_whom() {
    let (source, sink, replicator) = stores::<Cas>();
    let absent = digest_of("absent");
    let error = replicator.replicate_all(&CTX, &absent.clone().into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert_eq!(error.to_string(), format!("{absent}: source: blob {absent} is not stored"));
    let there = stored(&source, "hello").await;
    fail(&sink, Error::unavailable("gone fishing"));
    let error = replicator.replicate_all(&CTX, &there.clone().into()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{there}: sink: gone fishing"));
}
