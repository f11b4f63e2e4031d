//! Local stores in front of a bucket, with queues of uploads, accounts, and a ledger with its journal.

mod belonging;
mod opening;
mod place;
mod report;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use blobaccess::decorators::{ExistenceCaching, QueryCoalescing, ReadCoalescing};
use blobaccess::{
    Ac, Background, BlobAccess, Cas, Clock, Context, Error, Inventory, Result, StorageType, SystemClock, WorkPanicked,
};
use blobaccess_accounting::{
    Accounts, AccountsOptions, DriftInterval, DriftScan, Ledger, Metrics, Reading, RedbLedger, Reporter, Reporting,
    Scanned, Total,
};
use blobaccess_local_store::LocalStore;
use blobaccess_s3_backend::{BucketOptions, BucketStore, OnUnreachable};
use blobaccess_write_behind::{QueueOptions, QueueSnapshot, UploadQueue, WriteBehind};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use self::place::bucket;

/// The number of digests that are remembered as present in the bucket, at some 170 bytes each, and for how long.
const REMEMBERED: usize = 200_000;
const REMEMBERED_FOR: Duration = Duration::from_mins(5);

/// The bucket behind a memory of the digests that it was found to have.
type RememberedBucket = ExistenceCaching<QueryCoalescing<ReadCoalescing<Arc<BucketStore<Cas>>>>>;

/// The local stores in front of the queues.
type LocalContents = WriteBehind<Arc<LocalStore<Cas>>, RememberedBucket>;
type LocalResults = WriteBehind<Arc<LocalStore<Ac>>, Arc<BucketStore<Ac>>>;

/// The pause before the bucket is asked again what it lacks.
const ASK_AGAIN: Duration = Duration::from_secs(30);

/// The time that queued uploads get when everything is stopped.
const DRAIN: Duration = Duration::from_secs(20);

/// The time that the last report gets.
const CLOSE: Duration = Duration::from_secs(20);

/// Local stores in front of a bucket. All that put into the bucket report to the same ledger.
#[derive(Debug)]
pub(crate) struct CachedBucket {
    /// The store of contents.
    pub(crate) cas: Arc<dyn BlobAccess<Kind = Cas>>,
    /// The store of action results.
    pub(crate) ac: Arc<dyn BlobAccess<Kind = Ac>>,
    /// The local store in front of the contents in the bucket.
    pub(crate) local_cas: Arc<LocalStore<Cas>>,
    pub(crate) local_ac: Arc<LocalStore<Ac>>,
    behind: (Arc<LocalContents>, Arc<LocalResults>),
    bucket_cas: Arc<BucketStore<Cas>>,
    bucket_ac: Arc<BucketStore<Ac>>,
    cas_queue: Arc<UploadQueue<RememberedBucket>>,
    ac_queue: Arc<UploadQueue<Arc<BucketStore<Ac>>>>,
    ledger: Arc<RedbLedger>,
    reporting: Arc<Reporting>,
    metrics: Arc<Metrics>,
    report_every: Duration,
    /// The totals that were read last.
    totals: Mutex<Vec<Total>>,
    running: Mutex<Option<JoinHandle<()>>>,
    /// The background work that has panicked.
    panicked: watch::Sender<Option<WorkPanicked>>,
}

impl CachedBucket {
    /// Opens the bucket that is called `called` behind the local stores, and begins the work in the background. The ledger
    /// and the journal are kept in the folder `accounts`, which is made if it is missing. A new ledger begins with the
    /// bytes that are in the bucket.
    pub(crate) async fn open(
        called: &str,
        accounts: &Path,
        report_every: Duration,
        local_cas: Arc<LocalStore<Cas>>,
        local_ac: Arc<LocalStore<Ac>>,
    ) -> Result<Arc<Self>> {
        std::fs::create_dir_all(accounts)
            .map_err(|error| Error::failed_precondition(format!("{}: {error}", accounts.display())))?;
        let bucket = bucket(called)?;
        belonging::check(accounts, &bucket)?;
        // What is local is served although the bucket does not answer.
        let options = BucketOptions::default().with_on_unreachable(OnUnreachable::Wait);
        let bucket_cas = Arc::new(BucketStore::<Cas>::open(bucket.clone(), options.clone()).await?);
        let bucket_ac = Arc::new(BucketStore::<Ac>::open(bucket, options).await?);

        let ledger = Arc::new(RedbLedger::open(accounts.join("ledger.redb"))?);
        let options = AccountsOptions::new(Reporter::new("cached_bucket")).with_journal(accounts.join("journal"));
        let accounts = Accounts::builder(options)
            .with_resolver(StorageType::Cas, Arc::<BucketStore<Cas>>::clone(&bucket_cas))
            .with_resolver(StorageType::Ac, Arc::<BucketStore<Ac>>::clone(&bucket_ac))
            .open()?;
        let reporting = Arc::new(Reporting::new(Arc::clone(&accounts), Arc::<RedbLedger>::clone(&ledger)));
        let metrics = Arc::new(Metrics::new(Arc::clone(&accounts), Arc::clone(&reporting)));

        // A herd that misses one blob at once is one request.
        let shared = QueryCoalescing::new(ReadCoalescing::new(Arc::clone(&bucket_cas)));
        let known = ExistenceCaching::new(shared, REMEMBERED, REMEMBERED_FOR);
        let cas_queue = Arc::new(UploadQueue::new(known, Arc::clone(&accounts), QueueOptions::new()));
        let ac_queue = UploadQueue::new(Arc::clone(&bucket_ac), accounts, QueueOptions::new());
        let cas = Arc::new(WriteBehind::new(Arc::clone(&local_cas), Arc::clone(&cas_queue)));
        let trees: Arc<dyn BlobAccess<Kind = Cas>> = Arc::<LocalContents>::clone(&cas);
        let ac_queue = Arc::new(ac_queue.following_with_trees(Arc::clone(&cas_queue), trees));
        let ac = Arc::new(WriteBehind::new(Arc::clone(&local_ac), Arc::clone(&ac_queue)));
        let this = Arc::new(Self {
            cas: Arc::<LocalContents>::clone(&cas),
            ac: Arc::<LocalResults>::clone(&ac),
            behind: (cas, ac),
            local_cas,
            local_ac,
            bucket_cas,
            bucket_ac,
            cas_queue,
            ac_queue,
            ledger,
            reporting,
            metrics,
            report_every,
            totals: Mutex::default(),
            running: Mutex::default(),
            panicked: watch::Sender::new(None),
        });
        if this.bucket_cas.has_answered() && this.bucket_ac.has_answered() {
            opening::enter(this.ledger.as_ref(), &this.reporting, &this.shards()).await?;
        } else if !opening::is_entered(this.ledger.as_ref()).await? {
            // Later it could not be told what was there before.
            let message = "the bucket does not answer, and a new ledger begins with what is in it";
            return Err(Error::unavailable(message));
        }
        let (reports, requeues) = (Arc::clone(&this), Arc::clone(&this));
        let background = Background::new()
            .with(Arc::clone(&this.local_cas))
            .with(Arc::clone(&this.local_ac))
            .with(Arc::clone(&this.bucket_cas))
            .with(Arc::clone(&this.bucket_ac))
            .with(Arc::clone(&this.cas_queue))
            .with(Arc::clone(&this.ac_queue))
            .with_future("reports", async move { reports.report().await })
            .with_future("uploads of an earlier process", async move { requeues.requeue().await });
        this.spawn(background);
        Ok(this)
    }

    /// Does the work in a task of its own, as uploads go on after their callers have gone.
    fn spawn(&self, mut background: Background) {
        let panicked = self.panicked.clone();
        *self.running() = Some(tokio::spawn(async move {
            if let Err(error) = background.run().await {
                panicked.send_replace(Some(error));
            }
        }));
    }

    /// Waits until background work has panicked. What is put from then on may never be uploaded, so the process must end.
    pub(crate) async fn until_panicked(&self) -> WorkPanicked {
        let mut panicked = self.panicked.subscribe();
        loop {
            if let Some(error) = panicked.borrow_and_update().clone() {
                return error;
            }
            if panicked.changed().await.is_err() {
                // This has the sender, so the channel is not closed.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Queues what was not uploaded when the process ended, once the bucket answers.
    async fn requeue(&self) {
        let (contents, results) = &self.behind;
        let ctx = Context::background();
        loop {
            let queued = async {
                let contents = contents.requeue(&ctx, &*self.local_cas).await?;
                Ok::<_, Error>((contents, results.requeue(&ctx, &*self.local_ac).await?))
            };
            match queued.await {
                Ok((0, 0)) => return,
                Ok((contents, results)) => {
                    tracing::info!(contents, results, "uploads that an earlier process left are queued");
                    return;
                }
                Err(error) => tracing::debug!(%error, "the bucket does not say yet what it lacks"),
            }
            SystemClock.sleep_until(SystemClock.monotonic() + ASK_AGAIN).await;
        }
    }

    /// Reports to the ledger at each interval.
    async fn report(&self) {
        loop {
            let next = SystemClock.monotonic() + self.report_every;
            if let Err(error) = self.flush().await {
                tracing::warn!(%error, "cannot report to the ledger");
            }
            SystemClock.sleep_until(next).await;
        }
    }

    async fn flush(&self) -> Result<()> {
        self.reporting.flush().await?;
        self.read_totals().await
    }

    async fn read_totals(&self) -> Result<()> {
        let totals = self.ledger.totals(None).await?;
        *self.lock() = totals;
        Ok(())
    }

    /// Returns the totals that were read last.
    pub(crate) fn totals(&self) -> Vec<Total> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Total>> {
        // A panic cannot leave the totals half changed: they are replaced as a whole.
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        // A panic cannot leave the handle half changed.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Describes the accounts and the queues, for people.
    pub(crate) fn describe(&self) -> String {
        let queues =
            [("uploads of contents", self.cas_queue.snapshot()), ("of action results", self.ac_queue.snapshot())];
        report::report(&self.totals(), queues) + &self.describe_server()
    }

    /// Describes what the server of the bucket lacks: nothing, or one line.
    pub(crate) fn describe_server(&self) -> String {
        let lacks = self.bucket_cas.snapshot().findings.shortcomings().join("; ");
        if lacks.is_empty() { lacks } else { format!("{:<22}{lacks} (see docs/servers.md)\n", "the server lacks") }
    }

    /// Returns the same for Prometheus.
    pub(crate) fn metrics(&self) -> String {
        let queues = [("contents", self.cas_queue.snapshot()), ("action_results", self.ac_queue.snapshot())];
        self.metrics.encode() + &QueueSnapshot::encode_metrics_of(&queues)
    }

    /// Lists the bucket and compares it with the ledger. Returns, for each kind, what was listed and the interval in which
    /// the drift lies.
    pub(crate) async fn scan(&self) -> Result<Vec<(StorageType, Scanned, DriftInterval)>> {
        let mut found = Vec::new();
        for (storage_type, shard) in self.shards() {
            let before = self.reading(storage_type).await?;
            // Each scan has a name of its own: a repair is taken once for each name.
            let since_1970 = SystemClock.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let scan_id = format!("{} {}", storage_type.name(), since_1970.as_nanos());
            let scan = DriftScan::new(scan_id.as_str(), vec![shard], before);
            let scanned = scan.run(&Context::background(), 1).await?;
            let after = self.reading(storage_type).await?;
            let drift = DriftInterval::new(&before, &scanned, &after);
            self.metrics.observe_drift(&drift);
            found.push((storage_type, scanned, drift));
        }
        Ok(found)
    }

    /// Returns the parts of the bucket that are listed, by kind.
    fn shards(&self) -> [(StorageType, Arc<dyn Inventory>); 2] {
        [
            (StorageType::Cas, Arc::<BucketStore<Cas>>::clone(&self.bucket_cas)),
            (StorageType::Ac, Arc::<BucketStore<Ac>>::clone(&self.bucket_ac)),
        ]
    }

    async fn reading(&self, storage_type: StorageType) -> Result<Reading> {
        self.flush().await?;
        Ok(Reading::from_totals(&self.totals(), storage_type))
    }

    /// Waits for the queued uploads, reports for the last time, and makes everything durable. Nothing may be put
    /// afterwards.
    pub(crate) async fn stop(&self) -> Result<()> {
        let deadline = SystemClock.monotonic() + DRAIN;
        let contents = self.cas_queue.drain(deadline).await.dropped;
        let results = self.ac_queue.drain(deadline).await.dropped;
        if contents + results > 0 {
            tracing::warn!(contents, results, "uploads were given up: the bucket was too slow");
        }
        // What is local comes first: a ledger that cannot be written must not cost it.
        let synced = futures::try_join!(self.local_cas.sync(), self.local_ac.sync());
        let clock: &dyn Clock = &SystemClock;
        let closed = match clock.timeout(Some(clock.monotonic() + CLOSE), self.reporting.close()).await {
            Ok(closed) => closed,
            Err(_) => Err(Error::deadline_exceeded("the last report did not end in time: the next start sends it")),
        };
        let totals = match &closed {
            Ok(true) => self.read_totals().await,
            Ok(false) => {
                tracing::warn!("uploads are still under way: the next start reports their outcomes");
                self.read_totals().await
            }
            Err(_) => Ok(()),
        };
        let running = self.running().take();
        if let Some(running) = running {
            running.abort();
            // Once the task has ended, it holds the stores no longer.
            drop(running.await);
        }
        synced?;
        closed?;
        totals
    }
}

#[cfg(test)]
mod tests {
    use blobaccess_local_store::Options;

    use super::*;

    #[tokio::test]
    async fn work_that_has_panicked_is_noticed_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let bucket = folder.path().join("bucket").display().to_string();
        let (cas, ac) = (LocalStore::open(Options::in_memory(8 << 20)), LocalStore::open(Options::in_memory(8 << 20)));
        let (cas, ac) = (Arc::new(cas.await.unwrap()), Arc::new(ac.await.unwrap()));
        let accounts = folder.path().join("accounts");
        let stack = CachedBucket::open(&bucket, &accounts, Duration::from_mins(1), cas, ac).await.unwrap();
        let noticed = futures::FutureExt::now_or_never(stack.until_panicked());
        assert_eq!(noticed, None);
        stack.spawn(Background::new().with_future("uploads", async { panic!("no way") }));
        assert_eq!(stack.until_panicked().await.to_string(), "the background work of uploads has panicked: no way");
        stack.stop().await.unwrap();
    }
}
