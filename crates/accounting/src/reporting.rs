//! Reporting: sends the counts to a ledger until they are acknowledged.

mod batches;
mod jitter;
mod parts;
mod rows;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::{self, Debug, Formatter};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use blobaccess::{BackgroundWork, Context, Error, ErrorKind, Evictions, Result, StorageType, blocking};
use futures::future::{Either, join, join_all, select};
use tokio::sync::Mutex;

use self::batches::{Batch, Origin, batches};
pub(crate) use self::jitter::Jitter;
use self::parts::Parts;
pub use self::rows::RowsSnapshot;
use self::rows::{OwnRows, Rows};
use crate::accounts::{Accounts, lock_dead};
use crate::evictions;
use crate::journal::{Dead, Journal};
use crate::ledger::Ledger;
use crate::rows::{RowSink, RowsOptions};
use crate::{Account, Class, OwnerIndex, Report, Reporter, Tally};

/// The number of quotas up to which the ledger is asked for each account by itself.
const QUOTAS_ASKED_SINGLY: usize = 32;

/// The number of reports after which everything is reported anew, for a ledger that was restored from a copy.
const REPORT_ALL_EVERY: u64 = 60;

/// The life of an earlier epoch that is still to be reported.
type DeadLife = Arc<std::sync::Mutex<Dead>>;

/// Sends the counts of [`Accounts`] to a [`Ledger`] until they are acknowledged.
///
/// A report has the counts that changed since the last acknowledgement, each from the beginning of the epoch. So a failed
/// report need not be kept: the next one contains it. The reports of earlier lives that ended in a crash are sent too, until
/// they are acknowledged; then their journals are deleted.
///
/// Nothing happens by itself: spawn [`run`](Self::run), or call [`flush`](Self::flush). If neither is called for more than a
/// minute beyond the interval, a line in the log says so.
///
/// # Outages
///
/// A part of a report that fails or takes too long fails by itself: a store that cannot be asked about lost uploads, a
/// journal that cannot be written, a store that cannot tell its evictions, a ledger, a sink of rows. The rest is reported. Lost uploads are
/// asked about for a [bounded time](Self::with_resolving_budget), and every other step has a
/// [time-out](Self::with_step_timeout).
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use std::sync::Arc;
///
/// use blobaccess_accounting::{Accounts, AccountsOptions, Ledger, MemoryLedger, Reporter, Reporting};
///
/// let accounts = Accounts::open(AccountsOptions::new(Reporter::new("host-7")))?;
/// let ledger = Arc::new(MemoryLedger::new());
/// let reporting = Arc::new(Reporting::new(accounts, ledger.clone()));
/// let running = tokio::spawn({
///     let reporting = Arc::clone(&reporting);
///     async move { reporting.run().await }
/// });
/// reporting.close().await?;
/// running.abort();
/// assert!(ledger.lives().await?[0].closed);
/// # Ok(())
/// # }
/// ```
pub struct Reporting {
    accounts: Arc<Accounts>,
    /// The ledger; `None` on a site that has rows alone.
    ledger: Option<Arc<dyn Ledger>>,
    interval: Duration,
    step_timeout: Duration,
    resolving_budget: Duration,
    evictions: Vec<Source>,
    owners: Vec<(Reporter, OwnerIndex)>,
    rows: Option<Rows>,
    turn: Mutex<Turn>,
    opened_at: Instant,
    completed: AtomicU64,
    failed_to_send: AtomicU64,
    acknowledged_seq: AtomicU64,
}

/// A store that evicts blobs by itself.
struct Source {
    reporter: Reporter,
    storage_type: StorageType,
    evictions: Arc<dyn Evictions>,
}

/// The state between one flush and the next.
#[derive(Debug, Default)]
struct Turn {
    seq: u64,
    closed: bool,
    rows: OwnRows,
    /// The counts that the ledger has acknowledged.
    acknowledged: BTreeMap<Account, Tally>,
}

/// The number of reports that the ledger acknowledged, and of those that failed. Without a ledger, those of the sink of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReportingSnapshot {
    /// The number of reports that were acknowledged.
    pub completed: u64,
    /// The number of reports that the ledger did not take, as it or the journal was away. Later reports contain them. Rows
    /// that their sink did not take are in [`RowsSnapshot`].
    pub failed_to_send: u64,
    /// The number of the latest report that was acknowledged; 0 if none was.
    pub acknowledged_seq: u64,
}

impl Reporting {
    /// Reports the counts of `accounts` to `ledger`, every minute.
    #[must_use]
    pub fn new(accounts: Arc<Accounts>, ledger: Arc<dyn Ledger>) -> Self {
        Self::with_optional_ledger(accounts, Some(ledger))
    }

    /// Reports to no ledger, for a site that has [rows](Self::with_rows) alone.
    ///
    /// Nothing knows then what was stored before this life. So the use of quotas stays unknown, and what stores evict by
    /// themselves is not reported. Without rows, the counts go nowhere.
    ///
    /// # Examples
    ///
    /// ```
    /// # use async_trait::async_trait;
    /// # use blobaccess::Result;
    /// # use blobaccess_accounting::{RowBatch, RowSink, RowsWritten};
    /// # #[derive(Debug)]
    /// # struct Table;
    /// # #[async_trait]
    /// # impl RowSink for Table {
    /// #     async fn write(&self, _: &RowBatch) -> Result<RowsWritten> {
    /// #         Ok(RowsWritten::ALL)
    /// #     }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<()> {
    /// use std::sync::Arc;
    ///
    /// use blobaccess_accounting::{Accounts, AccountsOptions, Reporter, Reporting, RowsOptions};
    ///
    /// let accounts = Accounts::open(AccountsOptions::new(Reporter::new("host-7")))?;
    /// let reporting = Reporting::without_ledger(accounts).with_rows(Arc::new(Table), RowsOptions::default());
    /// reporting.flush().await?;
    /// assert_eq!(reporting.rows_snapshot().open_batches, 0);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn without_ledger(accounts: Arc<Accounts>) -> Self {
        Self::with_optional_ledger(accounts, None)
    }

    fn with_optional_ledger(accounts: Arc<Accounts>, ledger: Option<Arc<dyn Ledger>>) -> Self {
        let opened_at = accounts.clock().monotonic();
        accounts.watch().expect_report(opened_at, Duration::ZERO);
        Self {
            accounts,
            ledger,
            interval: Duration::from_mins(1),
            step_timeout: Duration::from_secs(30),
            resolving_budget: Duration::from_secs(10),
            evictions: Vec::new(),
            owners: Vec::new(),
            rows: None,
            turn: Mutex::default(),
            opened_at,
            completed: AtomicU64::new(0),
            failed_to_send: AtomicU64::new(0),
            acknowledged_seq: AtomicU64::new(0),
        }
    }

    /// Sets the interval of [`run`](Self::run): a minute by default. With a journal, it decides only how current the ledger
    /// is; without one, also how much a crash loses.
    #[must_use]
    pub const fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Sets the time after which a step of a report fails: 30 s by default. A step is a batch of the report or of rows, a sync
    /// of a journal, the totals of the ledger, the evictions of a store.
    #[must_use]
    pub const fn with_step_timeout(mut self, step_timeout: Duration) -> Self {
        self.step_timeout = step_timeout;
        self
    }

    /// Sets the time for which stores are asked about lost uploads before each report: 10 s by default. The next report goes
    /// on where this one had to stop.
    #[must_use]
    pub const fn with_resolving_budget(mut self, resolving_budget: Duration) -> Self {
        self.resolving_budget = resolving_budget;
        self
    }

    /// Reports, in addition, the blobs that a store of this kind evicted by itself. The ledger subtracts them, as counts of
    /// `reporter`, whose life is that of the store.
    #[must_use]
    pub fn with_evictions(
        mut self,
        reporter: Reporter,
        storage_type: StorageType,
        evictions: Arc<dyn Evictions>,
    ) -> Self {
        self.evictions.push(Source { reporter, storage_type, evictions });
        self
    }

    /// Reports, in addition, the deletions that an index of owners counted, as those of `reporter`, whose life is that of the
    /// index. It must be no reporter of anything else.
    #[must_use]
    pub fn with_owner_index(mut self, reporter: Reporter, owners: OwnerIndex) -> Self {
        self.owners.push((reporter, owners));
        self
    }

    /// Writes, in addition, each outcome to `sink` in a row, for consumers that add rows up.
    ///
    /// With a [journal](crate::AccountsOptions::with_journal), each row is delivered exactly once by its key, also those of
    /// lives that ended in a crash: a batch is planned and written into the journal before it is sent, and sent again in the
    /// same words, by this life or by the next, until the sink has acknowledged it. A journal is deleted when ledger and sink
    /// have acknowledged all of it. Without a journal, a crash loses what was not delivered.
    ///
    /// Ledger and sink do not wait for each other. However long the sink is away, what is counted meanwhile is one more batch:
    /// it takes memory by the number of accounts and not by time. While the journal cannot be written, rows wait, even if it
    /// is [optional](crate::AccountsOptions::with_optional_journal).
    #[must_use]
    pub fn with_rows(mut self, sink: Arc<dyn RowSink>, options: RowsOptions) -> Self {
        self.rows = Some(Rows::new(sink, options));
        self
    }

    /// Reports now and at each interval, for as long as the future is polled. Failures are logged, counted, and tried again.
    /// Between reports, a journal that has grown or could not be written is written anew.
    ///
    /// Intervals are up to a tenth shorter by chance, and the first one by up to a half, so that hosts that were started
    /// together do not report together.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any time. Counts that were not acknowledged are in the next report of this life or,
    /// with a journal, of another.
    pub async fn run(&self) {
        let mut jitter = Jitter::new(self.accounts.epoch());
        loop {
            // No time of the clock, if the interval is that long: then one report is all.
            let next = self.accounts.clock().monotonic().checked_add(jitter.shorten(self.interval));
            if let Err(error) = self.flush().await {
                tracing::warn!(%error, reporter = %self.accounts.reporter(), "cannot report");
            }
            match next {
                Some(next) => self.maintain_until(next).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Maintains the journal until `deadline`.
    async fn maintain_until(&self, deadline: Instant) {
        let mut deadline = self.accounts.clock().sleep_until(deadline);
        let Some(journal) = self.accounts.journal() else { return deadline.await };
        loop {
            let wanted = std::pin::pin!(journal.wants_maintenance());
            match select(deadline, wanted).await {
                Either::Left(_) => return,
                Either::Right(((), waiting)) => {
                    let accounts = Arc::clone(&self.accounts);
                    let maintain = move || {
                        accounts.journal().map(Journal::maintain);
                        Ok(())
                    };
                    // It is a failure of the runtime only, which ends this future too.
                    drop(blocking(maintain).await);
                    deadline = waiting;
                }
            }
        }
    }

    /// Asks the store about uploads whose answer was lost, and reports once.
    ///
    /// # Errors
    ///
    /// Fails if any part was not reported: the error is that of the first. The counts stay, and are in the next report.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any time.
    pub async fn flush(&self) -> Result<()> {
        self.report(false).await.map(drop)
    }

    /// Reports for the last time in this life, deletes the journal once ledger and rows are acknowledged, and returns whether
    /// the life was closed. Nothing may be counted afterwards.
    ///
    /// Uploads that are still under way keep the life open, and their journal for the life that follows. Without a
    /// journal, uploads whose answer was lost end as ambiguous errors, after the store was asked once more.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush). Without a journal, counts that were not acknowledged are lost unless this is called
    /// again.
    pub async fn close(&self) -> Result<bool> {
        self.report(true).await
    }

    /// Returns the number of reports that were acknowledged, and of those that failed.
    #[must_use]
    pub fn snapshot(&self) -> ReportingSnapshot {
        ReportingSnapshot {
            completed: self.completed.load(Ordering::Relaxed),
            failed_to_send: self.failed_to_send.load(Ordering::Relaxed),
            acknowledged_seq: self.acknowledged_seq.load(Ordering::Relaxed),
        }
    }

    /// Returns what became of the rows; all is 0 without any.
    #[must_use]
    pub fn rows_snapshot(&self) -> RowsSnapshot {
        self.rows.as_ref().map(Rows::snapshot).unwrap_or_default()
    }

    /// Reports, and returns whether that was the last report of this life.
    async fn report(&self, closing: bool) -> Result<bool> {
        let mut turn = self.turn.lock().await;
        if turn.closed {
            return Ok(true);
        }
        let mut parts = Parts::default();
        let closed = self.try_report(&mut turn, closing, &mut parts).await;
        let counter = if parts.is_unsent { &self.failed_to_send } else { &self.completed };
        counter.fetch_add(1, Ordering::Relaxed);
        let result = parts.first_error.map_or(Ok(closed), Err);
        self.accounts.watch().expect_report(self.accounts.clock().monotonic(), self.interval);
        self.accounts.observer().reported(result.as_ref().map(|_| ()));
        result
    }

    async fn try_report(&self, turn: &mut Turn, closing: bool, parts: &mut Parts) -> bool {
        self.resolve(closing).await;
        turn.seq += 1;
        let mut report = self.accounts.report(turn.seq);
        let idle = report.accounts.iter().all(|(_, tally)| tally.in_flight().objects == 0);
        let last = closing && idle;
        if last {
            report = report.closing();
        }
        let fresh = self.plan_rows(&mut turn.rows, &report.accounts, closing);
        let dead = self.synced_dead(parts).await;
        // Everything reported must be in the journal, whatever happens to the machine.
        let synced = self.accounts.journal().is_none() || {
            let accounts = Arc::clone(&self.accounts);
            let sync = blocking(move || accounts.journal().map_or(Ok(()), Journal::sync));
            parts.note_report(self.step("the journal", sync).await).is_some()
        };
        let is_sent = synced || self.accounts.reports_without_journal();

        let changes = is_sent.then(|| turn.changes(&report));
        let ledger = self.report_to_ledger(changes, &dead, parts);
        let rows = self.deliver_rows(&mut turn.rows, synced, &dead, &fresh);
        let (unsent, delivered) = join(ledger, rows).await;
        if self.ledger.is_some() {
            parts.note(delivered);
        } else {
            parts.note_report(delivered);
        }

        let reported = dead.iter().enumerate().filter(|(index, _)| !unsent.contains(&Origin::Dead(*index)));
        for (_, life) in reported {
            parts.note(self.remove_dead(life));
        }
        let acknowledged = is_sent && !unsent.contains(&Origin::Own);
        let delivered = self.have_delivered(&turn.rows, &report.accounts);
        if acknowledged && (self.ledger.is_some() || delivered) {
            self.acknowledge(turn, &report);
            parts.note(self.rebase_quotas(&report).await);
        }
        if last && acknowledged && delivered {
            turn.closed = true;
            if let Some(journal) = self.accounts.journal() {
                parts.note(journal.remove_if_idle());
            }
        }
        turn.closed
    }

    /// Reports this life, if there are `changes` to report, and all others to the ledger, and returns the origins of the
    /// reports that were not acknowledged.
    async fn report_to_ledger(&self, changes: Option<Report>, dead: &[DeadLife], parts: &mut Parts) -> Vec<Origin> {
        let Some(ledger) = &self.ledger else { return Vec::new() };
        let now = self.accounts.clock().now();
        let mut reports: Vec<_> = changes.map(|changes| (Origin::Own, changes)).into_iter().collect();
        reports.extend(dead.iter().enumerate().map(|(index, life)| (Origin::Dead(index), lock_dead(life).report(now))));
        reports.extend(self.evicted().await.into_iter().map(|report| (Origin::Evictions, report)));
        self.send(ledger.as_ref(), batches(reports), parts).await
    }

    /// Runs a step of a report, for as long as one may take.
    async fn step<T>(&self, what: &str, step: impl Future<Output = Result<T>>) -> Result<T> {
        let clock = self.accounts.clock();
        let deadline = clock.monotonic().checked_add(self.step_timeout);
        clock.timeout(deadline, step).await.unwrap_or_else(|_| {
            Err(Error::deadline_exceeded(format!("{what} timed out after {:?}", self.step_timeout)))
        })
    }

    /// Asks the stores about lost uploads, of this life and of earlier ones, within the budget.
    async fn resolve(&self, closing: bool) {
        let accounts = &self.accounts;
        let now = accounts.clock().monotonic();
        let deadline = now.checked_add(self.resolving_budget);
        let settled = now.saturating_duration_since(self.opened_at) >= accounts.settle_after();
        let dead = accounts.dead_lives();
        let earlier = join_all(dead.iter().map(|life| accounts.resolve_dead(life, settled, deadline)));
        join(accounts.resolve_until(deadline), earlier).await;
        if closing && accounts.journal().is_none() {
            accounts.give_up_unresolved();
        }
    }

    /// Makes the journals of earlier lives durable, and returns the lives for which that was possible.
    async fn synced_dead(&self, parts: &mut Parts) -> Vec<DeadLife> {
        let mut synced = Vec::new();
        for life in self.accounts.dead_lives() {
            let syncing = Arc::clone(&life);
            let sync = blocking(move || lock_dead(&syncing).sync());
            if parts.note_report(self.step("the journal of an earlier life", sync).await).is_some() {
                synced.push(life);
            }
        }
        synced
    }

    /// Deletes the journal of an earlier life whose last report was acknowledged, if its rows were too.
    fn remove_dead(&self, life: &DeadLife) -> Result<()> {
        let is_over = lock_dead(life).state.intents().is_empty() && self.have_delivered_of(life);
        if is_over {
            if self.rows.is_none() && lock_dead(life).state.rows.open().next().is_some() {
                tracing::warn!(reporter = %self.accounts.reporter(), "rows of an earlier life are given up: there is no sink");
            }
            // If that fails, the life is reported again, which changes nothing, and its journal is then deleted.
            lock_dead(life).remove()?;
            self.accounts.forget_dead(life);
        }
        Ok(())
    }

    /// Sends reports, and returns the origins of those that were not acknowledged.
    async fn send(&self, ledger: &dyn Ledger, batches: Vec<Batch>, parts: &mut Parts) -> Vec<Origin> {
        let mut unsent = Vec::new();
        let mut is_down = false;
        for Batch { origins, reports } in batches {
            // The last page of a report may close its life, so none follows one that is missing.
            let pages = origins.iter().copied().zip(reports).filter(|(origin, _)| !unsent.contains(origin));
            let (origins, reports): (Vec<_>, Vec<_>) = pages.unzip();
            if reports.is_empty() {
                continue;
            }
            let sent = !is_down && {
                let result = self.step("the ledger", ledger.apply(&reports)).await;
                // A ledger that is away is not waited for again.
                is_down = result
                    .as_ref()
                    .is_err_and(|error| [ErrorKind::Unavailable, ErrorKind::DeadlineExceeded].contains(&error.kind()));
                parts.note_report(result).is_some()
            };
            if !sent {
                unsent.extend(origins);
            }
        }
        unsent
    }

    fn acknowledge(&self, turn: &mut Turn, report: &Report) {
        turn.acknowledged.extend(report.accounts.iter().cloned());
        let started =
            report.accounts.iter().fold(0_u64, |sum, (_, tally)| sum.saturating_add(tally.get(Class::Started).objects));
        self.accounts.watch().acknowledge(started);
        self.acknowledged_seq.store(turn.seq, Ordering::Relaxed);
    }

    async fn rebase_quotas(&self, report: &Report) -> Result<()> {
        let quotas = self.accounts.quotas();
        let Some(ledger) = self.ledger.as_ref().filter(|_| !quotas.is_empty()) else { return Ok(()) };
        let names = quotas.names();
        let mut totals = Vec::new();
        if names.len() <= QUOTAS_ASKED_SINGLY {
            for name in &names {
                totals.extend(self.step("the totals of an account", ledger.totals(Some(name))).await?);
            }
        } else {
            totals = self.step("the totals of the ledger", ledger.totals(None)).await?;
        }
        quotas.rebase(&totals, report);
        Ok(())
    }

    /// Makes reports of the blobs that stores evicted, and of those that were deleted. A store that cannot be asked now is asked next time: its totals
    /// cover its whole life.
    async fn evicted(&self) -> Vec<Report> {
        let mut reports = Vec::new();
        for source in &self.evictions {
            let ctx = Context::background();
            match self.step("the evictions of a store", source.evictions.evicted(&ctx)).await {
                Ok(totals) => {
                    let now = self.accounts.clock().now();
                    reports.push(evictions::report(source.reporter.clone(), source.storage_type, &totals, now));
                }
                Err(error) => {
                    tracing::warn!(%error, reporter = %source.reporter, "cannot read what a store has evicted");
                }
            }
        }
        for (reporter, owners) in &self.owners {
            match self.step("an index of owners", owners.report(reporter.clone())).await {
                Ok(report) => reports.push(report),
                Err(error) => tracing::warn!(%error, %reporter, "cannot read the deletions of an index of owners"),
            }
        }
        reports
    }
}

impl Turn {
    /// Returns the part of `report` that was not acknowledged. The first report, the last, and one now and then have all.
    fn changes(&self, report: &Report) -> Report {
        if report.closed || report.seq % REPORT_ALL_EVERY == 1 {
            return report.clone();
        }
        let is_new = |(account, tally): &&(Account, Tally)| self.acknowledged.get(account) != Some(tally);
        let accounts = report.accounts.iter().filter(is_new).cloned().collect();
        Report::new(report.reporter.clone(), report.epoch, report.seq, report.taken_at, accounts)
    }
}

#[async_trait]
impl BackgroundWork for Reporting {
    fn name(&self) -> Cow<'static, str> {
        format!("the reports of {}", self.accounts.reporter()).into()
    }

    async fn run(&self) {
        self.run().await;
    }
}

impl Debug for Reporting {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reporting")
            .field("accounts", &self.accounts)
            .field("ledger", &self.ledger)
            .field("interval", &self.interval)
            .finish_non_exhaustive()
    }
}
