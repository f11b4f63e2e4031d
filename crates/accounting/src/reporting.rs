//! Reporting: sends the counts to a ledger until they are acknowledged.

mod batches;
mod jitter;

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
use crate::accounts::{Accounts, lock_dead};
use crate::delta::{DeltaSink, Deltas};
use crate::evictions;
use crate::journal::{Dead, Journal};
use crate::ledger::Ledger;
use crate::{Account, Class, Report, Reporter, Tally};

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
/// journal that cannot be written, a store that cannot tell its evictions, a ledger. The rest is reported. Lost uploads are
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
    ledger: Arc<dyn Ledger>,
    interval: Duration,
    step_timeout: Duration,
    resolving_budget: Duration,
    evictions: Vec<Source>,
    deltas: Option<Arc<dyn DeltaSink>>,
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
    deltas: Deltas,
    /// The counts that the ledger has acknowledged.
    acknowledged: BTreeMap<Account, Tally>,
}

/// The number of reports that were acknowledged, and of those that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReportingSnapshot {
    /// The number of reports that were acknowledged.
    pub completed: u64,
    /// The number of reports that could not be sent. Later reports contain them.
    pub failed_to_send: u64,
    /// The number of the latest report that was acknowledged; 0 if none was.
    pub acknowledged_seq: u64,
}

impl Reporting {
    /// Reports the counts of `accounts` to `ledger`, every minute.
    #[must_use]
    pub fn new(accounts: Arc<Accounts>, ledger: Arc<dyn Ledger>) -> Self {
        let opened_at = accounts.clock().monotonic();
        accounts.watch().expect_report(opened_at, Duration::ZERO);
        Self {
            accounts,
            ledger,
            interval: Duration::from_mins(1),
            step_timeout: Duration::from_secs(30),
            resolving_budget: Duration::from_secs(10),
            evictions: Vec::new(),
            deltas: None,
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

    /// Sets the time after which a step of a report fails: 30 s by default. A step is a batch of the report, a sync of a
    /// journal, the totals of the ledger, the evictions of a store.
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

    /// Writes, in addition, the difference between two reports to `sink`, as rows for consumers that add rows up.
    #[must_use]
    pub fn with_delta_rows(mut self, sink: Arc<dyn DeltaSink>) -> Self {
        self.deltas = Some(sink);
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
                tracing::warn!(%error, reporter = %self.accounts.reporter(), "cannot report to the ledger");
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

    /// Reports for the last time in this life, deletes the journal once that is acknowledged, and returns whether the life
    /// was closed. Nothing may be counted afterwards.
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

    /// Reports, and returns whether that was the last report of this life.
    async fn report(&self, closing: bool) -> Result<bool> {
        let mut turn = self.turn.lock().await;
        if turn.closed {
            return Ok(true);
        }
        let result = self.try_report(&mut turn, closing).await;
        match &result {
            Ok(_) => self.completed.fetch_add(1, Ordering::Relaxed),
            Err(_) => self.failed_to_send.fetch_add(1, Ordering::Relaxed),
        };
        self.accounts.watch().expect_report(self.accounts.clock().monotonic(), self.interval);
        self.accounts.observer().reported(result.as_ref().map(|_| ()));
        result
    }

    async fn try_report(&self, turn: &mut Turn, closing: bool) -> Result<bool> {
        let mut parts = Parts::default();
        self.resolve(closing).await;
        let dead = self.synced_dead(&mut parts).await;

        turn.seq += 1;
        let mut report = self.accounts.report(turn.seq);
        let idle = report.accounts.iter().all(|(_, tally)| tally.in_flight().objects == 0);
        let last = closing && idle;
        if last {
            report = report.closing();
        }
        // Everything reported must be in the journal, whatever happens to the machine.
        let synced = self.accounts.journal().is_none() || {
            let accounts = Arc::clone(&self.accounts);
            let sync = blocking(move || accounts.journal().map_or(Ok(()), Journal::sync));
            parts.note(self.step("the journal", sync).await).is_some()
        };
        let is_sent = synced || self.accounts.reports_without_journal();

        let now = self.accounts.clock().now();
        let mut reports = Vec::new();
        if is_sent {
            reports.push((Origin::Own, turn.changes(&report)));
        }
        reports.extend(dead.iter().enumerate().map(|(index, life)| (Origin::Dead(index), lock_dead(life).report(now))));
        reports.extend(self.evicted().await.into_iter().map(|report| (Origin::Evictions, report)));
        let unsent = self.send(batches(reports), &mut parts).await;

        let reported = dead.iter().enumerate().filter(|(index, _)| !unsent.contains(&Origin::Dead(*index)));
        for (_, life) in reported {
            parts.note(self.remove_dead(life));
        }
        let acknowledged = is_sent && !unsent.contains(&Origin::Own);
        if acknowledged {
            self.acknowledge(turn, &report);
            parts.note(self.after(turn, &report).await);
        }
        if last && acknowledged {
            turn.closed = true;
            if let Some(journal) = self.accounts.journal() {
                parts.note(journal.remove_if_idle());
            }
        }
        parts.first_error.map_or(Ok(turn.closed), Err)
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
            if parts.note(self.step("the journal of an earlier life", sync).await).is_some() {
                synced.push(life);
            }
        }
        synced
    }

    /// Deletes the journal of an earlier life whose last report was acknowledged.
    fn remove_dead(&self, life: &DeadLife) -> Result<()> {
        let is_over = lock_dead(life).state.intents().is_empty();
        if is_over {
            // If that fails, the life is reported again, which changes nothing, and its journal is then deleted.
            lock_dead(life).remove()?;
            self.accounts.forget_dead(life);
        }
        Ok(())
    }

    /// Sends reports, and returns the origins of those that were not acknowledged.
    async fn send(&self, batches: Vec<Batch>, parts: &mut Parts) -> Vec<Origin> {
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
                let result = self.step("the ledger", self.ledger.apply(&reports)).await;
                // A ledger that is away is not waited for again.
                is_down = result
                    .as_ref()
                    .is_err_and(|error| [ErrorKind::Unavailable, ErrorKind::DeadlineExceeded].contains(&error.kind()));
                parts.note(result).is_some()
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

    /// Writes the delta rows and updates the quotas, after a report was acknowledged.
    async fn after(&self, turn: &mut Turn, report: &Report) -> Result<()> {
        let delivered = match &self.deltas {
            Some(sink) => self.step("the sink of rows", turn.deltas.deliver(sink.as_ref(), report)).await,
            None => Ok(()),
        };
        let rebased = self.rebase_quotas(report).await;
        delivered.and(rebased)
    }

    async fn rebase_quotas(&self, report: &Report) -> Result<()> {
        let quotas = self.accounts.quotas();
        if quotas.is_empty() {
            return Ok(());
        }
        let names = quotas.names();
        let mut totals = Vec::new();
        if names.len() <= QUOTAS_ASKED_SINGLY {
            for name in &names {
                totals.extend(self.step("the totals of an account", self.ledger.totals(Some(name))).await?);
            }
        } else {
            totals = self.step("the totals of the ledger", self.ledger.totals(None)).await?;
        }
        quotas.rebase(&totals, report);
        Ok(())
    }

    /// Makes reports of the blobs that stores evicted. A store that cannot be asked now is asked next time: its totals
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
        reports
    }
}

/// The parts of a report, each of which may fail.
#[derive(Debug, Default)]
struct Parts {
    first_error: Option<Error>,
}

impl Parts {
    /// Notes the end of a part, and returns its result if it did not fail.
    fn note<T>(&mut self, result: Result<T>) -> Option<T> {
        match result {
            Ok(done) => Some(done),
            Err(error) => {
                if self.first_error.is_some() {
                    tracing::debug!(%error, "another part of a report failed");
                } else {
                    self.first_error = Some(error);
                }
                None
            }
        }
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
