//! Ten thousand queued uploads that are aborted, panic, find no room or outlive their runtime have ten thousand outcomes.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use blobaccess::{Blob, BlobAccess, Context, Digest, DigestFunction, InstanceName, PutCertainty};
use blobaccess_testkit::fakes::MisbehavingStore;
use tokio::runtime::{Builder, Runtime};

use blobaccess_accounting::{Account, AccountingObserver, Accounts, AccountsOptions, Class, Outcome, Reporter};
use blobaccess_write_behind::{QueueOptions, UploadQueue};

/// An observer that counts the outcomes.
#[derive(Debug, Default)]
struct CountingObserver {
    outcomes: AtomicU64,
}

impl AccountingObserver for CountingObserver {
    fn upload_ended(&self, _account: &Account, _outcome: Outcome, _logical_bytes: u64) {
        self.outcomes.fetch_add(1, Ordering::Relaxed);
    }
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn blob(number: u32) -> (Digest, Blob) {
    // Every third blob is one that was put before.
    let contents = (number - number % 3).to_le_bytes().to_vec();
    (Digest::of(InstanceName::empty(), DigestFunction::Sha256, &contents), Blob::from_bytes(contents))
}

struct Setup {
    accounts: Arc<Accounts>,
    observer: Arc<CountingObserver>,
}

impl Setup {
    fn new() -> Self {
        let observer = Arc::new(CountingObserver::default());
        let options = AccountsOptions::new(Reporter::new("host"));
        let accounts = Accounts::builder(options).with_observer(Arc::clone(&observer)).open().unwrap();
        Self { accounts, observer }
    }

    /// Checks that all uploads that began have ended, each once.
    fn assert_all_ended(&self, uploads: u64) {
        let tally = self.accounts.tallies().sum();
        assert_eq!(tally.get(Class::Started).objects, uploads);
        assert_eq!(tally.ended().objects, uploads, "{tally:?}");
        assert_eq!(tally.ended().logical_bytes, tally.get(Class::Started).logical_bytes);
        assert_eq!(self.observer.outcomes.load(Ordering::Relaxed), uploads);
    }
}

/// Uses a queue that is much too small, and whose runner dies again and again.
#[test]
fn ten_thousand_queued_uploads_have_ten_thousand_outcomes() {
    let setup = Setup::new();
    let options = QueueOptions::new().with_max_items(40).with_uploads_at_once(4);
    let queue = Arc::new(UploadQueue::new(MisbehavingStore::new(64 << 20), Arc::clone(&setup.accounts), options));
    let runtime = runtime();
    let mut refused = 0;
    let mut joined = 0;
    let mut never_tried = false;
    runtime.block_on(async {
        for number in 0..100 {
            let running = tokio::spawn({
                let queue = Arc::clone(&queue);
                async move { queue.run().await }
            });
            for part in 0..100 {
                let before = queue.snapshot().joined;
                let (digest, blob) = blob(number * 100 + part);
                match queue.put(&Context::background(), &digest, blob).await {
                    Ok(_) => joined += queue.snapshot().joined - before,
                    Err(error) => {
                        assert_eq!(error.put_certainty(), PutCertainty::NotStored);
                        refused += 1;
                    }
                }
                if part % 10 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            running.abort();
            drop(running.await);
        }
        // Nobody uploads these. The queue may be full of uploads that were tried.
        for number in 20_000..20_004 {
            let (digest, blob) = blob(number);
            match queue.put(&Context::background(), &digest, blob).await {
                Ok(_) => never_tried = true,
                Err(_) => refused += 1,
            }
        }
    });
    drop(runtime);
    let deadline = setup.accounts.clock().monotonic();
    let runtime = self::runtime();
    runtime.block_on(queue.drain(deadline));
    assert!(refused > 0 && joined > 0);
    assert_eq!(queue.snapshot().items, 0);
    assert_eq!(queue.snapshot().held_bytes, 0);
    setup.assert_all_ended(10_004);
    assert!(setup.accounts.tallies().sum().get(Class::QueueFull).objects == refused);
    let tally = setup.accounts.tallies().sum();
    assert!(!never_tried || tally.get(Class::Shutdown).objects > 0, "{tally:?}");
}

#[test]
fn a_queue_that_is_dropped_drops_its_uploads() {
    let setup = Setup::new();
    let queue = UploadQueue::new(MisbehavingStore::new(64 << 20), Arc::clone(&setup.accounts), QueueOptions::new());
    runtime().block_on(async {
        for number in 0..9 {
            let (digest, blob) = blob(number);
            queue.put(&Context::background(), &digest, blob).await.unwrap();
        }
    });
    drop(queue);
    setup.assert_all_ended(9);
    assert_eq!(setup.accounts.tallies().sum().get(Class::Shutdown).objects, 9);
}
