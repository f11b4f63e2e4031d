//! The number of allocations for a scan for drift.

use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{
    AccountName, Context, Digest, DigestFunction, InstanceName, Inventory, InventoryCursor, InventoryEntry,
    InventoryPage, Result, StorageType,
};
use blobaccess_accounting::{DriftWatch, DriftWatchOptions, MemoryLedger, Owner, Owners};
use blobaccess_testkit::allocations::{Counting, counting};
use futures::FutureExt;

#[global_allocator]
static COUNTING: Counting = Counting;

/// A store of pages of a thousand blobs, which belong to ten accounts.
#[derive(Debug)]
struct Pages {
    count: u8,
    digest: Digest,
    names: Vec<AccountName>,
}

#[async_trait]
impl Inventory for Pages {
    async fn inventory(&self, _: &Context, cursor: Option<&InventoryCursor>) -> Result<InventoryPage> {
        let page = cursor.and_then(|cursor| cursor.as_bytes().first()).copied().unwrap_or(0) + 1;
        let next = (page < self.count).then(|| InventoryCursor::from_bytes(vec![page]));
        Ok(InventoryPage::new(vec![InventoryEntry::new(self.digest.clone(), 10); 1_000], next))
    }
}

#[async_trait]
impl Owners for Pages {
    async fn owners(&self, _: &Context, _: StorageType, entries: &[InventoryEntry]) -> Result<Vec<Owner>> {
        Ok(entries.iter().zip(self.names.iter().cycle()).map(|(_, name)| Owner::Account(name.clone())).collect())
    }
}

#[test]
fn a_scan_for_drift_allocates_by_page_and_not_by_blob() {
    let scan = |pages: u8| {
        let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello");
        let names = (0..10).map(|number| AccountName::new(format!("account {number}"))).collect();
        let store = Arc::new(Pages { count: pages, digest, names });
        let options = DriftWatchOptions::new().with_pages_per_second(0);
        let watch = DriftWatch::new(Arc::new(MemoryLedger::new()), options)
            .with_store(StorageType::Cas, [Arc::clone(&store)])
            .with_owners(store);
        let run = || watch.run_once(&Context::background()).now_or_never().expect("nothing here waits").unwrap();
        let (allocations, report) = counting(run);
        assert_eq!(report.total.interval.actual_bytes, u64::from(pages) * 10_000);
        allocations.calls
    };
    let (few, many) = (scan(10), scan(110));
    let by_page = (many - few) / 100;
    assert!(by_page < 20, "{by_page} allocations for a page of a thousand blobs");
}
