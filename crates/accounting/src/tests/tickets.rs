//! Ten thousand uploads that are aborted, panic or outlive their runtime have ten thousand outcomes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use blobaccess::{Blob, BlobAccess, Context, Digest, DigestFunction, InstanceName};
use blobaccess_testkit::fakes::MisbehavingStore;
use tokio::runtime::{Builder, Runtime};

use crate::{Account, Accounted, AccountingObserver, Accounts, AccountsOptions, Class, Outcome, Reporter};

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

/// Aborts a third of the puts, and the rest by the end of the runtime.
#[test]
fn ten_thousand_puts_have_ten_thousand_outcomes() {
    let setup = Setup::new();
    let store = Arc::new(Accounted::new(MisbehavingStore::new(64 << 20), Arc::clone(&setup.accounts)));
    let runtime = runtime();
    let begun = Arc::new(AtomicU64::new(0));
    runtime.block_on(async {
        let mut tasks = Vec::new();
        for number in 0..10_000 {
            let (store, begun) = (Arc::clone(&store), Arc::clone(&begun));
            tasks.push(tokio::spawn(async move {
                begun.fetch_add(1, Ordering::Relaxed);
                let (digest, blob) = blob(number);
                store.put(&Context::background(), &digest, blob).await
            }));
            if number % 3 == 0 {
                tasks.pop().unwrap().abort();
            }
            if number % 64 == 0 {
                tokio::task::yield_now().await;
            }
        }
        while begun.load(Ordering::Relaxed) < 6_666 {
            tokio::task::yield_now().await;
        }
    });
    drop(runtime);
    setup.assert_all_ended(begun.load(Ordering::Relaxed));
    let tally = setup.accounts.tallies().sum();
    for class in [Class::Created, Class::AlreadyExists, Class::Rejected, Class::Ambiguous, Class::Panicked] {
        assert!(tally.get(class).objects > 0, "{class:?} in {tally:?}");
    }
    assert_eq!(tally.get(Class::Created).objects, u64::try_from(store.snapshot_blobs()).unwrap());
}

impl Accounted<MisbehavingStore> {
    fn snapshot_blobs(&self) -> usize {
        self.inner().inner().snapshot().blobs
    }
}
