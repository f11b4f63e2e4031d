//! Contracts of replicators: how blobs get from one store into another.

use std::sync::Arc;
use std::time::Duration;

use blobaccess::replication::Replicator;
use blobaccess::{
    BlobAccess, BlobAccessExt, Clock, Context, Digest, DigestSet, Error, ErrorKind, Kind, MemoryStore, ReadRequest,
    Result, SystemClock,
};
use bytes::Bytes;
use futures::future::{MaybeDone, maybe_done};
use futures::{FutureExt, poll};

use crate::fakes::{CountingStore, InterruptibleStore, LeadingBytes, Outage, PausedStore};
use crate::subject::refused;
use crate::{AnyStore, Numbers, ReplicatorFixture, digest_of, seed};

/// The capacity of each store, in bytes: more than any contract copies.
const CAPACITY_BYTES: u64 = 64 << 20;

/// The time after which a call counts as hanging. An idle machine takes milliseconds.
const LIMIT: Duration = Duration::from_secs(30);

static CTX: Context = Context::background();

/// The two stores of a replicator, and blobs that none of them has seen.
struct Subject<K: Kind> {
    source: Arc<MemoryStore<K>>,
    sink: Arc<MemoryStore<K>>,
    source_outage: Outage,
    sink_outage: Outage,
    numbers: Numbers,
}

impl<K: Kind> Subject<K> {
    fn new() -> Self {
        Self {
            source: Arc::new(MemoryStore::new(CAPACITY_BYTES)),
            sink: Arc::new(MemoryStore::new(CAPACITY_BYTES)),
            source_outage: Outage::default(),
            sink_outage: Outage::default(),
            numbers: Numbers::new(seed("BLOBACCESS_TESTKIT_SEED")),
        }
    }

    /// Makes the replicator under test between stores that can break down.
    fn replicator<F: ReplicatorFixture<Kind = K>>(&self, fixture: &F) -> F::Replicator {
        let source = InterruptibleStore::new(Arc::clone(&self.source), self.source_outage.clone());
        let sink = InterruptibleStore::new(Arc::clone(&self.sink), self.sink_outage.clone());
        fixture.replicator(Arc::new(source), Arc::new(sink))
    }

    /// Draws a blob that no store has.
    fn draw(&mut self, size_bytes: usize) -> (Digest, Bytes) {
        let value = Bytes::from(self.numbers.bytes(size_bytes));
        let digest = if K::STORAGE_TYPE.is_mutable() { digest_of(self.numbers.bytes(142)) } else { digest_of(&value) };
        (digest, value)
    }

    /// Puts a new blob into the source.
    async fn hold(&mut self, size_bytes: usize) -> Result<(Digest, Bytes)> {
        let (digest, value) = self.draw(size_bytes);
        self.source.put_bytes(&CTX, &digest, value.clone()).await?;
        Ok((digest, value))
    }

    async fn assert_in_sink(&self, digest: &Digest, value: &Bytes) {
        let read = self.sink.get_bytes(&CTX, digest, CAPACITY_BYTES).await;
        assert!(read.as_ref().is_ok_and(|read| read == value), "{digest} is not in the sink as it is in the source");
    }
}

/// Reads `request` to its end, in a bounded time.
async fn read(replicator: &impl Replicator, request: &ReadRequest) -> Result<Bytes> {
    in_time(async { replicator.replicate(&CTX, request).await?.into_bytes(CAPACITY_BYTES).await }).await
}

async fn copy(replicator: &impl Replicator, digest: &Digest) -> Result<()> {
    in_time(replicator.replicate_all(&CTX, &digest.clone().into())).await
}

/// Waits for `work`, up to a limit: a call that hangs fails with `DeadlineExceeded`.
async fn in_time<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let clock: &dyn Clock = &SystemClock;
    let done = clock.timeout(Some(clock.monotonic() + LIMIT), work).await;
    done.unwrap_or_else(|_| Err(Error::deadline_exceeded(format!("a call has not ended after {LIMIT:?}"))))
}

/// Checks that the sink has all blobs of a set once the set was copied, each as it is in the source.
pub async fn what_was_copied_is_in_the_sink<F: ReplicatorFixture>(fixture: &F) -> Result<()> {
    let mut subject = Subject::<F::Kind>::new();
    let replicator = subject.replicator(fixture);
    let mut held = Vec::new();
    for size_bytes in (0..100).map(|number| number * 7 + 1).chain([100_000, 1 << 20]) {
        held.push(subject.hold(size_bytes).await?);
    }
    let digests: DigestSet = held.iter().map(|(digest, _)| digest.clone()).collect();
    for _ in 0..2 {
        in_time(replicator.replicate_all(&CTX, &digests)).await.map_err(|error| error.at("replicate_all"))?;
        if !fixture.copies() {
            assert_eq!(subject.sink.snapshot().blobs, 0, "a replicator that copies nothing has copied");
            continue;
        }
        for (digest, value) in &held {
            subject.assert_in_sink(digest, value).await;
        }
    }
    Ok(())
}

/// Checks that a copy of no digests needs no store and cannot fail.
pub async fn of_no_digests_none_is_copied<F: ReplicatorFixture>(fixture: &F) -> Result<()> {
    let subject = Subject::<F::Kind>::new();
    let replicator = subject.replicator(fixture);
    subject.source_outage.begin(Error::unavailable("the source is down"));
    subject.sink_outage.begin(Error::unavailable("the sink is down"));
    in_time(replicator.replicate_all(&CTX, &DigestSet::new())).await
}

/// Checks that a read returns what the source has, again and again, and leaves the sink with nothing else.
pub async fn a_read_returns_what_the_source_has<F: ReplicatorFixture>(fixture: &F) -> Result<()> {
    let mut subject = Subject::<F::Kind>::new();
    let replicator = subject.replicator(fixture);
    for size_bytes in [1, 1000, 1 << 20] {
        let (digest, value) = subject.hold(size_bytes).await?;
        for _ in 0..3 {
            let read = read(&replicator, &ReadRequest::blob(&digest)).await.map_err(|error| error.at("replicate"))?;
            assert!(read == value, "another value was read than the source has");
        }
        match subject.sink.get_bytes(&CTX, &digest, CAPACITY_BYTES).await {
            Ok(copied) => assert!(copied == value, "another value was copied than the source has"),
            Err(error) => assert!(error.is_not_found(), "{error:?}"),
        }
        assert!(fixture.copies() || subject.sink.snapshot().blobs == 0, "a replicator that copies nothing has copied");
    }
    Ok(())
}

/// Checks that a part is read from its composite, and that a missing part is told from a missing composite.
pub async fn a_part_is_read_from_its_composite<F: ReplicatorFixture>(fixture: &F) -> Result<()> {
    let mut subject = Subject::<F::Kind>::new();
    let replicator = subject.replicator(fixture);
    let (parent, value) = subject.hold(1000).await?;
    let part = value.slice(..100);
    for _ in 0..3 {
        let request = ReadRequest::part(&parent, &digest_of(&part), Arc::new(LeadingBytes));
        let read = read(&replicator, &request).await.map_err(|error| error.at("replicate of a part"))?;
        assert!(read == part, "another part was read than was asked for");
    }
    let (absent, _) = subject.draw(100);
    let request = ReadRequest::part(&absent, &digest_of(&part), Arc::new(LeadingBytes));
    let error = refused(read(&replicator, &request).await, "a read of a part whose composite is absent");
    assert!(error.is_blob_missing(), "a part of an absent composite: {error:?}");
    Ok(())
}

/// Returns whether `error` names `place`. On a wire, places are a part of the message, in front of its words.
fn names(error: &Error, place: &str) -> bool {
    error.trail().any(|named| named == place) || error.message().split(": ").any(|named| named == place)
}

/// Returns the message of `error` without the places that a wire has made a part of it.
fn words(error: &Error) -> &str {
    error.message().rsplit(": ").next().unwrap_or_default()
}

/// Checks that absence in the source is `NotFound` to a reader, and not to a caller that was told that it is there.
pub async fn what_the_source_lacks_is_not_found<F: ReplicatorFixture>(fixture: &F) -> Result<()> {
    let mut subject = Subject::<F::Kind>::new();
    let replicator = subject.replicator(fixture);
    let (absent, _) = subject.draw(100);
    let error = refused(read(&replicator, &ReadRequest::blob(&absent)).await, "a read of an absent blob");
    assert!(error.is_blob_missing(), "a read of an absent blob: {error:?}");
    if fixture.copies() {
        let error = refused(copy(&replicator, &absent).await, "a copy of an absent blob");
        assert_eq!(error.kind(), ErrorKind::Internal, "a copy of a blob that was said to be there: {error:?}");
        let name = absent.to_string();
        let names_it = error.trail().any(|place| place.contains(&name)) || names(&error, &name);
        assert!(names_it, "the digest is not named: {error:?}");
    }
    Ok(())
}

/// Checks that an outage of the source keeps its kind and message, and that a failed copy names the source.
pub async fn a_source_that_is_down_is_named<F: ReplicatorFixture>(fixture: &F) -> Result<()> {
    let mut subject = Subject::<F::Kind>::new();
    let replicator = subject.replicator(fixture);
    let (digest, _) = subject.hold(100).await?;
    for kind in [ErrorKind::Unavailable, ErrorKind::ResourceExhausted, ErrorKind::DataLoss] {
        subject.source_outage.begin(Error::new(kind, "the source is down"));
        let error = refused(read(&replicator, &ReadRequest::blob(&digest)).await, "a read during an outage");
        assert_eq!((error.kind(), error.message()), (kind, "the source is down"), "a read: {error:?}");
        if fixture.copies() {
            let error = refused(copy(&replicator, &digest).await, "a copy during an outage");
            assert_eq!((error.kind(), words(&error)), (kind, "the source is down"), "a copy: {error:?}");
            assert!(names(&error, "source"), "the source is not named: {error:?}");
        }
    }
    Ok(())
}

/// Checks that an outage of the sink keeps nobody from reading contents, and that a failed copy names the sink.
///
/// A message may be refused, since the sink may have a newer one; then the sink is named.
pub async fn a_sink_that_is_down_keeps_nobody_from_reading<F: ReplicatorFixture>(fixture: &F) -> Result<()> {
    let mut subject = Subject::<F::Kind>::new();
    let replicator = subject.replicator(fixture);
    for kind in [ErrorKind::Unavailable, ErrorKind::ResourceExhausted, ErrorKind::Internal] {
        subject.sink_outage.begin(Error::new(kind, "the sink is down"));
        for size_bytes in [100, 1 << 20] {
            let (digest, value) = subject.hold(size_bytes).await?;
            match read(&replicator, &ReadRequest::blob(&digest)).await {
                Ok(read) => assert!(read == value, "another value was read than the source has"),
                Err(error) => {
                    let is_message = F::Kind::STORAGE_TYPE.is_mutable();
                    assert!(is_message, "a sink that is down fails a read of contents: {error:?}");
                    assert_eq!((error.kind(), error.message()), (kind, "the sink is down"), "a read: {error:?}");
                    assert!(error.trail().any(|place| place == "sink"), "the sink is not named: {error:?}");
                }
            }
            if fixture.copies() {
                let error = refused(copy(&replicator, &digest).await, "a copy into a sink that is down");
                assert_eq!((error.kind(), words(&error)), (kind, "the sink is down"), "a copy: {error:?}");
                assert!(names(&error, "sink"), "the sink is not named: {error:?}");
            }
        }
    }
    Ok(())
}

/// Checks that after an outage of either store copies are made as before, and that nothing is assumed to be copied.
pub async fn after_an_outage_copies_are_made_as_before<F: ReplicatorFixture>(fixture: &F) -> Result<()> {
    let mut subject = Subject::<F::Kind>::new();
    let replicator = subject.replicator(fixture);
    for of_sink in [false, true] {
        let (digest, value) = subject.hold(100).await?;
        let outage = if of_sink { &subject.sink_outage } else { &subject.source_outage };
        outage.begin(Error::unavailable("down"));
        // The other contracts check how these end.
        drop(copy(&replicator, &digest).await);
        drop(read(&replicator, &ReadRequest::blob(&digest)).await);
        outage.end();
        copy(&replicator, &digest).await.map_err(|error| error.at("replicate_all after an outage"))?;
        if fixture.copies() {
            subject.assert_in_sink(&digest, &value).await;
        }
        let read = read(&replicator, &ReadRequest::blob(&digest)).await;
        assert!(read.map_err(|error| error.at("replicate after an outage"))? == value, "another value was read");
    }
    Ok(())
}

/// Checks that callers at the same time are all served, whether they read or have a set copied.
pub async fn callers_at_once_are_all_served<F: ReplicatorFixture>(fixture: &F) -> Result<()> {
    let mut subject = Subject::<F::Kind>::new();
    let replicator = Arc::new(subject.replicator(fixture));
    let mut held = Vec::new();
    for size_bytes in [10, 1000, 100_000] {
        held.push(subject.hold(size_bytes).await?);
    }
    let digests: DigestSet = held.iter().map(|(digest, _)| digest.clone()).collect();
    let mut calls = Vec::new();
    for (number, (digest, value)) in held.iter().cycle().take(120).cloned().enumerate() {
        let (replicator, digests) = (Arc::clone(&replicator), digests.clone());
        calls.push(tokio::spawn(async move {
            if number % 4 == 0 {
                return replicator.replicate_all(&CTX, &digests).await;
            }
            let read = read(&*replicator, &ReadRequest::blob(&digest)).await?;
            assert!(read == value, "another value was read than the source has");
            Ok(())
        }));
    }
    for call in calls {
        in_time(async { call.await.map_err(|panic| Error::internal(format!("a call panicked: {panic}")))? }).await?;
    }
    for (digest, value) in held.iter().filter(|_| fixture.copies()) {
        subject.assert_in_sink(digest, value).await;
    }
    Ok(())
}

/// Checks that a call that is dropped midway leaves no other call waiting: each copy is driven on by whoever needs it.
pub async fn a_dropped_call_leaves_nobody_waiting<F: ReplicatorFixture>(fixture: &F) -> Result<()> {
    // Before which call of the stores the first caller goes away.
    for released in 0..6 {
        for (first_reads, second_reads) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut subject = Subject::<F::Kind>::new();
            let (digest, value) = subject.hold(100).await?;
            let source = Arc::new(PausedStore::new(Arc::clone(&subject.source)));
            let sink = Arc::new(PausedStore::new(Arc::clone(&subject.sink)));
            let replicator = fixture.replicator(any(&source), any(&sink));
            let call = |reads: bool| {
                let (replicator, digest, value) = (&replicator, &digest, &value);
                let call = async move {
                    if !reads {
                        return replicator.replicate_all(&CTX, &digest.clone().into()).await;
                    }
                    let blob = replicator.replicate(&CTX, &ReadRequest::blob(digest)).await?;
                    assert!(blob.into_bytes(CAPACITY_BYTES).await? == *value, "another value was read");
                    Ok(())
                };
                maybe_done(call.boxed())
            };
            let (mut first, mut second) = (call(first_reads), call(second_reads));
            for _ in 0..released {
                advance([&mut first, &mut second]).await;
                source.release_one();
                sink.release_one();
            }
            advance([&mut first, &mut second]).await;
            drop(first);
            source.release_all();
            sink.release_all();
            in_time((&mut second).map(Ok)).await.map_err(|error| error.at("beside a dropped call"))?;
            let result = std::pin::Pin::new(&mut second).take_output().unwrap_or(Ok(()));
            result.map_err(|error| error.at("a call beside one that was dropped"))?;
            // And whoever comes later.
            copy(&replicator, &digest).await.map_err(|error| error.at("a call after one that was dropped"))?;
            if fixture.copies() {
                subject.assert_in_sink(&digest, &value).await;
            }
        }
    }
    Ok(())
}

/// Returns `store` without its type.
fn any<B: BlobAccess>(store: &Arc<B>) -> AnyStore<B::Kind> {
    let store: AnyStore<B::Kind> = Arc::<B>::clone(store);
    store
}

/// Polls both calls until they wait for a store.
async fn advance<F: Future + Unpin>(mut calls: [&mut MaybeDone<F>; 2]) {
    for _ in 0..10 {
        for call in &mut calls {
            let _: std::task::Poll<()> = poll!(&mut **call);
        }
        tokio::task::yield_now().await;
    }
}

/// Checks that slow stores delay copies and reads, and fail none.
pub async fn slow_stores_delay_and_fail_nothing<F: ReplicatorFixture>(fixture: &F) -> Result<()> {
    let mut subject = Subject::<F::Kind>::new();
    let source = Arc::new(CountingStore::new(PausedStore::new(Arc::clone(&subject.source))));
    let sink = Arc::new(CountingStore::new(PausedStore::new(Arc::clone(&subject.sink))));
    let releasing = [Arc::clone(&source), Arc::clone(&sink)].map(|store| {
        tokio::spawn(async move {
            // One release for each call, and none in advance.
            for released in 0.. {
                while store.counts().calls() <= released {
                    store.inner().until_waiting(1).await;
                    tokio::task::yield_now().await;
                }
                for _ in 0..20 {
                    tokio::task::yield_now().await;
                }
                store.inner().release_one();
            }
        })
    });
    let replicator = fixture.replicator(source, sink);
    let mut held = Vec::new();
    for size_bytes in [1, 1000, 1 << 20] {
        held.push(subject.hold(size_bytes).await?);
    }
    for (digest, value) in &held {
        let read = read(&replicator, &ReadRequest::blob(digest)).await;
        assert!(read.map_err(|error| error.at("a read of slow stores"))? == *value, "another value was read");
    }
    let digests: DigestSet = held.iter().map(|(digest, _)| digest.clone()).collect();
    let copied = in_time(replicator.replicate_all(&CTX, &digests)).await;
    releasing.iter().for_each(tokio::task::JoinHandle::abort);
    copied.map_err(|error| error.at("a copy between slow stores"))?;
    for (digest, value) in held.iter().filter(|_| fixture.copies()) {
        subject.assert_in_sink(digest, value).await;
    }
    Ok(())
}

/// Checks that a replicator prints as one line that is not empty.
pub async fn a_replicator_prints_as_one_line<F: ReplicatorFixture>(fixture: &F) -> Result<()> {
    let line = Subject::<F::Kind>::new().replicator(fixture).to_string();
    assert!(!line.is_empty() && !line.contains('\n'), "a replicator prints as {line:?}");
    Ok(())
}
