//! A watch over drift: scans on a schedule, which compare what is stored with what was reported.

mod finishing;
mod listing;
mod saving;
mod schedule;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::{self, Debug, Formatter};
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use blobaccess::{BackgroundWork, Clock, Context, Error, Inventory, LogInterval, Result, StorageType, SystemClock};

use super::heard::{LifeKey, Mark, marks};
use super::pace::Pace;
use super::progress::{Progress, Scan, Shard, fingerprint};
use super::sheet::Sheet;
use super::{DriftMetrics, DriftReport, DriftWatchOptions, NoOwners, Owners};
use crate::{AccountingObserver, Ledger, NoAccountingObserver, Reporting, Total};

/// The time between two lines of the log of one kind.
const LOG_INTERVAL: Duration = Duration::from_mins(10);

/// A watch over drift: scans on a schedule, which compare what is stored with what was reported, by account, by kind of store
/// and in all.
///
/// A scan reads the ledger, lists the stores, waits until every life has reported everything until the end of the listing, and
/// reads the ledger again. So blobs that come and go meanwhile are no drift ([`DriftInterval`](super::DriftInterval)), and in
/// a quiet store the drift is a single number. A scan writes to no ledger and no store. Its results are
/// [metrics](Self::metrics), a [report](DriftReport), lines in the log and calls of an [observer](AccountingObserver).
///
/// Nothing happens by itself: spawn [`run`](BackgroundWork::run), or call [`run_once`](Self::run_once).
///
/// # Who waits
///
/// Nobody but the scan. It takes no lock of uploads, requests a bounded number of pages a second, and gives each request a time.
/// A page that fails is tried again. If it keeps failing, the scan goes on at that page after 30 s, 1 min, 2 min and so on, up
/// to an hour.
///
/// A life that does not report is waited for once, for [a time](DriftWatchOptions::with_silent_after); then it is silent, named
/// in the report, and not waited for until it is heard again. What it has under way hides no drift. To be rid of it,
/// [retire](Ledger::retire) it.
///
/// # Who is compared
///
/// Accounts are compared if [owners](Self::with_owners) of blobs are known. A blob of which no owner is known may be anybody's:
/// it makes the intervals of accounts wider, and that of its kind not. Errors of opposite sign cancel in sums, so each account
/// and kind has an alarm of its own. An account without room in its reporter is counted for `__other__`; if its blobs say
/// otherwise, both drift.
///
/// # Memory
///
/// A page of each shard that is listed, and [some 200 bytes](DriftWatchOptions::with_max_accounts) for each account that is
/// compared apart, of which there is a maximum. A reading of the ledger is as large as its totals, for a moment. A life that is
/// neither over nor retired takes 50 bytes.
///
/// # Cancel safety
///
/// The futures may be dropped at any time. The next call goes on after the last whole page; after a restart, after the last
/// write of the [file](DriftWatchOptions::with_progress_file).
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use std::sync::Arc;
///
/// use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, InstanceName, MemoryStore, StorageType};
/// use blobaccess_accounting::{
///     Accounted, Accounts, AccountsOptions, DriftWatch, DriftWatchOptions, MemoryLedger, Reporter, Reporting,
/// };
///
/// let store = Arc::new(MemoryStore::<Cas>::new(1 << 20));
/// let accounts = Accounts::open(AccountsOptions::new(Reporter::new("host-7")))?;
/// let ledger = Arc::new(MemoryLedger::new());
/// let reporting = Arc::new(Reporting::new(accounts.clone(), ledger.clone()));
/// let counted = Accounted::new(Arc::clone(&store), accounts);
/// let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello");
/// counted.put(&Context::background(), &digest, Blob::from_bytes("hello")).await?;
/// reporting.flush().await?;
///
/// let watch = DriftWatch::new(ledger, DriftWatchOptions::new())
///     .with_store(StorageType::Cas, [store])
///     .with_own_reports(reporting);
/// let report = watch.run_once(&Context::background()).await?;
/// assert_eq!((report.total.interval.reported_bytes, report.total.interval.actual_bytes), (5, 5));
/// assert_eq!((report.total.interval.low_bytes, report.total.interval.high_bytes), (0, 0));
/// # Ok(())
/// # }
/// ```
pub struct DriftWatch {
    options: DriftWatchOptions,
    ledger: Arc<dyn Ledger>,
    parts: Vec<Part>,
    owners: Arc<dyn Owners>,
    own_reports: Vec<Arc<Reporting>>,
    observer: Arc<dyn AccountingObserver>,
    clock: Arc<dyn Clock>,
    metrics: Arc<DriftMetrics>,
    pace: Pace,
    turn: tokio::sync::Mutex<Turn>,
    progress: Mutex<Progress>,
    /// Held while the file is written, even if nobody waits for that any more.
    saving: Arc<tokio::sync::Mutex<()>>,
    next_save: Mutex<Option<Instant>>,
    pages: AtomicU64,
    failed_pages: AtomicU64,
    failed_saves: AtomicU64,
    alarm_line: LogInterval,
    silence_line: LogInterval,
    failure_line: LogInterval,
    save_line: LogInterval,
}

/// A part of a store that is listed by itself.
#[derive(Debug)]
struct Part {
    storage_type: StorageType,
    inventory: Arc<dyn Inventory>,
}

/// The state of whoever scans.
#[derive(Debug, Default)]
struct Turn {
    loaded: bool,
    /// The time of the next scan; `None` for one that is due.
    due: Option<Instant>,
    /// The latest reports of lives that were silent after the latest scan.
    known_silent: HashMap<LifeKey, Mark>,
}

/// The state of a [`DriftWatch`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DriftWatchSnapshot {
    /// Whether a scan has begun and not ended.
    pub is_scanning: bool,
    /// The number of shards.
    pub shards: usize,
    /// The number of those that the present scan has listed.
    pub listed_shards: usize,
    /// The number of accounts of the present scan that are compared apart.
    pub accounts: usize,
    /// The number of pages that were listed in this life of the program.
    pub pages: u64,
    /// The number of attempts at a page or its owners that failed.
    pub failed_pages: u64,
    /// The number of times that the progress could not be written.
    pub failed_saves: u64,
    /// The number of scans that ended.
    pub scans: u64,
    /// The number of attempts at a scan that failed. Each went on later.
    pub failed_scans: u64,
    /// The result of the latest scan.
    pub latest: Option<DriftReport>,
}

impl DriftWatch {
    /// Makes a watch that compares `ledger` with no store yet, without owners and observer, with the time of the system.
    #[must_use]
    pub fn new(ledger: Arc<dyn Ledger>, options: DriftWatchOptions) -> Self {
        Self {
            pace: Pace::new(options.pages_per_second),
            metrics: Arc::new(DriftMetrics::new(options.alarm.floor_bytes())),
            options,
            ledger,
            parts: Vec::new(),
            owners: Arc::new(NoOwners),
            own_reports: Vec::new(),
            observer: Arc::new(NoAccountingObserver),
            clock: Arc::new(SystemClock),
            turn: tokio::sync::Mutex::default(),
            progress: Mutex::default(),
            saving: Arc::default(),
            next_save: Mutex::default(),
            pages: AtomicU64::new(0),
            failed_pages: AtomicU64::new(0),
            failed_saves: AtomicU64::new(0),
            alarm_line: LogInterval::new(LOG_INTERVAL),
            silence_line: LogInterval::new(LOG_INTERVAL),
            failure_line: LogInterval::new(LOG_INTERVAL),
            save_line: LogInterval::new(LOG_INTERVAL),
        }
    }

    /// Lists `shards` too: a store of this kind, or the parts of one that do not overlap, in an order that is the same after a
    /// restart. What the ledger has of a kind without a shard is not compared.
    #[must_use]
    pub fn with_store<I: Inventory>(
        mut self,
        storage_type: StorageType,
        shards: impl IntoIterator<Item = Arc<I>>,
    ) -> Self {
        let parts = shards.into_iter().map(|inventory| Part { storage_type, inventory });
        self.parts.extend(parts);
        self
    }

    /// Asks `owners` for the accounts of blobs. By default none is known, and kinds are compared only.
    #[must_use]
    pub fn with_owners(mut self, owners: Arc<dyn Owners>) -> Self {
        self.owners = owners;
        self
    }

    /// Has `reporting` report after each listing, so that nobody waits for its interval: the reports of this program, to the
    /// same ledger.
    #[must_use]
    pub fn with_own_reports(mut self, reporting: Arc<Reporting>) -> Self {
        self.own_reports.push(reporting);
        self
    }

    /// Notifies `observer` of scans and of causes for alarm.
    #[must_use]
    pub fn with_observer(mut self, observer: impl AccountingObserver) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// Takes the time from `clock`, by default from that of the system.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Returns the metrics of this watch, for [`Metrics::with_drift`](crate::Metrics::with_drift) or by themselves.
    #[must_use]
    pub fn metrics(&self) -> Arc<DriftMetrics> {
        Arc::clone(&self.metrics)
    }

    /// Returns the state.
    #[must_use]
    pub fn snapshot(&self) -> DriftWatchSnapshot {
        let (is_scanning, listed_shards, accounts) = {
            let progress = self.progress();
            let scan = progress.scan.as_ref();
            let listed = scan.map_or(0, |scan| scan.shards.iter().filter(|shard| shard.done).count());
            (scan.is_some(), listed, scan.map_or(0, |scan| scan.sheet.accounts.len()))
        };
        let (scans, failed_scans, latest) = self.metrics.latest();
        DriftWatchSnapshot {
            is_scanning,
            shards: self.parts.len(),
            listed_shards,
            accounts,
            pages: self.pages.load(Ordering::Relaxed),
            failed_pages: self.failed_pages.load(Ordering::Relaxed),
            failed_saves: self.failed_saves.load(Ordering::Relaxed),
            scans,
            failed_scans,
            latest,
        }
    }

    /// Scans now, or goes on with the scan that was interrupted, and returns its result.
    ///
    /// # Errors
    ///
    /// The error of the ledger, or of a page or of owners that failed [too often](DriftWatchOptions::with_attempts). The next
    /// call goes on after the last whole page. `InvalidArgument` if a store does not take its cursor back: the next call
    /// begins anew.
    pub async fn run_once(&self, ctx: &Context) -> Result<DriftReport> {
        let mut turn = self.turn.lock().await;
        let result = self.scan(ctx, &mut turn).await;
        if result.is_err() {
            self.metrics.count_failure();
        }
        result
    }

    async fn scan(&self, ctx: &Context, turn: &mut Turn) -> Result<DriftReport> {
        self.load(turn).await;
        self.begin().await?;
        self.list(ctx).await?;
        let report = self.finish(turn).await?;
        turn.due = self.clock.monotonic().checked_add(self.options.interval);
        Ok(report)
    }

    /// Takes the first reading, unless a scan goes on.
    async fn begin(&self) -> Result<()> {
        if self.progress().scan.is_some() {
            return Ok(());
        }
        let begun_at = self.clock.now();
        // What a life reports between these two counts as heard, which makes the interval no narrower than it may be.
        let lives = self.step("the lives of the ledger", self.ledger.lives()).await?;
        let totals = self.totals().await?;
        let mut sheet = Sheet::new(&totals, self.options.max_accounts);
        for part in &self.parts {
            sheet.kinds.entry(part.storage_type).or_default();
        }
        let shards = vec![Shard::default(); self.parts.len()];
        self.progress().scan = Some(Scan { begun_at, sheet, shards, marks: marks(&lives) });
        Ok(())
    }

    /// Reads the totals of the kinds that are listed.
    async fn totals(&self) -> Result<Vec<Total>> {
        let mut totals = self.step("the totals of the ledger", self.ledger.totals(None)).await?;
        totals.retain(|total| self.parts.iter().any(|part| part.storage_type == total.account.storage_type()));
        Ok(totals)
    }

    /// Runs a step of a scan, for as long as one may take.
    async fn step<T>(&self, what: &str, step: impl Future<Output = Result<T>>) -> Result<T> {
        let deadline = self.clock.monotonic().checked_add(self.options.step_timeout);
        self.clock.timeout(deadline, step).await.unwrap_or_else(|_| {
            Err(Error::deadline_exceeded(format!("{what} took more than {:?}", self.options.step_timeout)))
        })
    }

    fn fingerprint(&self) -> u64 {
        fingerprint(&self.options.store_name, self.parts.iter().map(|part| part.storage_type))
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        // Nothing that panics is called while the progress is half changed.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl BackgroundWork for DriftWatch {
    fn name(&self) -> Cow<'static, str> {
        if self.options.store_name.is_empty() {
            return "the scans for drift".into();
        }
        format!("the scans for drift of {}", self.options.store_name).into()
    }

    async fn run(&self) {
        self.run_on_schedule().await;
    }
}

impl Debug for DriftWatch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("DriftWatch")
            .field("options", &self.options)
            .field("shards", &self.parts.len())
            .finish_non_exhaustive()
    }
}
