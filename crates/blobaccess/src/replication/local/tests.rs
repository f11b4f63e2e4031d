use bytes::Bytes;
use futures::{StreamExt, poll, stream};

use super::*;
use crate::decorators::fakes::{Beginning, Noting, digest_of};
use crate::{Ac, Cas, ErrorKind, Operation};

static CTX: Context = Context::background();

type Store<K> = Arc<Noting<K>>;
type Stores<K> = (Store<K>, Store<K>, LocalReplicator<Noting<K>, Noting<K>>);

fn stores<K: Kind>() -> Stores<K> {
    let (source, sink) = (Noting::new(), Noting::new());
    let replicator = LocalReplicator::new(Arc::clone(&source), Arc::clone(&sink));
    (source, sink, replicator)
}

async fn read(replicator: &impl Replicator, digest: &Digest) -> Result<Bytes> {
    replicator.replicate(&CTX, &ReadRequest::blob(digest)).await?.into_bytes(1 << 20).await
}

fn has<K: Kind>(store: &Store<K>) -> bool {
    store.memory.snapshot().blobs > 0
}

/// Makes a blob that is not at hand.
fn streamed(contents: &'static str) -> Blob {
    let pieces = contents.as_bytes().chunks(2).map(|piece| Ok(Bytes::from_static(piece)));
    Blob::from_verified_stream(&digest_of(contents), stream::iter(pieces.collect::<Vec<_>>()))
}

#[tokio::test]
async fn readers_at_the_same_time_make_one_copy() {
    let (source, sink, replicator) = stores::<Cas>();
    let digest = source.hold_contents("hello").await;
    let mut blobs = vec![replicator.replicate(&CTX, &ReadRequest::blob(&digest)).await.unwrap()];
    for _ in 0..2 {
        blobs.push(replicator.copied_while_read(&CTX, &digest, streamed("hello")).unwrap());
    }
    for read in futures::future::join_all(blobs.into_iter().map(|blob| blob.into_bytes(9))).await {
        assert_eq!(read.unwrap(), "hello");
    }
    assert_eq!(sink.count(Operation::Put), 1);
    assert!(has(&sink));
}

#[tokio::test]
async fn a_reader_that_goes_away_leaves_the_copy_to_the_next() {
    let (source, sink, replicator) = stores::<Cas>();
    let digest = source.hold_contents("hello").await;
    drop(replicator.replicate(&CTX, &ReadRequest::blob(&digest)).await.unwrap());
    assert!(!has(&sink));
    assert_eq!(read(&replicator, &digest).await.unwrap(), "hello");
    assert!(has(&sink));
}

#[tokio::test]
async fn a_sink_that_fails_or_hangs_fails_no_reader() {
    let (source, sink, replicator) = stores::<Cas>();
    let digest = source.hold_contents("hello").await;
    sink.fail_with(Error::unavailable("gone fishing"));
    assert_eq!(read(&replicator, &digest).await.unwrap(), "hello");
    sink.fail_with(None);
    // The copy is more than this behind before it has begun.
    let replicator = replicator.with_max_apart_bytes(1);
    let blob = replicator.copied_while_read(&CTX, &digest, streamed("hello")).unwrap();
    let mut blob = blob.into_stream(..).unwrap();
    sink.set_held(true);
    assert_eq!(blob.next().await.unwrap().unwrap(), "he");
    assert_eq!(blob.next().await.unwrap().unwrap(), "ll");
    assert!(!has(&sink));
}

#[tokio::test]
async fn a_part_is_read_from_a_composite_that_is_copied_whole() {
    let (source, sink, replicator) = stores::<Cas>();
    let parent = source.hold_contents("hello").await;
    let request = ReadRequest::part(&parent, &digest_of("he"), Arc::new(Beginning));
    let part = replicator.replicate(&CTX, &request).await.unwrap();
    assert_eq!(part.into_bytes(9).await.unwrap(), "he");
    assert_eq!(sink.memory.get(&CTX, &parent).await.unwrap().into_bytes(9).await.unwrap(), "hello");
}

#[tokio::test]
async fn absence_in_the_source_is_not_found() {
    let (_, sink, replicator) = stores::<Cas>();
    let error = read(&replicator, &digest_of("hello")).await.unwrap_err();
    assert!(error.is_not_found() && !error.is_part_missing());
    assert!(sink.noted().is_empty());
}

#[tokio::test]
async fn a_message_is_copied_unless_the_sink_has_a_newer_one() {
    let (source, sink, replicator) = stores::<Ac>();
    let digest = source.hold_contents("old").await;
    assert_eq!(read(&replicator, &digest).await.unwrap(), "old");
    assert!(has(&sink));
    sink.memory.put(&CTX, &digest, Blob::from_bytes("new")).await.unwrap();
    assert_eq!(read(&replicator, &digest).await.unwrap(), "new");
    replicator.replicate_all(&CTX, &digest.clone().into()).await.unwrap();
    assert_eq!(sink.memory.get(&CTX, &digest).await.unwrap().into_bytes(9).await.unwrap(), "new");
    sink.fail_with(Error::unavailable("gone fishing"));
    assert_eq!(read(&replicator, &digest).await.unwrap_err().to_string(), "sink: gone fishing");
}

#[tokio::test]
async fn a_message_waits_for_the_lock_of_its_entry() {
    let (source, _, replicator) = stores::<Ac>();
    let locks = Arc::new(EntryLocks::new());
    let replicator = replicator.with_entry_locks(Arc::clone(&locks));
    let digest = source.hold_contents("old").await;
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
    let digest = source.hold_contents("large").await;
    let replicator = replicator.with_max_message_bytes(4);
    assert_eq!(read(&replicator, &digest).await.unwrap(), "large");
    assert!(!has(&sink));
}

#[tokio::test]
async fn all_digests_are_copied_once_for_all_that_ask() {
    let (source, sink, replicator) = stores::<Cas>();
    let digests: DigestSet = [source.hold_contents("a").await, source.hold_contents("b").await].into();
    source.set_held(true);
    let mut first = Box::pin(replicator.replicate_all(&CTX, &digests));
    assert!(poll!(&mut first).is_pending());
    let mut second = Box::pin(replicator.replicate_all(&CTX, &digests));
    assert!(poll!(&mut second).is_pending());
    // The caller that began the copies goes away.
    drop(first);
    source.set_held(false);
    second.await.unwrap();
    assert!(sink.memory.find_missing(&CTX, &digests).await.unwrap().is_empty());
    assert_eq!((source.count(Operation::Get), sink.count(Operation::Put)), (2, 2));
}

#[tokio::test]
async fn a_failed_copy_says_where_it_failed_and_for_whom() {
    let (source, sink, replicator) = stores::<Cas>();
    let absent = digest_of("absent");
    let error = replicator.replicate_all(&CTX, &absent.clone().into()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert_eq!(error.to_string(), format!("{absent}: source: blob {absent} is not stored"));
    let there = source.hold_contents("hello").await;
    sink.fail_with(Error::unavailable("gone fishing"));
    let error = replicator.replicate_all(&CTX, &there.clone().into()).await.unwrap_err();
    assert_eq!(error.to_string(), format!("{there}: sink: gone fishing"));
}
