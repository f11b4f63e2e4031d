use std::sync::Arc;

use blobaccess::{Ac, Cas, DigestFunction, ErrorKind, MemoryStore};
use blobaccess_accounting::{Accounts, AccountsOptions, Class, Reporter};
use blobaccess_testkit::fakes::{CountingStore, InterruptibleStore, Outage};
use bytes::Bytes;
use futures::StreamExt;

use super::*;
use crate::QueueOptions;

type Fast<K> = Arc<CountingStore<MemoryStore<K>>>;
type Slow<K> = InterruptibleStore<Arc<CountingStore<MemoryStore<K>>>>;

struct Setup<K: Kind> {
    accounts: Arc<Accounts>,
    fast: Fast<K>,
    slow: Arc<CountingStore<MemoryStore<K>>>,
    outage: Outage,
    queue: Arc<UploadQueue<Slow<K>>>,
    store: WriteBehind<Fast<K>, Slow<K>>,
}

impl<K: Kind> Setup<K> {
    fn new(options: QueueOptions) -> Self {
        let accounts = Accounts::open(AccountsOptions::new(Reporter::new("host"))).unwrap();
        let memory = || Arc::new(CountingStore::new(MemoryStore::new(64 << 20)));
        let (fast, slow, outage) = (memory(), memory(), Outage::default());
        let below = InterruptibleStore::new(Arc::clone(&slow), outage.clone());
        let queue = Arc::new(UploadQueue::new(below, Arc::clone(&accounts), options));
        let store = WriteBehind::new(Arc::clone(&fast), Arc::clone(&queue));
        Self { accounts, fast, slow, outage, queue, store }
    }

    async fn settle(&self) {
        self.queue.close();
        self.queue.run().await;
    }
}

fn digest(contents: &[u8]) -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents)
}

fn ctx() -> Context {
    Context::background()
}

async fn put<B: BlobAccess>(store: &B, contents: &'static [u8]) -> Result<PutOutcome> {
    store.put(&ctx(), &digest(contents), Blob::from_bytes(contents)).await
}

async fn read<B: BlobAccess>(store: &B, digest: &Digest) -> Result<Bytes> {
    store.get(&ctx(), digest).await?.into_bytes(64 << 20).await
}

async fn is_missing<B: BlobAccess>(store: &B, digest: &Digest) -> Result<bool> {
    Ok(!store.find_missing(&ctx(), &digest.clone().into()).await?.is_empty())
}

#[tokio::test]
async fn what_is_queued_is_present_and_takes_no_memory() {
    let setup = Setup::<Cas>::new(QueueOptions::new());
    let outcome = put(&setup.store, b"contents").await.unwrap();
    assert_eq!(outcome, PutOutcome::Unclassified { stored_bytes: None });
    assert!(!is_missing(&setup.store, &digest(b"contents")).await.unwrap());
    assert_eq!(setup.slow.counts().calls(), 0);
    let queued = setup.queue.snapshot();
    assert_eq!((queued.items, queued.held_bytes), (1, 0));
    setup.settle().await;
    assert_eq!(read(&*setup.slow, &digest(b"contents")).await.unwrap(), "contents");
    assert_eq!(setup.accounts.tallies().sum().get(Class::Created).stored_bytes, 8);
}

#[tokio::test]
async fn acknowledged_when_uploaded_a_put_has_the_outcome_of_the_slow_store() {
    let setup = Setup::<Cas>::new(QueueOptions::new().with_acknowledge(Acknowledge::Uploaded));
    put(&setup.fast, b"contents").await.unwrap();
    let (first, again, ()) = futures::join!(put(&setup.store, b"contents"), put(&setup.store, b"contents"), async {
        setup.settle().await;
    });
    let outcomes = [first.unwrap(), again.unwrap()];
    assert_eq!(outcomes, [PutOutcome::Created { stored_bytes: 8 }, PutOutcome::AlreadyExists { stored_bytes: 8 }]);
    assert_eq!(setup.slow.counts().puts, 1, "the second joined the first");
}

#[tokio::test]
async fn a_message_above_the_maximum_of_the_queue_is_rejected_and_counted() {
    let setup = Setup::<Ac>::new(QueueOptions::new().with_max_blob_size_bytes(3));
    assert_eq!(put(&setup.store, b"large").await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    let tally = setup.accounts.tallies().sum();
    assert_eq!((tally.get(Class::Rejected).objects, tally.in_flight().objects), (1, 0));
}

#[tokio::test]
async fn what_was_evicted_before_its_upload_is_missing() {
    let setup = Setup::<Cas>::new(QueueOptions::new());
    // As if the fast store had taken it and lost it again.
    setup.store.upload(&ctx(), &digest(b"contents")).await.unwrap();
    assert!(is_missing(&setup.store, &digest(b"contents")).await.unwrap());
    setup.settle().await;
    assert_eq!(setup.accounts.tallies().sum().get(Class::Created).objects, 0);
    assert!(is_missing(&setup.store, &digest(b"contents")).await.unwrap());
}

#[tokio::test]
async fn what_the_fast_store_alone_has_is_missing() {
    let setup = Setup::<Cas>::new(QueueOptions::new());
    put(&setup.fast, b"contents").await.unwrap();
    assert!(is_missing(&setup.store, &digest(b"contents")).await.unwrap());
    put(&setup.slow, b"contents").await.unwrap();
    assert!(!is_missing(&setup.store, &digest(b"contents")).await.unwrap());
}

#[tokio::test]
async fn an_outage_of_the_slow_store_hides_nothing_that_the_fast_one_has() {
    let setup = Setup::<Cas>::new(QueueOptions::new());
    put(&setup.fast, b"here").await.unwrap();
    setup.outage.begin(Error::unavailable("down"));
    assert_eq!(read(&setup.store, &digest(b"here")).await.unwrap(), "here");
    assert!(!is_missing(&setup.store, &digest(b"here")).await.unwrap());
    assert!(setup.queue.is_queued(&digest(b"here")), "it is present because it is uploaded");
    let error = is_missing(&setup.store, &digest(b"elsewhere")).await.unwrap_err();
    assert_eq!(error.to_string(), "slow: down");
    assert_eq!(read(&setup.store, &digest(b"elsewhere")).await.unwrap_err().to_string(), "slow: down");
    setup.outage.end();
    setup.settle().await;
    assert!(!is_missing(&*setup.slow, &digest(b"here")).await.unwrap());
}

#[tokio::test]
async fn questions_in_an_outage_leave_half_of_the_queue_to_puts() {
    let setup = Setup::<Cas>::new(QueueOptions::new().with_max_items(4));
    let asked = [&b"one"[..], b"two", b"three"].map(digest);
    for contents in [&b"one"[..], b"two", b"three"] {
        put(&setup.fast, contents).await.unwrap();
    }
    setup.outage.begin(Error::unavailable("down"));
    let error = setup.store.find_missing(&ctx(), &asked.iter().cloned().collect()).await.unwrap_err();
    assert_eq!((error.to_string().as_str(), setup.queue.snapshot().items), ("slow: down", 0));
    for digest in &asked[..2] {
        assert!(!is_missing(&setup.store, digest).await.unwrap());
    }
    assert_eq!(is_missing(&setup.store, &asked[2]).await.unwrap_err().to_string(), "slow: down");
    assert!(!is_missing(&setup.store, &asked[0]).await.unwrap(), "it is queued already");
    for contents in [&b"three"[..], b"four"] {
        put(&setup.store, contents).await.unwrap();
    }
    setup.outage.end();
    setup.settle().await;
    assert_eq!(setup.queue.snapshot().uploaded, 4);
}

#[tokio::test]
async fn where_uploads_are_waited_for_an_outage_is_an_error() {
    let setup = Setup::<Cas>::new(QueueOptions::new().with_acknowledge(Acknowledge::Uploaded));
    put(&setup.fast, b"here").await.unwrap();
    setup.outage.begin(Error::unavailable("down"));
    assert!(is_missing(&setup.store, &digest(b"here")).await.is_err());
    assert!(!setup.queue.is_queued(&digest(b"here")));
}

#[tokio::test]
async fn a_full_queue_refuses_a_put_that_the_fast_store_took() {
    let setup = Setup::<Cas>::new(QueueOptions::new().with_max_items(1));
    put(&setup.store, b"one").await.unwrap();
    put(&setup.store, b"one").await.unwrap();
    let error = put(&setup.store, b"two").await.unwrap_err();
    assert_eq!(error.put_certainty(), PutCertainty::MaybeStored);
    assert!(error.is_retryable());
    assert!(is_missing(&setup.store, &digest(b"two")).await.unwrap());
    assert_eq!(read(&setup.store, &digest(b"two")).await.unwrap(), "two");
}

#[tokio::test]
async fn concurrent_readers_make_one_copy() {
    let setup = Setup::<Cas>::new(QueueOptions::new());
    let contents: Bytes = vec![7; 3 << 20].into();
    let name = digest(&contents);
    setup.slow.put(&ctx(), &name, Blob::from_bytes(contents.clone())).await.unwrap();
    let blobs = futures::future::try_join_all((0..3).map(|_| async { setup.store.get(&ctx(), &name).await }));
    for read in futures::future::join_all(blobs.await.unwrap().into_iter().map(|blob| blob.into_bytes(4 << 20))).await {
        assert!(read.unwrap() == contents);
    }
    assert_eq!(setup.fast.counts().puts, 1);
    assert!(read(&setup.fast, &name).await.unwrap() == contents);
    assert_eq!(setup.queue.snapshot().items, 0, "a blob from the slow store is not uploaded to it");
}

#[tokio::test]
async fn a_reader_that_goes_away_leaves_the_copy_to_the_next() {
    let setup = Setup::<Cas>::new(QueueOptions::new());
    put(&setup.slow, b"contents").await.unwrap();
    drop(setup.store.get(&ctx(), &digest(b"contents")).await.unwrap());
    assert!(is_missing(&setup.fast, &digest(b"contents")).await.unwrap());
    let mut part = setup.store.get(&ctx(), &digest(b"contents")).await.unwrap().into_stream(3..5).unwrap();
    assert_eq!(part.next().await.unwrap().unwrap(), "te");
    assert!(part.next().await.is_none());
    assert!(!is_missing(&setup.fast, &digest(b"contents")).await.unwrap(), "a part makes a copy of the whole");
}

#[tokio::test]
async fn a_message_is_uploaded_with_the_value_that_was_put() {
    let setup = Setup::<Ac>::new(QueueOptions::new());
    let key = digest(b"action");
    setup.store.put(&ctx(), &key, Blob::from_bytes("first")).await.unwrap();
    // As another process would that shares the store.
    setup.fast.put(&ctx(), &key, Blob::from_bytes("other")).await.unwrap();
    assert!(!is_missing(&setup.store, &key).await.unwrap());
    setup.settle().await;
    assert_eq!(read(&*setup.slow, &key).await.unwrap(), "first");
}

#[tokio::test]
async fn a_message_is_copied_unless_there_is_a_newer_one() {
    let setup = Setup::<Ac>::new(QueueOptions::new());
    let key = digest(b"action");
    setup.slow.put(&ctx(), &key, Blob::from_bytes("old")).await.unwrap();
    // A put that has the lock of the entry while a reader has read the old value from the slow store.
    let guard = setup.store.locks.lock(&key.cache_key(setup.fast.key_format())).await;
    let ctx = ctx();
    let mut reading = std::pin::pin!(setup.store.get(&ctx, &key));
    assert!(futures::poll!(&mut reading).is_pending());
    setup.fast.put(&ctx, &key, Blob::from_bytes("new")).await.unwrap();
    drop(setup.queue.enqueue_value(&ctx, &key, Bytes::from("new")).unwrap());
    drop(guard);
    assert_eq!(reading.await.unwrap().into_bytes(10).await.unwrap(), "new");
    assert_eq!(read(&setup.fast, &key).await.unwrap(), "new");
    setup.settle().await;
    assert_eq!(setup.accounts.tallies().sum().get(Class::Replaced).objects, 1);
}

/// A slicer of composites that have no parts.
#[derive(Debug)]
struct NoParts(std::sync::atomic::AtomicUsize);

#[async_trait]
impl Slicer for NoParts {
    async fn slice(&self, _parent: Blob, child: &Digest) -> Result<blobaccess::Sliced> {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Err(Error::not_found(format!("no part {child}")))
    }
}

#[tokio::test]
async fn a_part_that_does_not_exist_is_looked_for_once() {
    let setup = Setup::<Cas>::new(QueueOptions::new());
    put(&setup.store, b"composite").await.unwrap();
    let slicer = Arc::new(NoParts(std::sync::atomic::AtomicUsize::new(0)));
    let (parent, child) = (digest(b"composite"), digest(b"part"));
    let slicer_of_get: Arc<dyn Slicer> = Arc::<NoParts>::clone(&slicer);
    let error = setup.store.get_from_composite(&ctx(), &parent, &child, slicer_of_get).await.unwrap_err();
    assert!(error.is_not_found() && error.is_part_missing(), "{error}");
    assert_eq!(slicer.0.load(std::sync::atomic::Ordering::Relaxed), 1);
    assert_eq!(setup.slow.counts().calls(), 0);
}

#[tokio::test]
async fn what_was_queued_when_the_process_ended_is_queued_again() {
    let setup = Setup::<Cas>::new(QueueOptions::new());
    for contents in [&b"one"[..], b"two", b"three"] {
        setup.fast.put(&ctx(), &digest(contents), Blob::from_bytes(contents.to_vec())).await.unwrap();
    }
    put(&setup.slow, b"two").await.unwrap();
    for expected in [2, 0] {
        assert_eq!(setup.store.requeue(&ctx(), setup.fast.inner()).await.unwrap(), expected);
    }
    setup.settle().await;
    for contents in [&b"one"[..], b"two", b"three"] {
        assert!(!is_missing(&*setup.slow, &digest(contents)).await.unwrap());
    }
    let messages = Setup::<Ac>::new(QueueOptions::new());
    messages.fast.put(&ctx(), &digest(b"action"), Blob::from_bytes("result")).await.unwrap();
    assert_eq!(messages.store.requeue(&ctx(), messages.fast.inner()).await.unwrap(), 1);
    messages.settle().await;
    assert_eq!(read(&*messages.slow, &digest(b"action")).await.unwrap(), "result");
}
