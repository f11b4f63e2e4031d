//! Reporting: sends the counts to a ledger until they are acknowledged.

use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use blobaccess::{Context, Error, Evictions, Result, StorageType, blocking};
use tokio::sync::Mutex;

use crate::accounts::Accounts;
use crate::delta::{DeltaSink, Deltas};
use crate::evictions;
use crate::journal::{Dead, Journal};
use crate::ledger::Ledger;
use crate::{Report, Reporter};

/// Sends the counts of [`Accounts`] to a [`Ledger`] until they are acknowledged.
///
/// Reports are cumulative, so a failed report need not be kept: the next one contains it. The reports of earlier lives
/// that ended in a crash are sent too, until they are acknowledged; then their journals are deleted.
///
/// Nothing happens by itself: spawn [`run`](Self::run), or call [`flush`](Self::flush).
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
        Self {
            accounts,
            ledger,
            interval: Duration::from_mins(1),
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

    /// Reports at each interval, for as long as the future is polled. Failures are logged, counted, and tried again.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any time. Counts that were not acknowledged are in the next report of this life or,
    /// with a journal, of another.
    pub async fn run(&self) {
        loop {
            // No time of the clock, if the interval is that long: then one report is all.
            let next = self.accounts.clock().monotonic().checked_add(self.interval);
            if let Err(error) = self.flush().await {
                tracing::warn!(%error, reporter = %self.accounts.reporter(), "cannot report to the ledger");
            }
            match next {
                Some(next) => self.accounts.clock().sleep_until(next).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Asks the store about uploads whose answer was lost, and reports once.
    ///
    /// # Errors
    ///
    /// Fails if the ledger did not acknowledge. The counts stay, and are in the next report.
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
    /// journal, uploads whose answer was lost end as ambiguous errors.
    ///
    /// # Errors
    ///
    /// As [`flush`](Self::flush). Without a journal, counts that were not acknowledged are lost unless this is called
    /// again.
    pub async fn close(&self) -> Result<bool> {
        self.accounts.resolve().await;
        if self.accounts.journal().is_none() {
            self.accounts.give_up_unresolved();
        }
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
        self.accounts.observer().reported(result.as_ref().map(|_| ()));
        result
    }

    async fn try_report(&self, turn: &mut Turn, closing: bool) -> Result<bool> {
        self.accounts.resolve().await;
        let mut dead = TakenDead::take(&self.accounts);
        let open_for = self.accounts.clock().monotonic().saturating_duration_since(self.opened_at);
        let settled = open_for >= self.accounts.settle_after();
        for life in &mut dead.lives {
            self.accounts.resolve_dead(life, settled).await?;
            life.sync()?;
        }
        turn.seq += 1;
        let mut report = self.accounts.report(turn.seq);
        let idle = report.accounts.iter().all(|(_, tally)| tally.in_flight().objects == 0);
        let last = closing && idle;
        if last {
            report = report.closing();
        }
        // Everything reported must be in the journal, whatever happens to the machine.
        let accounts = Arc::clone(&self.accounts);
        blocking(move || accounts.journal().map_or(Ok(()), Journal::sync)).await?;
        let mut reports = vec![report.clone()];
        let now = self.accounts.clock().now();
        reports.extend(dead.lives.iter().map(|life| life.report(now)));
        reports.extend(self.evicted().await);
        self.ledger.apply(&reports).await?;
        self.acknowledged_seq.store(turn.seq, Ordering::Relaxed);
        dead.remove_reported()?;
        self.after(turn, &report).await?;
        if last {
            turn.closed = true;
            if let Some(journal) = self.accounts.journal() {
                journal.remove_if_idle()?;
            }
        }
        Ok(last)
    }

    /// Writes the delta rows and updates the quotas, after a report was acknowledged.
    async fn after(&self, turn: &mut Turn, report: &Report) -> Result<()> {
        if let Some(sink) = &self.deltas {
            turn.deltas.deliver(sink.as_ref(), report).await?;
        }
        if !self.accounts.quotas().is_empty() {
            let totals = self.ledger.totals(None).await?;
            self.accounts.quotas().rebase(&totals, report);
        }
        Ok(())
    }

    /// Makes reports of the blobs that stores evicted. A store that cannot be asked now is asked next time: its totals
    /// cover its whole life.
    async fn evicted(&self) -> Vec<Report> {
        let mut reports = Vec::new();
        for source in &self.evictions {
            match source.evictions.evicted(&Context::background()).await {
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

/// Earlier lives, which go back to their accounts unless their last report was acknowledged.
struct TakenDead<'a> {
    accounts: &'a Accounts,
    lives: Vec<Dead>,
}

impl<'a> TakenDead<'a> {
    fn take(accounts: &'a Accounts) -> Self {
        Self { accounts, lives: accounts.take_dead() }
    }

    /// Deletes the journals of the lives whose last report the ledger has acknowledged.
    fn remove_reported(&mut self) -> Result<(), Error> {
        let (reported, open): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.lives).into_iter().partition(|life| life.state.intents().is_empty());
        self.lives = open;
        let mut result = Ok(());
        for life in reported {
            if let Err(error) = life.remove() {
                // The life is reported again, which changes nothing, and its journal is then deleted.
                self.lives.push(life);
                result = Err(error);
            }
        }
        result
    }
}

impl Drop for TakenDead<'_> {
    fn drop(&mut self) {
        self.accounts.put_back(std::mem::take(&mut self.lives));
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
