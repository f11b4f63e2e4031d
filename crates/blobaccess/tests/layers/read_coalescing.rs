//! A herd of readers of one blob is one fetch.

use std::fmt::{self, Debug, Display, Formatter};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use blobaccess::decorators::ReadCoalescing;
use blobaccess::{
    Blob, BlobAccess, Caller, Capabilities, Cas, Clock, Context, Digest, DigestFunction, DigestSet, Error, ErrorKind,
    InstanceName, KeyFormat, MemoryStore, Provenance, PutOutcome, Result, Slicer,
};
use blobaccess_testkit::ManualClock;
use blobaccess_testkit::fakes::{CountingStore, InterruptibleStore, Outage, PausedStore};
use bytes::Bytes;
use futures::channel::mpsc;
use futures::future::join_all;
use futures::{FutureExt, StreamExt, TryStreamExt, poll, stream};

type Answer = Box<dyn Fn(&Context, &Digest) -> Result<Blob> + Send + Sync>;

/// A store whose blobs a function makes.
struct Answering {
    answer: Answer,
    memory: MemoryStore<Cas>,
}

impl Answering {
    fn new(answer: impl Fn(&Context, &Digest) -> Result<Blob> + Send + Sync + 'static) -> Self {
        Self { answer: Box::new(answer), memory: MemoryStore::new(1) }
    }
}

impl Display for Answering {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("answering")
    }
}

impl Debug for Answering {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answering").finish_non_exhaustive()
    }
}

#[async_trait]
impl BlobAccess for Answering {
    type Kind = Cas;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        (self.answer)(ctx, digest)
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        self.memory.get_from_composite(ctx, parent, child, slicer).await
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        self.memory.put(ctx, digest, blob).await
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        self.memory.find_missing(ctx, digests).await
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        self.memory.capabilities(ctx, instance_name).await
    }

    fn key_format(&self) -> KeyFormat {
        self.memory.key_format()
    }

    fn finds_in_bulk(&self) -> bool {
        self.memory.finds_in_bulk()
    }
}

fn is_leader(ctx: &Context) -> bool {
    ctx.caller().is_some_and(|caller| caller.name() == "leader")
}

fn in_pieces(contents: &Bytes) -> Vec<Result<Bytes>> {
    contents.chunks(1 << 20).map(|piece| Ok(contents.slice_ref(piece))).collect()
}

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

#[tokio::test]
async fn a_part_of_wrong_contents_is_not_handed_out() {
    let contents = Bytes::from(vec![7; 1 << 20]);
    let store = ReadCoalescing::new(Answering::new(|_, digest| {
        let mut flipped = vec![7; 1 << 20];
        flipped[99_000] ^= 1;
        let pieces = flipped.chunks(1_000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect::<Vec<_>>();
        Ok(Blob::from_untrusted_stream(digest, stream::iter(pieces), Provenance::store()))
    }));
    let blob = store.get(&Context::background(), &digest(&contents)).await.unwrap();
    let mut part = blob.into_stream(99_000..99_500).unwrap();
    assert_eq!(part.next().await.unwrap().unwrap_err().kind(), ErrorKind::DataLoss);
}

#[tokio::test]
async fn a_long_range_is_one_more_fetch() {
    let (contents, memory) = stored(9 << 20).await;
    let inner = Arc::new(CountingStore::new(memory));
    let store = ReadCoalescing::new(Arc::clone(&inner));
    let (ctx, digest) = (Context::background(), digest(&contents));
    let leader = store.get(&ctx, &digest).await.unwrap();
    let follower = store.get(&ctx, &digest).await.unwrap();
    for blob in [leader, follower] {
        let part: Vec<Bytes> = blob.into_stream(1_000..8_000_000).unwrap().try_collect().await.unwrap();
        assert!(part.concat() == contents[1_000..8_000_000]);
    }
    // The leader has the ranges of its own fetch.
    assert_eq!(inner.counts().gets, 2);
}

#[tokio::test]
async fn a_fetch_that_ends_with_its_callers_time_goes_on_for_the_others() {
    let contents = Bytes::from(vec![7; 3 << 20]);
    let whole = contents.clone();
    let store = ReadCoalescing::new(Answering::new(move |ctx, digest| {
        let mut pieces = in_pieces(&whole);
        if is_leader(ctx) {
            pieces[1] = Err(Error::deadline_exceeded("the leader's time is up"));
        }
        Ok(Blob::from_untrusted_stream(digest, stream::iter(pieces), Provenance::store()))
    }));
    let digest = digest(&contents);
    let late = Context::background().with_caller(Caller::new("leader"));
    let leader = store.get(&late, &digest).await.unwrap();
    let follower = store.get(&Context::background(), &digest).await.unwrap();
    assert_eq!(leader.into_bytes(64 << 20).await.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    assert!(follower.into_bytes(64 << 20).await.unwrap() == contents);
}

#[tokio::test]
async fn a_reader_left_behind_goes_on_in_its_own_context() {
    let contents = Bytes::from(vec![7; 9 << 20]);
    let whole = contents.clone();
    let gets = std::sync::atomic::AtomicU64::new(0);
    let store = ReadCoalescing::new(Answering::new(move |ctx, digest| {
        if gets.fetch_add(1, std::sync::atomic::Ordering::Relaxed) > 0 && is_leader(ctx) {
            return Err(Error::permission_denied("no longer"));
        }
        Ok(Blob::from_untrusted_stream(digest, stream::iter(in_pieces(&whole)), Provenance::store()))
    }));
    let digest = digest(&contents);
    let leader = store.get(&Context::background().with_caller(Caller::new("leader")), &digest).await.unwrap();
    let follower = store.get(&Context::background(), &digest).await.unwrap();
    assert!(leader.into_bytes(64 << 20).await.unwrap() == contents);
    assert!(follower.into_bytes(64 << 20).await.unwrap() == contents);
}

#[tokio::test]
async fn a_caller_waits_until_its_own_deadline() {
    let (contents, memory) = stored(5).await;
    let clock = ManualClock::new();
    let store = ReadCoalescing::new(PausedStore::new(memory)).with_clock(Arc::new(clock.clone()));
    let (ctx, digest) = (Context::background(), digest(&contents));
    let mut leader = store.get(&ctx, &digest);
    assert!(poll!(&mut leader).is_pending());
    let hurried = ctx.clone().with_deadline(clock.monotonic() + Duration::from_secs(1));
    let mut follower = store.get(&hurried, &digest);
    assert!(poll!(&mut follower).is_pending());
    clock.advance(Duration::from_secs(1));
    let ended = follower.now_or_never().expect("the follower's time is up");
    assert_eq!(ended.unwrap_err().kind(), ErrorKind::DeadlineExceeded);
    store.inner().release_all();
    assert_eq!(leader.await.unwrap().into_bytes(9).await.unwrap(), contents);
}

#[tokio::test]
async fn a_reader_that_is_kept_and_not_polled_holds_up_nobody() {
    let (contents, memory) = stored(5).await;
    let inner = Arc::new(PausedStore::new(memory));
    let store = ReadCoalescing::new(Arc::clone(&inner));
    let (ctx, digest) = (Context::background(), digest(&contents));
    let mut kept = store.get(&ctx, &digest);
    assert!(poll!(&mut kept).is_pending());
    inner.release_all();
    let blob = store.get(&ctx, &digest).now_or_never().expect("the kept caller holds up nobody").unwrap();
    assert_eq!(blob.into_bytes(9).now_or_never().unwrap().unwrap(), contents);
    drop(kept);

    // While it reads, too.
    let (sender, receiver) = mpsc::unbounded();
    let receiver = std::sync::Mutex::new(Some(receiver));
    let store = ReadCoalescing::new(Answering::new(move |_, digest| {
        let receiver = receiver.lock().unwrap().take().unwrap();
        Ok(Blob::from_untrusted_stream(digest, receiver, Provenance::store()))
    }));
    let mut kept = store.get(&ctx, &digest).await.unwrap().into_stream(..).unwrap();
    let other = store.get(&ctx, &digest).await.unwrap();
    assert!(poll!(kept.next()).is_pending());
    let other = tokio::spawn(other.into_bytes(9));
    tokio::task::yield_now().await;
    // The source knows the waker of its last poll only.
    assert!(poll!(kept.next()).is_pending());
    sender.unbounded_send(Ok(Bytes::from(contents.clone()))).unwrap();
    drop(sender);
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert_eq!(other.now_or_never().expect("the kept reader holds up nobody").unwrap().unwrap(), contents);
    assert_eq!(kept.next().await.unwrap().unwrap(), contents);
}
