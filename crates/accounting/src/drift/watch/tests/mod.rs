//! The tests of a watch over drift: a world of stores, hosts and a ledger, in which time stands still until it is moved.

mod lives;
mod random;
mod restarting;
mod results;

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use blobaccess::{
    AccountName, Clock, Context, Digest, DigestFunction, Error, InstanceName, Inventory, InventoryCursor,
    InventoryEntry, InventoryPage, Result, StorageType,
};
use blobaccess_testkit::ManualClock;

use super::super::{DriftAlarm, DriftWatch, DriftWatchOptions, Owner, Owners};
use crate::{Account, Amounts, Class, DriftReport, Epoch, Ledger, MemoryLedger, Outcome, Report, Reporter, Tally};

pub(super) const CAS: StorageType = StorageType::Cas;
const SECOND: Duration = Duration::from_secs(1);

/// The blobs of a shard, by number: the owner and the bytes.
type Blobs = BTreeMap<u64, (Owner, u64)>;

/// Something that happens when a page is requested.
type OnPage = Box<dyn FnMut(&mut Blobs) + Send>;

/// A shard of a store, and a look-up of the owners of its blobs.
#[derive(Default)]
pub(super) struct Shard {
    blobs: Mutex<Blobs>,
    on_page: Mutex<Option<OnPage>>,
    /// The number of requests that fail from here on.
    failures: AtomicU32,
    silent: AtomicBool,
    /// The number of pages that were returned.
    pages: AtomicU32,
    refuses_cursors: AtomicBool,
}

impl std::fmt::Debug for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shard")
    }
}

/// The number of blobs on a page.
const PAGE: usize = 3;

fn digest(number: u64) -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, &number.to_le_bytes())
}

pub(super) fn account(name: &str) -> Owner {
    Owner::Account(AccountName::new(name))
}

impl Shard {
    pub(super) fn new(blobs: impl IntoIterator<Item = (u64, Owner, u64)>) -> Arc<Self> {
        let shard = Self::default();
        shard.blobs().extend(blobs.into_iter().map(|(number, owner, bytes)| (number, (owner, bytes))));
        Arc::new(shard)
    }

    pub(super) fn blobs(&self) -> MutexGuard<'_, Blobs> {
        self.blobs.lock().unwrap()
    }

    pub(super) fn fail(&self, requests: u32) {
        self.failures.store(requests, Ordering::Relaxed);
    }

    pub(super) fn pages(&self) -> u32 {
        self.pages.load(Ordering::Relaxed)
    }

    pub(super) fn on_page(&self, then: impl FnMut(&mut Blobs) + Send + 'static) {
        *self.on_page.lock().unwrap() = Some(Box::new(then));
    }
}

#[async_trait]
impl Inventory for Shard {
    async fn inventory(&self, _: &Context, cursor: Option<&InventoryCursor>) -> Result<InventoryPage> {
        if self.silent.load(Ordering::Relaxed) {
            return std::future::pending().await;
        }
        if cursor.is_some() && self.refuses_cursors.load(Ordering::Relaxed) {
            return Err(Error::invalid_argument("another store's"));
        }
        if self.failures.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
            return Err(Error::unavailable("an outage"));
        }
        let mut blobs = self.blobs();
        if let Some(on_page) = &mut *self.on_page.lock().unwrap() {
            on_page(&mut blobs);
        }
        self.pages.fetch_add(1, Ordering::Relaxed);
        let from = cursor.map_or(0, |cursor| u64::from_le_bytes(cursor.as_bytes().try_into().unwrap()));
        let page: Vec<_> = blobs.range(from..).take(PAGE).map(|(number, (_, bytes))| (*number, *bytes)).collect();
        let next = page.last().map(|(number, _)| number + 1).filter(|next| blobs.range(next..).next().is_some());
        let entries = page.into_iter().map(|(number, bytes)| InventoryEntry::new(digest(number), bytes));
        let next = next.map(|next| InventoryCursor::from_bytes(next.to_le_bytes().to_vec()));
        Ok(InventoryPage::new(entries.collect(), next))
    }
}

/// The owners of the blobs of shards.
#[derive(Debug, Default)]
pub(super) struct OwnersOf {
    pub(super) shards: Vec<Arc<Shard>>,
    pub(super) lies: AtomicBool,
}

#[async_trait]
impl Owners for OwnersOf {
    async fn owners(&self, _: &Context, _: StorageType, entries: &[InventoryEntry]) -> Result<Vec<Owner>> {
        let owner = |entry: &InventoryEntry| {
            let found = self.shards.iter().find_map(|shard| {
                let blobs = shard.blobs();
                blobs.iter().find(|(number, _)| digest(**number) == entry.digest).map(|(_, (owner, _))| owner.clone())
            });
            found.unwrap_or(Owner::Unknown)
        };
        let take = if self.lies.load(Ordering::Relaxed) { 1 } else { entries.len() };
        Ok(entries.iter().take(take).map(owner).collect())
    }
}

/// A host that counts, and reports when it is told to.
#[derive(Clone, Debug)]
pub(super) struct Host {
    name: &'static str,
    seq: u64,
    pub(super) accounts: BTreeMap<Account, Tally>,
}

impl Host {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, seq: 0, accounts: BTreeMap::new() }
    }

    fn tally(&mut self, account_name: &str, storage_type: StorageType) -> &mut Tally {
        self.accounts.entry(Account::new(AccountName::new(account_name), storage_type)).or_default()
    }

    pub(super) fn start(&mut self, account_name: &str, logical_bytes: u64) {
        self.tally(account_name, CAS).add(Class::Started, Amounts::started(logical_bytes));
    }

    pub(super) fn create(&mut self, account_name: &str, bytes: u64) {
        let outcome = Outcome::Created { stored_bytes: bytes };
        self.tally(account_name, CAS).add(Class::Created, Amounts::ended(outcome, bytes));
    }

    pub(super) fn upload(&mut self, account_name: &str, bytes: u64) {
        self.start(account_name, bytes);
        self.create(account_name, bytes);
    }

    pub(super) fn delete(&mut self, account_name: &str, bytes: u64) {
        self.tally(account_name, CAS).add(Class::DeletedOnRequest, Amounts::deleted(1, bytes));
    }

    /// Makes the next report, as of now.
    pub(super) fn report(&mut self) -> Report {
        self.seq += 1;
        // Its clock is of no use.
        let taken_at = SystemTime::UNIX_EPOCH + Duration::from_secs(self.seq % 2);
        let counted = self.accounts.iter().map(|(account, tally)| (account.clone(), tally.clone()));
        Report::new(Reporter::new(self.name), Epoch::from_bytes([1; 16]), self.seq, taken_at, counted.collect())
    }

    pub(super) fn send(&mut self, ledger: &MemoryLedger) {
        use futures::FutureExt;
        ledger.apply(&[self.report()]).now_or_never().unwrap().unwrap();
    }
}

/// Awaits `work`, and moves the time by a second, and calls `meanwhile`, whenever it waits for the time.
pub(super) async fn drive<T>(clock: &ManualClock, work: impl Future<Output = T>, meanwhile: impl FnMut()) -> T {
    drive_sleepers(clock, 1, work, meanwhile).await
}

/// Does as [`drive`], for work that has so many sleepers when it waits for the time.
pub(super) async fn drive_sleepers<T>(
    clock: &ManualClock,
    sleepers: usize,
    work: impl Future<Output = T>,
    mut meanwhile: impl FnMut(),
) -> T {
    let mut work = pin!(work);
    loop {
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = clock.until_sleepers(sleepers) => {
                meanwhile();
                clock.advance(SECOND);
            }
        }
    }
}

/// Returns options for small stores: an alarm at once, and no bound of pages.
pub(super) fn options() -> DriftWatchOptions {
    DriftWatchOptions::new()
        .with_alarm(DriftAlarm::new().with_floor_bytes(0).with_times(1))
        .with_pages_per_second(0)
        .with_poll_interval(SECOND)
        .with_silent_after(10 * SECOND)
}

/// A store, its ledger, and a clock.
pub(super) struct World {
    pub(super) clock: ManualClock,
    pub(super) ledger: Arc<MemoryLedger>,
    pub(super) shards: Vec<Arc<Shard>>,
}

impl World {
    pub(super) fn new(shards: Vec<Arc<Shard>>) -> Self {
        Self { clock: ManualClock::new(), ledger: Arc::new(MemoryLedger::new()), shards }
    }

    pub(super) fn owners(&self) -> OwnersOf {
        OwnersOf { shards: self.shards.clone(), lies: AtomicBool::new(false) }
    }

    pub(super) fn watch(&self, options: DriftWatchOptions) -> DriftWatch {
        DriftWatch::new(Arc::<MemoryLedger>::clone(&self.ledger), options)
            .with_store(CAS, self.shards.clone())
            .with_owners(Arc::new(self.owners()))
            .with_clock(Arc::new(self.clock.clone()))
    }

    /// Scans, while `host` reports each second.
    pub(super) async fn scan(&self, watch: &DriftWatch, host: &mut Host) -> Result<DriftReport> {
        let ctx = Context::background();
        drive(&self.clock, watch.run_once(&ctx), || host.send(&self.ledger)).await
    }
}
