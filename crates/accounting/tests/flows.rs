//! All four flows together, under faults: uploads and deletions in a bucket, reports and rows, footprints, and a scan. At rest,
//! each footprint is what the bucket has of that customer, to the byte.
//!
//! A crash is a copy of the files of a process at some moment, in which the next process opens. `BLOBACCESS_RANDOMISED_SECONDS`
//! sets how long this goes on; at least 10,000 operations are done. `BLOBACCESS_SIM_SEED` repeats a run.
#![cfg(not(loom))]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "helpers of tests fail so, and there is a budget of time"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use blobaccess::{
    Ac, AccountName, Blob, BlobAccess, Cas, Clock, Context, Digest, DigestFunction, Error, InstanceName, Kind, Result,
    StorageType, SystemClock,
};
use blobaccess_accounting::{
    Account, Accounted, Accounts, AccountsOptions, Adjustment, Class, DriftWatch, DriftWatchOptions,
    FootprintAccumulator, FootprintOptions, InFlight, IngestionTime, Ledger, LedgerSource, Life, MemoryFootprints,
    MemoryLedger, OwnerIndex, OwnerIndexOptions, OwnerScan, OwnerScanOptions, Report, Reporter, Reporting, RowBatch,
    RowSink, RowSource, RowSum, RowsOptions, RowsWritten, ScanPart, Total,
};
use blobaccess_s3_backend::sim::{FaultPlan, SimS3};
use blobaccess_s3_backend::{BucketOptions, BucketStore, Mutability};
use blobaccess_testkit::{Numbers, seed, time_budget};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};

const CUSTOMERS: [&str; 3] = ["acme", "globex", "initech"];

/// The operations of one round, and the least number of all.
const ROUND: u64 = 1_000;
const LEAST: u64 = 10_000;

/// The number of uploads under way at a time.
const AT_ONCE: usize = 12;

/// The time of the simulation, by day and by durations.
#[derive(Clone, Copy, Debug)]
struct SimClock {
    begin: Instant,
}

impl Clock for SimClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000) + (SystemClock.monotonic() - self.begin)
    }

    fn monotonic(&self) -> Instant {
        SystemClock.monotonic()
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        SystemClock.sleep_until(deadline)
    }
}

/// A ledger that can be away.
#[derive(Debug, Default)]
struct SomeLedger {
    inner: MemoryLedger,
    away: AtomicBool,
}

impl SomeLedger {
    fn there(&self) -> Result<&MemoryLedger> {
        if self.away.load(Ordering::Relaxed) { Err(Error::unavailable("away")) } else { Ok(&self.inner) }
    }
}

#[async_trait]
impl Ledger for SomeLedger {
    async fn apply(&self, reports: &[Report]) -> Result<()> {
        self.there()?.apply(reports).await
    }

    async fn adjust(&self, adjustments: &[Adjustment]) -> Result<()> {
        self.there()?.adjust(adjustments).await
    }

    async fn totals(&self, account_name: Option<&AccountName>) -> Result<Vec<Total>> {
        self.there()?.totals(account_name).await
    }

    async fn lives(&self) -> Result<Vec<Life>> {
        self.there()?.lives().await
    }

    async fn retire(&self, lives: &[Life]) -> Result<()> {
        self.there()?.retire(lives).await
    }

    async fn in_flight(&self) -> Result<Vec<InFlight>> {
        self.there()?.in_flight().await
    }

    async fn adjustments(&self) -> Result<Vec<Adjustment>> {
        self.there()?.adjustments().await
    }
}

/// A table of rows: a row that comes again is one, with its first time. It can be away, and loses acknowledgements.
#[derive(Debug)]
struct Rows {
    clock: SimClock,
    by_key: Mutex<BTreeMap<String, (String, IngestionTime, i128)>>,
    writes: AtomicU64,
    away: AtomicBool,
}

#[async_trait]
impl RowSink for Rows {
    async fn write(&self, batch: &RowBatch) -> Result<RowsWritten> {
        if self.away.load(Ordering::Relaxed) {
            return Err(Error::unavailable("away"));
        }
        let now = IngestionTime::from_time(self.clock.now());
        for row in batch.rows.iter().filter(|row| row.class == Class::Created) {
            let key = format!("{} {} {}", batch.key(), row.account, row.class.code());
            let said = (row.account.account_name().as_str().to_owned(), now, i128::from(row.amounts.stored_bytes));
            self.by_key.lock().unwrap().entry(key).or_insert(said);
        }
        if self.writes.fetch_add(1, Ordering::Relaxed) % 3 == 2 {
            return Err(Error::unavailable("the acknowledgement is lost"));
        }
        Ok(RowsWritten::ALL)
    }
}

#[async_trait]
impl RowSource for Rows {
    async fn watermark(&self, lag: Duration) -> Result<IngestionTime> {
        if self.away.load(Ordering::Relaxed) {
            return Err(Error::unavailable("away"));
        }
        Ok(IngestionTime::from_time(self.clock.now()).settled(lag))
    }

    async fn sum(
        &self,
        namespaces: &[String],
        after: IngestionTime,
        until: IngestionTime,
    ) -> Result<BTreeMap<String, RowSum>> {
        let mut sums: BTreeMap<String, (u64, i128)> = BTreeMap::new();
        for (name, at, bytes) in self.by_key.lock().unwrap().values() {
            if namespaces.contains(name) && *at > after && *at <= until {
                let sum = sums.entry(name.clone()).or_default();
                *sum = (sum.0 + 1, sum.1 + bytes);
            }
        }
        Ok(sums.into_iter().map(|(name, (rows, bytes))| (name, RowSum::new(rows, bytes))).collect())
    }
}

/// The parts that outlive a process.
#[derive(Debug)]
struct World {
    sim: SimS3,
    clock: SimClock,
    ledger: Arc<SomeLedger>,
    rows: Arc<Rows>,
    /// Footprints by the sum of rows, and by the totals of the ledger.
    from_rows: Arc<MemoryFootprints>,
    from_ledger: Arc<MemoryFootprints>,
    folder: tempfile::TempDir,
    lives: u64,
}

/// One process.
struct Process {
    cas: Arc<Accounted<Arc<BucketStore<Cas>>>>,
    ac: Arc<Accounted<Arc<BucketStore<Ac>>>>,
    accounts: Arc<Accounts>,
    reporting: Arc<Reporting>,
    owners: OwnerIndex,
    directory: PathBuf,
}

impl World {
    fn new(seed: u64) -> Self {
        let clock = SimClock { begin: SystemClock.monotonic() };
        let (from_rows, from_ledger) = (MemoryFootprints::new(), MemoryFootprints::new());
        for customer in CUSTOMERS {
            from_rows.insert(customer);
            from_ledger.insert(customer);
        }
        let rows = Rows { clock, by_key: Mutex::default(), writes: AtomicU64::new(0), away: AtomicBool::new(false) };
        Self {
            sim: SimS3::new(seed),
            clock,
            ledger: Arc::default(),
            rows: Arc::new(rows),
            from_rows: Arc::new(from_rows),
            from_ledger: Arc::new(from_ledger),
            // In memory, if there is such a folder: a crash of a process loses nothing that it wrote.
            folder: tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap(),
            lives: 0,
        }
    }

    /// Opens a process in a copy of the files of the one before.
    async fn open(&mut self, files: Option<&Path>) -> Process {
        self.lives += 1;
        let directory = self.folder.path().join(self.lives.to_string());
        let journal = directory.join("journal");
        std::fs::create_dir_all(&journal).unwrap();
        if let Some(files) = files {
            copy(&files.join("journal"), &journal);
            copy(files, &directory);
        }
        // A process that cannot open the bucket does nothing.
        self.sim.set_faults(FaultPlan::NONE);
        let (cas, ac) = (self.store::<Cas>().await, self.store::<Ac>().await);
        let owners = OwnerIndex::builder(OwnerIndexOptions::default())
            .with_store(StorageType::Cas, Arc::<BucketStore<Cas>>::clone(&cas))
            .with_store(StorageType::Ac, Arc::<BucketStore<Ac>>::clone(&ac))
            .with_clock(Arc::new(self.clock))
            .open(directory.join("owners.redb"))
            .unwrap();
        let resolver = |kind, store| Arc::new(owners.resolver(kind, store));
        let accounts = Accounts::builder(AccountsOptions::new(Reporter::new("host")).with_journal(&journal))
            .with_owner_index(owners.clone())
            .with_resolver(StorageType::Cas, resolver(StorageType::Cas, Arc::<BucketStore<Cas>>::clone(&cas)))
            .with_resolver(StorageType::Ac, resolver(StorageType::Ac, Arc::<BucketStore<Ac>>::clone(&ac)))
            .with_clock(Arc::new(self.clock))
            .open()
            .unwrap();
        let ledger = Arc::<SomeLedger>::clone(&self.ledger);
        let reporting = Reporting::new(Arc::clone(&accounts), ledger)
            .with_owner_index(Reporter::new("host/owners"), owners.clone())
            .with_rows(Arc::<Rows>::clone(&self.rows), RowsOptions::default());
        Process {
            cas: Arc::new(Accounted::new(cas, Arc::clone(&accounts))),
            ac: Arc::new(Accounted::new(ac, Arc::clone(&accounts))),
            accounts,
            reporting: Arc::new(reporting),
            owners,
            directory,
        }
    }

    async fn store<K: Kind>(&self) -> Arc<BucketStore<K>> {
        let options = BucketOptions::default()
            .with_attempt_timeout(Duration::from_secs(5))
            .with_mutability(Mutability::CreateOnly);
        Arc::new(BucketStore::open(self.sim.bucket().unwrap(), options).await.unwrap())
    }

    async fn accumulate(&self) {
        let from_rows: Arc<dyn RowSource> = Arc::<Rows>::clone(&self.rows);
        let ledger: Arc<dyn Ledger> = Arc::<SomeLedger>::clone(&self.ledger);
        let from_ledger: Arc<dyn RowSource> = Arc::new(LedgerSource::new(ledger));
        for (source, table) in [(from_rows, &self.from_rows), (from_ledger, &self.from_ledger)] {
            let table = Arc::<MemoryFootprints>::clone(table);
            let clock = Arc::new(self.clock);
            FootprintAccumulator::new(source, table, FootprintOptions::new()).with_clock(clock).run_once().await;
        }
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn mix(numbers: &mut Numbers) -> FaultPlan {
    let mut some = || if numbers.below(2) == 0 { 0 } else { u16::try_from(numbers.below(60)).unwrap() };
    FaultPlan::NONE
        .with_lost_after_commit(some())
        .with_reset_after_commit(some())
        .with_closed_before_commit(some())
        .with_not_connected(some())
        .with_error_after_commit(some())
        .with_throttled(some())
        .with_conflict(some())
        .with_sent_twice(some())
        .with_hang_after_commit(some())
        .with_slow(some())
}

/// Returns one of the blobs of a customer.
fn blob(customer: &str, number: usize) -> (Digest, Vec<u8>) {
    let mut contents = format!("{customer} {number} ").into_bytes();
    contents.resize(contents.len() + number % 50, b'.');
    (Digest::of(InstanceName::new(customer).unwrap(), DigestFunction::Sha256, &contents), contents)
}

async fn put<K: Kind>(store: Arc<Accounted<Arc<BucketStore<K>>>>, digest: Digest, contents: Vec<u8>) {
    // A failure has its outcome too.
    drop(store.put(&Context::background(), &digest, Blob::from_bytes(contents)).await);
}

async fn scan_owners(process: &Process) -> Result<()> {
    let ctx = Context::background();
    let (cas, ac) = (Arc::clone(process.cas.inner()), Arc::clone(process.ac.inner()));
    for (kind, part) in [(StorageType::Cas, ScanPart::whole(cas)), (StorageType::Ac, ScanPart::whole(ac))] {
        OwnerScan::new(process.owners.clone(), kind, vec![part], OwnerScanOptions::default()).run(&ctx).await?;
    }
    Ok(())
}

/// Does the operations of one round, brings everything to rest, and compares.
async fn round(numbers: &mut Numbers) {
    let mut world = World::new(numbers.draw());
    let mut process = world.open(None).await;
    let mut uploads: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
    for _ in 0..ROUND {
        match numbers.below(100) {
            0..=69 => {
                let customer = CUSTOMERS[numbers.below(3)];
                let (digest, contents) = blob(customer, numbers.below(200));
                if numbers.below(4) == 0 {
                    uploads.push(Box::pin(put(Arc::clone(&process.ac), digest, contents)));
                } else {
                    uploads.push(Box::pin(put(Arc::clone(&process.cas), digest, contents)));
                }
                while uploads.len() >= AT_ONCE {
                    uploads.next().await;
                }
            }
            70..=79 => drop(process.reporting.flush().await),
            80..=86 => {
                let customer = CUSTOMERS[numbers.below(3)];
                let digest = blob(customer, numbers.below(200)).0;
                let kind = if numbers.below(4) == 0 { StorageType::Ac } else { StorageType::Cas };
                // A blob that is deleted between two attempts at its upload is stored again: docs/accounting.md.
                while uploads.next().await.is_some() {}
                // This server may never answer; a client of HTTP gives up by itself.
                let ctx = Context::background();
                let deletion = process.owners.delete(&ctx, kind, &digest);
                drop(tokio::time::timeout(Duration::from_secs(30), deletion).await);
            }
            87..=88 => {
                // A rule of the bucket deletes an object.
                let objects = world.sim.objects();
                let key = objects.keys().nth(numbers.below(objects.len().max(1)));
                if let Some(key) = key.filter(|key| is_blob(key)) {
                    world.sim.remove(key);
                }
            }
            89 => drop(scan_owners(&process).await),
            90..=92 => world.accumulate().await,
            93 => world.rows.away.store(numbers.below(2) == 0, Ordering::Relaxed),
            94 => world.ledger.away.store(numbers.below(2) == 0, Ordering::Relaxed),
            95..=96 => world.sim.set_faults(mix(numbers)),
            97 => tokio::time::sleep(Duration::from_secs(u64::try_from(numbers.below(4_000)).unwrap())).await,
            _ => {
                let files = process.directory.clone();
                // The copy comes first: whatever the process does at its end, it does to files that nobody reads.
                let next = world.folder.path().join("copy");
                std::fs::create_dir_all(next.join("journal")).unwrap();
                copy(&files.join("journal"), &next.join("journal"));
                copy(&files, &next);
                uploads = FuturesUnordered::new();
                drop(process);
                process = world.open(Some(&next)).await;
                std::fs::remove_dir_all(&next).unwrap();
                world.sim.set_faults(mix(numbers));
            }
        }
    }
    while uploads.next().await.is_some() {}
    rest(&world, &process).await;
}

fn is_blob(key: &str) -> bool {
    ["cas", "ac"].iter().any(|folder| key.split('/').any(|part| part == *folder))
}

/// Brings everything to rest, and compares.
async fn rest(world: &World, process: &Process) {
    world.sim.set_faults(FaultPlan::NONE);
    world.sim.settle();
    world.ledger.away.store(false, Ordering::Relaxed);
    world.rows.away.store(false, Ordering::Relaxed);
    // Lost answers are resolved, and blobs that are gone are missed twice.
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_hours(2)).await;
        drop(process.reporting.flush().await);
        scan_owners(process).await.unwrap();
    }
    while process.reporting.flush().await.is_err() {}
    assert_eq!(process.accounts.snapshot().dead_lives, 0);
    tokio::time::sleep(Duration::from_hours(1)).await;
    world.accumulate().await;

    let watch = DriftWatch::new(Arc::<SomeLedger>::clone(&world.ledger), DriftWatchOptions::new())
        .with_store(StorageType::Cas, [Arc::clone(process.cas.inner())])
        .with_store(StorageType::Ac, [Arc::clone(process.ac.inner())])
        .with_owners(Arc::new(process.owners.clone()))
        .with_own_reports(Arc::clone(&process.reporting))
        .with_clock(Arc::new(world.clock));
    let drift = watch.run_once(&Context::background()).await.unwrap();
    let intervals = drift.worst.iter().map(|finding| (finding.subject.to_string(), finding.interval));
    for (subject, interval) in intervals.chain([("everything".to_owned(), drift.total.interval)]) {
        assert_eq!((interval.low_bytes, interval.high_bytes), (0, 0), "{subject}: {interval:?}");
    }

    let stored: u64 = world.sim.objects().iter().filter(|(key, _)| is_blob(key)).map(|(_, bytes)| bytes).sum();
    assert_eq!(stored, drift.total.interval.actual_bytes);
    let totals = world.ledger.totals(None).await.unwrap();
    for customer in CUSTOMERS {
        let of_customer = |total: &&Total| total.account.account_name().as_str() == customer;
        let held: u64 = [StorageType::Cas, StorageType::Ac]
            .map(|kind| process.owners.held_by(&Account::new(AccountName::new(customer), kind)).stored_bytes)
            .iter()
            .sum();
        let footprint: i128 = totals.iter().filter(of_customer).map(Total::footprint_bytes).sum();
        assert_eq!(footprint, i128::from(held), "the ledger and the bucket, of {customer}");
        let told = world.from_ledger.get(customer).unwrap().footprint_bytes;
        assert_eq!(i128::from(told), footprint, "what {customer} was told, and the ledger");
        let created: u64 =
            totals.iter().filter(of_customer).map(|total| total.tally.get(Class::Created).stored_bytes).sum();
        let from_rows = world.from_rows.get(customer).unwrap().footprint_bytes;
        assert_eq!(i128::from(from_rows), i128::from(created), "rows of {customer}, and the ledger");
    }
}

#[test]
fn footprints_are_what_the_bucket_has_whatever_fails() {
    let (seed, budget, began) = (seed("BLOBACCESS_SIM_SEED"), time_budget(), Instant::now());
    let (mut numbers, mut operations) = (Numbers::new(seed), 0);
    while operations < LEAST || began.elapsed() < budget {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(round(&mut numbers));
        operations += ROUND;
    }
    println!("{operations} operations in {:?}", began.elapsed());
}
