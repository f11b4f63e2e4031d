//! A herd of readers of one blob is one fetch.

use std::sync::Arc;

use blobaccess::decorators::ReadCoalescing;
use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, Error, ErrorKind, InstanceName, MemoryStore};
use blobaccess_testkit::fakes::{CountingStore, InterruptibleStore, Outage, PausedStore};
use futures::future::join_all;
use futures::{StreamExt, poll};

fn digest(contents: &[u8]) -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents)
}

async fn stored(size: usize) -> (Vec<u8>, MemoryStore<Cas>) {
    let contents: Vec<u8> = (0..size).map(|index| u8::try_from(index % 251).unwrap()).collect();
    let memory = MemoryStore::new(64 << 20);
    memory.put(&Context::background(), &digest(&contents), Blob::from_bytes(contents.clone())).await.unwrap();
    (contents, memory)
}

#[tokio::test]
async fn a_herd_of_readers_is_one_fetch() {
    for size in [5, 9 << 20] {
        let (contents, memory) = stored(size).await;
        let inner = Arc::new(CountingStore::new(memory));
        let store = ReadCoalescing::new(Arc::clone(&inner));
        let (ctx, digest) = (Context::background(), digest(&contents));
        let blobs = join_all((0..30).map(|_| store.get(&ctx, &digest))).await;
        let reads = blobs.into_iter().map(|blob| blob.unwrap().into_bytes(64 << 20));
        assert!(join_all(reads).await.into_iter().all(|read| read.unwrap() == contents));
        assert_eq!(inner.counts().gets, 1, "{size}");
        // What is read afterwards is fetched anew.
        store.get(&ctx, &digest).await.unwrap().verify().await.unwrap();
        assert_eq!(inner.counts().gets, 2, "{size}");
    }
}

#[tokio::test]
async fn a_leader_that_leaves_hands_over() {
    let (contents, memory) = stored(3 << 20).await;
    let inner = Arc::new(PausedStore::new(memory));
    let store = ReadCoalescing::new(Arc::clone(&inner));
    let (ctx, digest) = (Context::background(), digest(&contents));
    let mut leader = store.get(&ctx, &digest);
    assert!(poll!(&mut leader).is_pending());
    let mut follower = store.get(&ctx, &digest);
    assert!(poll!(&mut follower).is_pending());
    drop(leader);
    inner.release_all();
    let blob = follower.await.unwrap();
    // One that goes away in the middle of reading, too.
    let mut leaving = store.get(&ctx, &digest).await.unwrap().into_stream(..).unwrap();
    assert!(leaving.next().await.is_some());
    drop(leaving);
    assert!(blob.into_bytes(64 << 20).await.unwrap() == contents);
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_up_nobody() {
    let contents: Vec<u8> = vec![7; 1 << 20];
    let pieces = contents.repeat(9);
    let (digest, ctx) = (digest(&pieces), Context::background());
    let memory = MemoryStore::<Cas>::new(64 << 20);
    memory.put(&ctx, &digest, Blob::from_bytes(pieces.clone())).await.unwrap();
    let inner = Arc::new(CountingStore::new(memory));
    let store = ReadCoalescing::new(Arc::clone(&inner));
    let slow = store.get(&ctx, &digest).await.unwrap();
    let quick = store.get(&ctx, &digest).await.unwrap();
    assert!(quick.into_bytes(64 << 20).await.unwrap() == pieces);
    assert!(slow.into_bytes(64 << 20).await.unwrap() == pieces);
    assert!(inner.counts().gets <= 2);
}

#[tokio::test]
async fn a_range_is_read_and_nothing_else() {
    let (contents, memory) = stored(9 << 20).await;
    let store = ReadCoalescing::new(memory);
    let (ctx, digest) = (Context::background(), digest(&contents));
    let blob = store.get(&ctx, &digest).await.unwrap();
    let mut part = blob.into_stream(8_000_000..8_000_010).unwrap();
    assert_eq!(part.next().await.unwrap().unwrap(), contents[8_000_000..8_000_010]);
}

#[tokio::test]
async fn an_outage_is_one_failure_for_all_and_is_not_remembered() {
    let (contents, memory) = stored(5).await;
    let outage = Outage::default();
    let inner = Arc::new(CountingStore::new(InterruptibleStore::new(memory, outage.clone())));
    let store = ReadCoalescing::new(Arc::clone(&inner));
    let (ctx, digest) = (Context::background(), digest(&contents));
    outage.begin(Error::unavailable("down"));
    let errors = join_all((0..5).map(|_| store.get(&ctx, &digest))).await;
    assert!(errors.into_iter().all(|blob| blob.unwrap_err().kind() == ErrorKind::Unavailable));
    outage.end();
    assert_eq!(store.get(&ctx, &digest).await.unwrap().into_bytes(9).await.unwrap(), contents);
}
