//! Blobs that a store evicts by itself reach the ledger, and count once.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail so")]

use std::sync::Arc;

use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, Evictions, InstanceName, StorageType};
use blobaccess_accounting::{
    Accounted, Accounts, AccountsOptions, Class, Ledger, MemoryLedger, Reporter, Reporting, Total,
};
use blobaccess_local_store::{Environment, LocalStore, MemoryDevice, Options, SyncPolicy};
use blobaccess_testkit::list_all;

const CAPACITY: u64 = 8 << 20;

async fn open(device: &Arc<MemoryDevice>) -> Arc<LocalStore<Cas>> {
    let options = Options::on_device(CAPACITY)
        .with_blocks(1, 4, 1)
        .with_spare_blocks(2)
        .with_entries(6_000)
        .with_account_names(8)
        .persistent(SyncPolicy::OnClose);
    Arc::new(LocalStore::open_on(options, Arc::clone(device), Environment::default()).await.unwrap())
}

/// Begins a life of the program, over a store that lives longer.
fn begin(store: &Arc<LocalStore<Cas>>, ledger: &Arc<MemoryLedger>) -> (Accounted<Arc<LocalStore<Cas>>>, Reporting) {
    let accounts = Accounts::open(AccountsOptions::new(Reporter::new("host"))).unwrap();
    let evictions: Arc<dyn Evictions> = Arc::<LocalStore<Cas>>::clone(store);
    let reporting = Reporting::new(Arc::clone(&accounts), Arc::<MemoryLedger>::clone(ledger)).with_evictions(
        Reporter::new("host/store"),
        StorageType::Cas,
        evictions,
    );
    (Accounted::new(Arc::clone(store), accounts), reporting)
}

async fn upload(store: &dyn BlobAccess<Kind = Cas>, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let mut contents = number.to_le_bytes().to_vec();
        contents.resize(40_000, 0);
        let account_name = if number % 3 == 0 { "a" } else { "b" };
        let digest = Digest::of(InstanceName::new(account_name).unwrap(), DigestFunction::Sha256, &contents);
        store.put(&Context::background(), &digest, Blob::from_bytes(contents)).await.unwrap();
    }
}

/// Returns the objects and the bytes that are stored.
async fn held(store: &LocalStore<Cas>) -> (i128, i128) {
    let entries = list_all(store, &Context::background()).await.unwrap();
    entries.iter().fold((0, 0), |(objects, bytes), entry| (objects + 1, bytes + i128::from(entry.stored_bytes)))
}

async fn totals(ledger: &MemoryLedger) -> Vec<Total> {
    ledger.totals(None).await.unwrap()
}

fn net(totals: &[Total]) -> (i128, i128) {
    let objects = totals.iter().map(|total| total.tally.net_objects()).sum();
    (objects, totals.iter().map(Total::footprint_bytes).sum())
}

/// Returns the evictions in a ledger, of all accounts.
fn given_up(totals: &[Total]) -> u64 {
    totals.iter().map(|total| total.tally.get(Class::DeletedByRotation).objects).sum()
}

#[tokio::test]
async fn what_a_store_gave_up_is_subtracted_once_over_all_its_lives() {
    let device = Arc::new(MemoryDevice::new(CAPACITY));
    let ledger = Arc::new(MemoryLedger::new());
    let store = open(&device).await;
    let (uploads, reporting) = begin(&store, &ledger);
    // Three times the capacity.
    upload(&uploads, 0..600).await;
    // Evictions that a crash could undo are not reported.
    store.sync().await.unwrap();
    reporting.flush().await.unwrap();
    let first = totals(&ledger).await;
    assert!(given_up(&first) > 300, "{first:?}");
    assert_eq!(net(&first), held(&store).await);
    assert!(first.iter().all(|total| given_up(std::slice::from_ref(total)) > 0), "each account has lost some");
    // Reporting again changes nothing.
    reporting.flush().await.unwrap();
    assert_eq!(totals(&ledger).await, first);
    assert!(reporting.close().await.unwrap());
    drop((uploads, reporting));
    Arc::into_inner(store).unwrap().close().await.unwrap();

    // The store keeps its totals over all lives of the program.
    let store = open(&device).await;
    let (uploads, reporting) = begin(&store, &ledger);
    reporting.flush().await.unwrap();
    assert_eq!(net(&totals(&ledger).await), net(&first));
    assert_eq!(given_up(&totals(&ledger).await), given_up(&first));
    upload(&uploads, 600..900).await;
    store.sync().await.unwrap();
    reporting.flush().await.unwrap();
    let second = totals(&ledger).await;
    assert!(given_up(&second) > given_up(&first));
    assert_eq!(net(&second), held(&store).await);
}

#[tokio::test]
async fn a_store_that_was_made_anew_is_told_from_the_one_before() {
    let ledger = Arc::new(MemoryLedger::new());
    let mut before = 0;
    for numbers in [0..600, 600..1_200] {
        let store = open(&Arc::new(MemoryDevice::new(CAPACITY))).await;
        let (uploads, reporting) = begin(&store, &ledger);
        upload(&uploads, numbers).await;
        store.sync().await.unwrap();
        reporting.flush().await.unwrap();
        let given_up = given_up(&totals(&ledger).await);
        assert!(given_up > before + 300, "{given_up} after {before}");
        before = given_up;
    }
}
