use std::time::Duration;

use blobaccess::{Ac, Clock, DigestFunction, ErrorKind, MemoryStore, PutCertainty};
use blobaccess_accounting::{AccountsOptions, Class, Reporter};
use blobaccess_testkit::ManualClock;
use blobaccess_testkit::fakes::{InterruptibleStore, Outage, Warnings};

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
    assert_eq!(setup.accounts.tallies().sum().get(Class::Created).objects, 1);
}

#[tokio::test]
async fn a_put_that_joins_ends_when_its_upload_does_and_stores_nothing() {
    let setup = Setup::new();
    let queue = setup.contents(QueueOptions::new());
    put(&queue, b"hello").await.unwrap();
    put(&queue, b"hello").await.unwrap();
    let mut running = std::pin::pin!(queue.run());
    setup.outage.begin(Error::unavailable("an outage"));
    assert!(futures::poll!(&mut running).is_pending());
    put(&queue, b"hello").await.unwrap();
    let tally = setup.accounts.tallies().sum();
    assert_eq!((tally.get(Class::Started).objects, tally.in_flight().objects), (3, 3));
    setup.outage.end();
    setup.clock.advance(Duration::from_mins(1));
    queue.close();
    running.await;
    let tally = setup.accounts.tallies().sum();
    let (created, there) = (tally.get(Class::Created), tally.get(Class::AlreadyExists));
    assert_eq!((created.objects, created.stored_bytes), (1, 5));
    assert_eq!((there.objects, there.stored_bytes), (2, 10));
    assert_eq!((tally.net_bytes(), tally.in_flight().objects), (5, 0));
}

#[tokio::test]
async fn a_put_that_joins_fails_as_its_upload_does() {
    let setup = Setup::new();
    let queue = setup.contents(QueueOptions::new());
    for _ in 0..3 {
        put(&queue, b"hello").await.unwrap();
    }
    queue.drain(setup.clock.monotonic()).await;
    let tally = setup.accounts.tallies().sum();
    assert_eq!((tally.get(Class::Shutdown).objects, tally.in_flight().objects), (3, 0));
}

#[tokio::test]
async fn puts_that_join_take_bounded_memory_and_all_have_outcomes() {
    let setup = Setup::new();
    let queue = setup.contents(QueueOptions::new().with_max_items(4));
    for _ in 0..10 {
        put(&queue, b"hello").await.unwrap();
    }
    let tally = setup.accounts.tallies().sum();
    assert_eq!((tally.get(Class::Unclassified).objects, tally.in_flight().objects), (5, 5));
    settle(&queue).await;
    for _ in 0..2 {
        put(&queue, b"world").await.unwrap();
    }
    settle(&queue).await;
    let tally = setup.accounts.tallies().sum();
    assert_eq!((tally.get(Class::Created).objects, tally.get(Class::AlreadyExists).objects), (2, 5));
    assert_eq!((tally.get(Class::Started).objects, tally.in_flight().objects), (12, 0));
}

#[tokio::test]
async fn every_upload_that_stores_nothing_says_what_it_would_have_stored() {
    let setup = Setup::new();
    let options = AccountsOptions::new(Reporter::new("host"));
    let accounts =
        Accounts::builder(options).with_resolver(Cas::STORAGE_TYPE, Arc::<MemoryStore<Cas>>::clone(&setup.cas));
    let accounts = accounts.open().unwrap();
    let full = QueueOptions::new().with_max_bytes(8).with_max_blob_size_bytes(8);
    let queue = UploadQueue::new(Arc::clone(&setup.cas), Arc::clone(&accounts), full);
    put(&queue, b"hello").await.unwrap();
    put(&queue, b"hello").await.unwrap();
    put(&queue, b"other").await.unwrap_err();
    put(&queue, b"above the maximum").await.unwrap_err();
    let local: Arc<dyn BlobAccess<Kind = Cas>> = Arc::new(MemoryStore::<Cas>::new(1 << 20));
    queue.enqueue_from(&Context::background(), &digest(b"gone!"), 5, None, local).unwrap();
    settle(&queue).await;
    put(&queue, b"later").await.unwrap();
    queue.drain(accounts.clock().monotonic()).await;
    let tally = accounts.tallies().sum();
    let stored = |class| (tally.get(class).objects, tally.get(class).stored_bytes, tally.get(class).unsized_bytes);
    assert_eq!(stored(Class::QueueFull), (1, 5, 0));
    assert_eq!(stored(Class::Rejected), (1, 17, 0));
    assert_eq!(stored(Class::SourceUnavailable), (1, 5, 0));
    assert_eq!(stored(Class::Shutdown), (1, 5, 0));
    assert_eq!(stored(Class::AlreadyExists), (1, 5, 0));
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
    let now = setup.clock.monotonic();
    let sent = results.entries().next(now).unwrap();
    results.put(&ctx, &action, Blob::from_bytes("three")).await.unwrap();
    assert!(results.entries().next(now).is_none(), "two values would race");
    results.upload(sent, None).await;
    settle(&*results).await;
    assert_eq!(setup.ac.get(&ctx, &action).await.unwrap().into_bytes(9).await.unwrap(), "three");
}

#[tokio::test]
async fn a_value_that_is_read_from_a_store_joins_no_older_one() {
    let setup = Setup::new();
    let results = Arc::new(setup.results(&setup.contents(QueueOptions::new())));
    let (ctx, action) = (Context::background(), digest(b"action"));
    let fast = Arc::new(MemoryStore::<Ac>::new(1 << 20));
    let upload = async |value: &'static str| {
        fast.put(&ctx, &action, Blob::from_bytes(value)).await.unwrap();
        let fast: Arc<dyn BlobAccess<Kind = Ac>> = Arc::<MemoryStore<Ac>>::clone(&fast);
        results.upload_from(&ctx, &action, 5, None, fast).await.unwrap();
    };
    for value in ["one", "two"] {
        upload(value).await;
    }
    let sent = results.entries().next(setup.clock.monotonic()).unwrap();
    upload("three").await;
    assert_eq!(results.snapshot().items, 2, "it waits for the one that is under way");
    // A value that comes by itself takes the place of the one that waits.
    results.put(&ctx, &action, Blob::from_bytes("four")).await.unwrap();
    results.upload(sent, None).await;
    settle(&*results).await;
    assert_eq!(setup.ac.get(&ctx, &action).await.unwrap().into_bytes(9).await.unwrap(), "four");
    let tally = setup.accounts.tallies().sum();
    assert_eq!((tally.get(Class::Started).objects, tally.in_flight().objects), (4, 0));
    assert_eq!((tally.get(Class::Created).objects, tally.get(Class::SourceUnavailable).objects), (1, 2));
    assert_eq!((results.snapshot().joined, results.snapshot().superseded, results.snapshot().items), (0, 2, 0));
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

/// Makes a tree with one file in its root.
fn tree_of(named: &Digest) -> Vec<u8> {
    let message = |number: u8, body: &[u8]| {
        let mut bytes = vec![number << 3 | 2, u8::try_from(body.len()).unwrap()];
        bytes.extend(body);
        bytes
    };
    let mut digest = message(1, named.hash().to_string().as_bytes());
    digest.extend([2 << 3, u8::try_from(named.size_bytes()).unwrap()]);
    let mut file = message(1, b"name");
    file.extend(message(2, &digest));
    message(1, &message(1, &file))
}

async fn put_owned<B: BlobAccess>(queue: &UploadQueue<B>, contents: Vec<u8>) -> Digest {
    let digest = digest(&contents);
    queue.put(&Context::background(), &digest, Blob::from_bytes(contents)).await.unwrap();
    digest
}

#[tokio::test]
async fn a_result_is_dropped_with_what_it_names_and_no_other_is() {
    for in_tree in [false, true] {
        let setup = Setup::new();
        let contents = setup.contents(QueueOptions::new());
        let results = setup.results(&contents);
        let ctx = Context::background();
        put(&contents, b"there").await.unwrap();
        let trees = [b"lost".as_slice(), b"there"].map(|named| tree_of(&digest(named)));
        for tree in trees.clone() {
            put_owned(&contents, tree).await;
        }
        settle(&contents).await;
        setup.outage.begin(Error::failed_precondition("refused for good"));
        put(&contents, b"lost").await.unwrap();
        put(&contents, b"also lost").await.unwrap();
        settle(&contents).await;
        setup.outage.end();
        for (action, named, tree) in [(b"one", &b"lost"[..], &trees[0]), (b"two", b"there", &trees[1])] {
            let message = if in_tree { result_of(3, &digest(tree)) } else { result_of(2, &digest(named)) };
            results.put(&ctx, &digest(action), Blob::from_bytes(message)).await.unwrap();
        }
        settle(&results).await;
        assert_eq!(setup.accounts.tallies().sum().get(Class::SourceUnavailable).objects, 1, "in a tree: {in_tree}");
        assert_eq!(results.find_missing(&ctx, &digest(b"two").into()).await.unwrap(), DigestSet::new());
        // Once the contents are uploaded after all, results follow again.
        put(&contents, b"lost").await.unwrap();
        settle(&contents).await;
        let message = result_of(3, &digest(&trees[0]));
        results.put(&ctx, &digest(b"one"), Blob::from_bytes(message)).await.unwrap();
        settle(&results).await;
        assert!(results.find_missing(&ctx, &digest(b"one").into()).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn a_result_waits_for_nothing_that_it_does_not_name() {
    let setup = Setup::new();
    let contents = setup.contents(QueueOptions::new());
    let results = setup.results(&contents);
    put(&contents, b"there").await.unwrap();
    settle(&contents).await;
    // Nobody runs the queue of contents any more.
    put(&contents, b"huge").await.unwrap();
    let ctx = Context::background();
    for (action, named) in [(b"one", &b"there"[..]), (b"two", b"huge")] {
        results.put(&ctx, &digest(action), Blob::from_bytes(result_of(2, &digest(named)))).await.unwrap();
    }
    settle(&results).await;
    assert_eq!((setup.ac.snapshot().blobs, results.snapshot().items), (1, 1));
    settle(&contents).await;
    settle(&results).await;
    assert_eq!((setup.ac.snapshot().blobs, results.snapshot().items), (2, 0));
}

#[tokio::test]
async fn more_losses_than_are_remembered_are_not_forgotten() {
    let setup = Setup::new();
    let clock: Arc<dyn Clock> = Arc::new(setup.clock.clone());
    let losses = Losses::new(clock, 3, Duration::from_mins(10));
    for number in 0..5_u8 {
        losses.add(&digest(&[number]));
    }
    let asked: DigestSet = [digest(b"a"), digest(b"b")].into_iter().collect();
    assert_eq!(losses.suspects(&asked), asked, "any may be one that was forgotten");
    setup.clock.advance(Duration::from_mins(11));
    assert!(losses.suspects(&asked).is_empty());
}

/// Runs the queue for `time`, in steps of a second.
async fn settle_for<B: BlobAccess>(setup: &Setup, queue: &UploadQueue<B>, time: Duration) {
    let mut run = std::pin::pin!(queue.run());
    for _ in 0..time.as_secs() {
        setup.clock.advance(Duration::from_secs(1));
        for _ in 0..4 {
            assert!(futures::poll!(&mut run).is_pending());
        }
    }
    settle(queue).await;
}

#[tokio::test]
async fn what_was_acknowledged_outlives_hours_of_outage() {
    for error in [
        Error::unavailable("down").not_stored(),
        Error::deadline_exceeded("no answer"),
        Error::permission_denied("expired"),
        Error::internal("odd"),
    ] {
        let setup = Setup::new();
        let queue = setup.contents(QueueOptions::new());
        setup.outage.begin(error);
        for number in 0..200_u8 {
            put_owned(&queue, vec![number; 20]).await;
        }
        settle(&queue).await;
        let first = queue.snapshot();
        assert!(first.is_paused && first.items == 200 && first.failed == 0, "{first:?}");
        settle_for(&setup, &queue, Duration::from_hours(2)).await;
        let snapshot = queue.snapshot();
        assert_eq!((snapshot.items, snapshot.failed, snapshot.dropped), (200, 0, 0));
        // A hundred were tried at once before the store was known to be down; then one every 30 s.
        assert!(snapshot.retried < 100 + 300, "{snapshot:?}");
        setup.outage.end();
        settle_for(&setup, &queue, Duration::from_secs(31)).await;
        assert_eq!((setup.cas.snapshot().blobs, queue.snapshot().items), (200, 0));
        let tally = setup.accounts.tallies().sum();
        assert_eq!((tally.get(Class::Started).objects, tally.get(Class::Created).objects), (200, 200));
    }
}

#[tokio::test]
async fn one_upload_that_fails_holds_up_no_other() {
    let setup = Setup::new();
    let options = QueueOptions::new().with_uploads_at_once(1).with_retry_for(Duration::from_mins(1));
    let queue = setup.contents(options);
    setup.outage.begin(Error::internal("odd"));
    put(&queue, b"odd").await.unwrap();
    settle(&queue).await;
    setup.outage.end();
    put(&queue, b"even").await.unwrap();
    settle(&queue).await;
    assert_eq!((queue.snapshot().uploaded, queue.snapshot().delayed), (1, 1));
    settle_for(&setup, &queue, Duration::from_secs(2)).await;
    assert_eq!((queue.snapshot().uploaded, queue.snapshot().items), (2, 0));
    // One that fails for too long is given up.
    setup.outage.begin(Error::internal("odd"));
    put(&queue, b"never").await.unwrap();
    settle_for(&setup, &queue, Duration::from_mins(3)).await;
    assert_eq!((queue.snapshot().failed, queue.snapshot().items), (1, 0));
}

#[tokio::test]
async fn a_long_upload_under_way_holds_up_nothing_after_an_outage() {
    let setup = Setup::new();
    let paused = Arc::new(blobaccess_testkit::fakes::PausedStore::new(Arc::clone(&setup.cas)));
    let store = InterruptibleStore::new(Arc::clone(&paused), setup.outage.clone());
    let queue = UploadQueue::new(store, Arc::clone(&setup.accounts), QueueOptions::new());
    let mut run = std::pin::pin!(queue.run());
    put(&queue, b"long").await.unwrap();
    for _ in 0..10 {
        assert!(futures::poll!(&mut run).is_pending());
    }
    assert_eq!(paused.waiting(), 1);
    setup.outage.begin(Error::unavailable("down"));
    for contents in [b"1", b"2", b"3"] {
        put(&queue, contents).await.unwrap();
    }
    for _ in 0..10 {
        assert!(futures::poll!(&mut run).is_pending());
    }
    assert!(queue.snapshot().is_paused);
    setup.outage.end();
    // The first to look is slow, so others look as well, after pauses.
    let mut waiting = Vec::new();
    for seconds in [2, 4, 4, 2] {
        for _ in 0..10 {
            assert!(futures::poll!(&mut run).is_pending());
        }
        setup.clock.advance(Duration::from_secs(seconds));
        for _ in 0..10 {
            assert!(futures::poll!(&mut run).is_pending());
        }
        waiting.push(paused.waiting());
    }
    assert_eq!(waiting, [2, 2, 2, 3]);
}

#[tokio::test]
async fn results_that_wait_for_their_contents_hold_up_nothing_after_an_outage() {
    for waits_before in [true, false] {
        let setup = Setup::new();
        let contents = setup.contents(QueueOptions::new());
        let store = InterruptibleStore::new(Arc::clone(&setup.ac), setup.outage.clone());
        let results =
            UploadQueue::new(store, Arc::clone(&setup.accounts), QueueOptions::new()).following(Arc::clone(&contents));
        let ctx = Context::background();
        put(&contents, b"there").await.unwrap();
        settle(&contents).await;
        // Nobody runs the queue of contents any more.
        put(&contents, b"huge").await.unwrap();
        let waiting = result_of(2, &digest(b"huge"));
        if waits_before {
            put_owned(&results, waiting.clone()).await;
            settle(&results).await;
        }
        setup.outage.begin(Error::unavailable("down"));
        for action in [b"1", b"2", b"3"] {
            let message = result_of(2, &digest(b"there"));
            results.put(&ctx, &digest(action), Blob::from_bytes(message)).await.unwrap();
        }
        let mut run = std::pin::pin!(results.run());
        for _ in 0..20 {
            assert!(futures::poll!(&mut run).is_pending());
        }
        assert!(results.snapshot().is_paused, "{waits_before}");
        if !waits_before {
            put_owned(&results, waiting).await;
        }
        setup.outage.end();
        for _ in 0..40 {
            setup.clock.advance(Duration::from_secs(1));
            for _ in 0..20 {
                assert!(futures::poll!(&mut run).is_pending());
            }
        }
        assert_eq!((setup.ac.snapshot().blobs, results.snapshot().items), (3, 1), "{waits_before}");
    }
}

#[tokio::test]
async fn what_is_refused_for_good_does_not_look_for_the_store() {
    let setup = Setup::new();
    let queue = setup.contents(QueueOptions::new());
    let start = setup.clock.monotonic();
    let at = |seconds: u64| start + Duration::from_secs(seconds);
    let (refused, down) = (Error::permission_denied("never"), Error::unavailable("down"));
    let fail = |error: &Error, now: Instant| {
        let mut queued = queue.entries().next(now).unwrap();
        queued.failures += 1;
        queued.last_error = Some(error.clone());
        let digest = queued.job.digest.clone();
        drop(queue.entries().retry(queued, now, now));
        digest
    };
    for contents in [b"1", b"2", b"3"] {
        put(&queue, contents).await.unwrap();
    }
    for contents in [b"1", b"2", b"3"] {
        assert_eq!(fail(&refused, start), digest(contents));
    }
    assert!(queue.entries().next(start).is_none() && queue.snapshot().is_paused);
    put(&queue, b"healthy").await.unwrap();
    for seconds in [1, 3] {
        assert_eq!(fail(&down, at(seconds)), digest(b"healthy"), "{seconds}");
    }
    let healthy = queue.entries().next(at(6)).unwrap();
    assert_eq!(healthy.job.digest, digest(b"healthy"));
    assert!(queue.entries().next(at(6)).is_none());
    queue.entries().end_probe(healthy.sequence);
    // Where there is nothing else, it looks as well, and makes no pause longer.
    assert_ne!(fail(&refused, at(6)), digest(b"healthy"));
    assert!(queue.entries().next(at(7)).is_none());
    assert!(queue.entries().next(at(8)).is_some());
}

#[tokio::test]
async fn a_slow_upload_leaves_its_place_to_others() {
    let setup = Setup::new();
    let store = Arc::new(blobaccess_testkit::fakes::PausedStore::new(Arc::clone(&setup.cas)));
    let options = QueueOptions::new().with_uploads_at_once(1);
    let queue = UploadQueue::new(Arc::clone(&store), Arc::clone(&setup.accounts), options);
    for contents in [&b"slow"[..], b"quick", b"last"] {
        put_owned(&queue, contents.to_vec()).await;
    }
    let mut run = std::pin::pin!(queue.run());
    let mut waiting = Vec::new();
    for _ in 0..3 {
        for _ in 0..10 {
            assert!(futures::poll!(&mut run).is_pending());
        }
        waiting.push(store.waiting());
        setup.clock.advance(Duration::from_secs(5));
    }
    assert_eq!(waiting, [1, 2, 2], "twice as many at most");
}

#[tokio::test]
async fn a_put_that_has_room_when_the_queue_is_given_up_is_told() {
    let setup = Setup::new();
    for acknowledge in [Acknowledge::Queued, Acknowledge::Uploaded] {
        let queue = setup.contents(QueueOptions::new().with_acknowledge(acknowledge));
        let (mut sender, receiver) = futures::channel::mpsc::unbounded();
        let name = digest(b"late");
        let blob = Blob::from_untrusted_stream(&name, receiver, blobaccess::Provenance::client());
        let ctx = Context::background();
        let mut putting = queue.put(&ctx, &name, blob);
        assert!(futures::poll!(&mut putting).is_pending());
        assert_eq!((queue.snapshot().items, queue.snapshot().held_bytes), (1, 0), "what is announced takes no room");
        let drained = queue.drain(setup.clock.monotonic()).await;
        assert_eq!(drained.dropped, 0);
        queue.run().await;
        sender.start_send(Ok(bytes::Bytes::from("late"))).unwrap();
        drop(sender);
        let error = putting.await.unwrap_err();
        assert_eq!((error.kind(), error.put_certainty()), (ErrorKind::FailedPrecondition, PutCertainty::NotStored));
        assert_eq!((queue.snapshot().items, queue.snapshot().held_bytes), (0, 0));
    }
    assert_eq!(setup.accounts.tallies().sum().get(Class::Shutdown).objects, 2);
    assert_eq!(setup.accounts.tallies().sum().in_flight().objects, 0);
}

#[tokio::test]
async fn a_closed_queue_waits_for_puts_that_have_room() {
    let setup = Setup::new();
    let queue = setup.contents(QueueOptions::new());
    let (mut sender, receiver) = futures::channel::mpsc::unbounded();
    let name = digest(b"late");
    let blob = Blob::from_untrusted_stream(&name, receiver, blobaccess::Provenance::client());
    let ctx = Context::background();
    let mut putting = queue.put(&ctx, &name, blob);
    assert!(futures::poll!(&mut putting).is_pending());
    queue.close();
    let mut running = std::pin::pin!(queue.run());
    assert!(futures::poll!(&mut running).is_pending());
    sender.start_send(Ok(bytes::Bytes::from("late"))).unwrap();
    drop(sender);
    putting.await.unwrap();
    running.await;
    assert_eq!(setup.cas.snapshot().blobs, 1);
}

#[tokio::test]
async fn a_blob_above_the_maximum_has_an_outcome() {
    let setup = Setup::new();
    let queue = setup.contents(QueueOptions::new().with_max_blob_size_bytes(3));
    assert_eq!(put(&queue, b"large").await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    let tally = setup.accounts.tallies().sum();
    assert_eq!((tally.get(Class::Rejected).objects, tally.in_flight().objects), (1, 0));
    assert_eq!((queue.snapshot().failed, queue.snapshot().dropped), (1, 0));
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
    put_owned(&results, result_of(2, &digest(b"output"))).await;
    {
        let mut running = std::pin::pin!(results.run());
        assert!(futures::poll!(&mut running).is_pending());
        results.drain(setup.clock.monotonic()).await;
    }
    assert_eq!((setup.accounts.tallies().sum().get(Class::Shutdown).objects, results.snapshot().items), (1, 0));
}

#[tokio::test]
async fn a_queue_that_nobody_runs_says_so_and_names_what_it_drops() {
    let (setup, warnings) = (Setup::new(), Warnings::begin());
    let queue = setup.contents(QueueOptions::new());
    put(&queue, b"first").await.unwrap();
    setup.clock.advance(BackgroundWatch::PATIENCE);
    put(&queue, b"second").await.unwrap();
    let told = "nobody runs an upload queue, so what was acknowledged is not uploaded: \
                its `run` must be polled (see `Background`)";
    assert_eq!(warnings.take(), [told]);
    drop(queue);
    assert_eq!(warnings.take(), ["an upload queue is dropped with uploads that were not made: drain it uploads=2"]);
}

#[tokio::test]
async fn a_queue_that_is_run_says_nothing() {
    let (setup, warnings) = (Setup::new(), Warnings::begin());
    let queue = setup.contents(QueueOptions::new());
    let mut run = std::pin::pin!(queue.run());
    for contents in [b"first", b"other"] {
        assert!(futures::poll!(&mut run).is_pending());
        put(&queue, contents).await.unwrap();
        setup.clock.advance(Duration::from_mins(1));
    }
    assert!(futures::poll!(&mut run).is_pending());
    assert_eq!(warnings.take(), [""; 0]);
}
