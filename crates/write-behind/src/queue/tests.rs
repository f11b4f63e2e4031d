use std::time::Duration;

use blobaccess::{Ac, Clock, DigestFunction, ErrorKind, MemoryStore, PutCertainty};
use blobaccess_accounting::{AccountsOptions, Class, Reporter};
use blobaccess_testkit::ManualClock;
use blobaccess_testkit::fakes::{InterruptibleStore, Outage};

use super::*;

type Slow<K> = InterruptibleStore<Arc<MemoryStore<K>>>;

struct Setup {
    accounts: Arc<Accounts>,
    clock: ManualClock,
    cas: Arc<MemoryStore<Cas>>,
    ac: Arc<MemoryStore<Ac>>,
    outage: Outage,
}

impl Setup {
    fn new() -> Self {
        let clock = ManualClock::new();
        let accounts = Accounts::builder(AccountsOptions::new(Reporter::new("host")));
        Self {
            accounts: accounts.with_clock(Arc::new(clock.clone())).open().unwrap(),
            clock,
            cas: Arc::new(MemoryStore::new(1 << 20)),
            ac: Arc::new(MemoryStore::new(1 << 20)),
            outage: Outage::default(),
        }
    }

    fn contents(&self, options: QueueOptions) -> Arc<UploadQueue<Slow<Cas>>> {
        let store = InterruptibleStore::new(Arc::clone(&self.cas), self.outage.clone());
        Arc::new(UploadQueue::new(store, Arc::clone(&self.accounts), options))
    }

    fn results(&self, contents: &Arc<UploadQueue<Slow<Cas>>>) -> UploadQueue<Slow<Ac>> {
        let store = InterruptibleStore::new(Arc::clone(&self.ac), Outage::default());
        UploadQueue::new(store, Arc::clone(&self.accounts), QueueOptions::new()).following(Arc::clone(contents))
    }
}

fn digest(contents: &[u8]) -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents)
}

async fn put<B: BlobAccess>(queue: &UploadQueue<B>, contents: &'static [u8]) -> Result<PutOutcome> {
    queue.put(&Context::background(), &digest(contents), Blob::from_bytes(contents)).await
}

/// Runs the queue until there is nothing to do.
async fn settle<B: BlobAccess>(queue: &UploadQueue<B>) {
    let mut run = std::pin::pin!(queue.run());
    for _ in 0..100 {
        assert!(futures::poll!(&mut run).is_pending());
        tokio::task::yield_now().await;
    }
}

/// Makes an action result with one output file, or one output directory.
fn result_of(field: u8, named: &Digest) -> Vec<u8> {
    let message = |number: u8, body: &[u8]| {
        let mut bytes = vec![number << 3 | 2, u8::try_from(body.len()).unwrap()];
        bytes.extend(body);
        bytes
    };
    let mut body = message(1, named.hash().to_string().as_bytes());
    body.extend([2 << 3, u8::try_from(named.size_bytes()).unwrap()]);
    // The digest is the second field of a file, and the third of a directory.
    let inner = message(if field == 2 { 2 } else { 3 }, &body);
    message(field, &inner)
}

#[tokio::test]
async fn what_is_queued_can_be_read_and_is_not_missing() {
    let setup = Setup::new();
    let queue = setup.contents(QueueOptions::new());
    let ctx = Context::background();
    assert_eq!(put(&queue, b"hello").await.unwrap(), PutOutcome::Unclassified { stored_bytes: None });
    assert_eq!(setup.cas.snapshot().blobs, 0);
    assert_eq!(queue.get(&ctx, &digest(b"hello")).await.unwrap().into_bytes(9).await.unwrap(), "hello");
    let asked: DigestSet = [digest(b"hello"), digest(b"other")].into_iter().collect();
    assert_eq!(queue.find_missing(&ctx, &asked).await.unwrap(), digest(b"other").into());
    settle(&queue).await;
    assert_eq!((setup.cas.snapshot().blobs, queue.snapshot().items), (1, 0));
    assert_eq!(setup.accounts.tallies().sum().get(Class::Created).stored_bytes, 5);
}

#[tokio::test]
async fn equal_uploads_are_one() {
    let setup = Setup::new();
    let queue = setup.contents(QueueOptions::new());
    for _ in 0..5 {
        put(&queue, b"hello").await.unwrap();
    }
    settle(&queue).await;
    assert_eq!((queue.snapshot().joined, queue.snapshot().uploaded), (4, 1));
    assert_eq!(setup.accounts.tallies().sum().get(Class::Started).objects, 1);
}

#[tokio::test]
async fn a_full_queue_refuses_and_counts_what_it_drops() {
    let setup = Setup::new();
    let queue = setup.contents(QueueOptions::new().with_max_bytes(8));
    put(&queue, b"hello").await.unwrap();
    let error = put(&queue, b"world").await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::ResourceExhausted, true));
    assert_eq!(error.put_certainty(), PutCertainty::NotStored);
    let store: Arc<dyn BlobAccess<Kind = Cas>> = Arc::<MemoryStore<Cas>>::clone(&setup.cas);
    let full = setup.contents(QueueOptions::new().with_max_items(0));
    let refused = full.enqueue_from(&Context::background(), &digest(b"x"), 9, Some(3), store);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::FailedPrecondition);
    let tally = setup.accounts.tallies().sum();
    let full = tally.get(Class::QueueFull);
    assert_eq!((full.objects, full.stored_bytes, full.unsized_bytes), (1, 0, 5));
    let disabled = tally.get(Class::Disabled);
    assert_eq!((disabled.objects, disabled.stored_bytes, disabled.unsized_bytes), (1, 3, 0));
    assert_eq!(tally.in_flight().objects, 1);
}

#[tokio::test]
async fn a_blob_can_wait_in_a_store_and_be_gone_by_then() {
    let setup = Setup::new();
    let queue = setup.contents(QueueOptions::new().with_max_bytes(0));
    let local: Arc<dyn BlobAccess<Kind = Cas>> = Arc::new(MemoryStore::<Cas>::new(1 << 20));
    let ctx = Context::background();
    local.put(&ctx, &digest(b"hello"), Blob::from_bytes("hello")).await.unwrap();
    for contents in [b"hello", b"gone!"] {
        queue.enqueue_from(&ctx, &digest(contents), 5, Some(4), Arc::clone(&local)).unwrap();
    }
    settle(&queue).await;
    let tally = setup.accounts.tallies().sum();
    assert_eq!(tally.get(Class::Created).objects, 1);
    assert_eq!(tally.get(Class::SourceUnavailable).stored_bytes, 4);
    assert_eq!(queue.snapshot().items, 0);
}

#[tokio::test]
async fn a_drain_gives_up_what_is_left_at_its_deadline() {
    let setup = Setup::new();
    let queue = setup.contents(QueueOptions::new());
    put(&queue, b"hello").await.unwrap();
    put(&queue, b"world").await.unwrap();
    // Nobody runs it.
    let drain = queue.drain(setup.clock.monotonic() + Duration::from_secs(5));
    let ((), drained) = futures::join!(
        async {
            setup.clock.until_sleepers(1).await;
            setup.clock.advance(Duration::from_secs(5));
        },
        drain
    );
    assert_eq!(drained.dropped, 2);
    assert_eq!(setup.accounts.tallies().sum().get(Class::Shutdown).objects, 2);
    assert_eq!((queue.snapshot().items, queue.snapshot().held_bytes), (0, 0));
    assert_eq!(put(&queue, b"later").await.unwrap_err().kind(), ErrorKind::FailedPrecondition);
    // Closed and empty, it ends.
    queue.run().await;
}

#[tokio::test]
async fn a_drain_ends_when_all_is_uploaded() {
    let setup = Setup::new();
    let queue = setup.contents(QueueOptions::new());
    put(&queue, b"hello").await.unwrap();
    let ((), drained) = futures::join!(queue.run(), queue.drain(setup.clock.monotonic() + Duration::from_secs(5)));
    assert_eq!((drained.dropped, setup.cas.snapshot().blobs), (0, 1));
}

#[tokio::test]
async fn a_newer_value_takes_the_place_of_one_that_waits() {
    let setup = Setup::new();
    let contents = setup.contents(QueueOptions::new());
    let results = setup.results(&contents);
    let (ctx, action) = (Context::background(), digest(b"action"));
    for value in ["one", "two", "three"] {
        results.put(&ctx, &action, Blob::from_bytes(value)).await.unwrap();
    }
    settle(&results).await;
    assert_eq!(setup.ac.get(&ctx, &action).await.unwrap().into_bytes(9).await.unwrap(), "three");
    let tally = setup.accounts.tallies().sum();
    assert_eq!((tally.get(Class::Started).objects, tally.get(Class::Created).objects), (3, 1));
    assert_eq!((tally.in_flight().objects, results.snapshot().items), (0, 0));
    assert_eq!(tally.get(Class::SourceUnavailable).objects, results.snapshot().superseded);
    assert_eq!((results.snapshot().superseded, results.snapshot().joined, results.snapshot().dropped), (2, 0, 0));
}

#[tokio::test]
async fn values_of_one_entry_are_uploaded_one_after_another() {
    let setup = Setup::new();
    let results = Arc::new(setup.results(&setup.contents(QueueOptions::new())));
    let (ctx, action) = (Context::background(), digest(b"action"));
    // Two values wait, so that the entry is listed twice, and the newer one is sent.
    for value in ["one", "two"] {
        results.put(&ctx, &action, Blob::from_bytes(value)).await.unwrap();
    }
    let sent = results.entries().next().unwrap();
    results.put(&ctx, &action, Blob::from_bytes("three")).await.unwrap();
    assert!(results.entries().next().is_none(), "two values would race");
    results.upload(sent).await;
    settle(&*results).await;
    assert_eq!(setup.ac.get(&ctx, &action).await.unwrap().into_bytes(9).await.unwrap(), "three");
}

#[tokio::test]
async fn a_result_follows_its_contents() {
    let setup = Setup::new();
    let contents = setup.contents(QueueOptions::new());
    let results = setup.results(&contents);
    put(&contents, b"output").await.unwrap();
    let message = result_of(2, &digest(b"output"));
    results.put(&Context::background(), &digest(b"action"), Blob::from_bytes(message)).await.unwrap();
    let mut running = std::pin::pin!(results.run());
    assert!(futures::poll!(&mut running).is_pending());
    assert_eq!(setup.ac.snapshot().blobs, 0);
    settle(&contents).await;
    for _ in 0..100 {
        assert!(futures::poll!(&mut running).is_pending());
    }
    assert_eq!((setup.ac.snapshot().blobs, setup.cas.snapshot().blobs), (1, 1));
}

#[tokio::test]
async fn a_result_is_dropped_with_what_it_names() {
    for (field, expected) in [(2, 1), (3, 2)] {
        let setup = Setup::new();
        let contents = setup.contents(QueueOptions::new());
        let results = setup.results(&contents);
        let ctx = Context::background();
        put(&contents, b"there").await.unwrap();
        settle(&contents).await;
        setup.outage.begin(Error::unavailable("down").not_stored());
        put(&contents, b"lost").await.unwrap();
        settle(&contents).await;
        setup.outage.end();
        // One names lost contents; the other names stored contents, as a file or as a tree that may name lost contents.
        for (action, named) in [(b"one", &b"lost"[..]), (b"two", b"there")] {
            let message = result_of(field, &digest(named));
            results.put(&ctx, &digest(action), Blob::from_bytes(message)).await.unwrap();
        }
        settle(&results).await;
        assert_eq!(setup.accounts.tallies().sum().get(Class::SourceUnavailable).objects, expected, "field {field}");
        assert_eq!(setup.ac.snapshot().blobs, 2 - usize::try_from(expected).unwrap());
        // Once the contents are uploaded after all, results follow again.
        put(&contents, b"lost").await.unwrap();
        settle(&contents).await;
        let message = result_of(field, &digest(b"lost"));
        results.put(&ctx, &digest(b"one"), Blob::from_bytes(message)).await.unwrap();
        settle(&results).await;
        assert!(results.find_missing(&ctx, &digest(b"one").into()).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_result_that_waits_outlives_whoever_ran_the_queue() {
    let setup = Setup::new();
    let contents = setup.contents(QueueOptions::new());
    let results = setup.results(&contents);
    put(&contents, b"output").await.unwrap();
    let message = result_of(2, &digest(b"output"));
    let (ctx, action) = (Context::background(), digest(b"action"));
    results.put(&ctx, &action, Blob::from_bytes(message.clone())).await.unwrap();
    {
        let mut running = std::pin::pin!(results.run());
        assert!(futures::poll!(&mut running).is_pending());
        assert_eq!(results.snapshot().uploading, 1);
    }
    assert_eq!((results.snapshot().uploading, results.snapshot().items), (0, 1));
    assert_eq!(setup.accounts.tallies().sum().get(Class::Shutdown).objects, 0);
    {
        // A newer value that came in the meantime is the one that stays.
        let mut running = std::pin::pin!(results.run());
        assert!(futures::poll!(&mut running).is_pending());
        results.put(&ctx, &action, Blob::from_bytes(message)).await.unwrap();
    }
    assert_eq!((results.snapshot().items, setup.accounts.tallies().sum().in_flight().objects), (1, 2));
    settle(&contents).await;
    settle(&results).await;
    assert_eq!((setup.ac.snapshot().blobs, results.snapshot().items, results.snapshot().held_bytes), (1, 0, 0));
    let tally = setup.accounts.tallies().sum();
    assert_eq!((tally.get(Class::Created).objects, tally.get(Class::SourceUnavailable).objects), (2, 1));
    assert_eq!(tally.in_flight().objects, 0);
}

#[tokio::test]
async fn what_is_interrupted_after_a_drain_is_given_up() {
    let setup = Setup::new();
    let contents = setup.contents(QueueOptions::new());
    let results = setup.results(&contents);
    put(&contents, b"output").await.unwrap();
    put(&results, b"result").await.unwrap();
    {
        let mut running = std::pin::pin!(results.run());
        assert!(futures::poll!(&mut running).is_pending());
        results.drain(setup.clock.monotonic()).await;
    }
    assert_eq!((setup.accounts.tallies().sum().get(Class::Shutdown).objects, results.snapshot().items), (1, 0));
}
