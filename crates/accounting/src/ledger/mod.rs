//! Ledgers: they keep the reports of all reporters and all their lives.

mod book;
pub(crate) mod codec;
mod memory;
mod redb;
mod statement;

use std::fmt::Debug;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use blobaccess::{AccountName, Result};

pub(crate) use self::book::Book;
pub use self::memory::MemoryLedger;
pub use self::redb::{RedbLedger, RedbOptions};
pub use self::statement::{Movement, Statement};

use crate::{Account, Epoch, Report, Reporter, Tally};

/// A store of reports, which adds them up.
///
/// # Contract
///
/// * **Idempotent and commutative.** Reports may arrive any number of times, in any order, at any time. Ledgers that have
///   seen the same reports have the same totals.
/// * **Durable.** A report that [`apply`](Self::apply) acknowledged outlives a crash of the ledger, if the ledger outlives
///   crashes at all.
/// * **Atomic.** A report is applied as a whole, or not at all.
///
/// The module `conformance` (feature `conformance`) tests a ledger against this contract.
#[async_trait]
pub trait Ledger: Debug + Send + Sync + 'static {
    /// Applies reports. Returning acknowledges all of them.
    ///
    /// # Errors
    ///
    /// Fails if not all could be kept. They may be sent again, whether they were kept or not.
    async fn apply(&self, reports: &[Report]) -> Result<()>;

    /// Applies adjustments, each once: an adjustment with the scan and the account of an earlier one is ignored.
    ///
    /// # Errors
    ///
    /// Fails if not all could be kept. They may be sent again.
    async fn adjust(&self, adjustments: &[Adjustment]) -> Result<()>;

    /// Returns the sums of all reports, by account and in their order; only for `account_name`, if one is given.
    ///
    /// # Errors
    ///
    /// Fails if the ledger cannot be read now.
    async fn totals(&self, account_name: Option<&AccountName>) -> Result<Vec<Total>>;

    /// Returns every life of every reporter, with its latest report.
    ///
    /// # Errors
    ///
    /// Fails if the ledger cannot be read now.
    async fn lives(&self) -> Result<Vec<Life>>;

    /// Returns every adjustment, for audits.
    ///
    /// # Errors
    ///
    /// Fails if the ledger cannot be read now.
    async fn adjustments(&self) -> Result<Vec<Adjustment>>;
}

/// A [`Ledger`] that keeps statements: the footprint of each account over time.
#[async_trait]
pub trait Accumulator: Ledger {
    /// Adds everything that was reported since the previous call to the statements, as of `now`, and returns it.
    ///
    /// A cursor for each life and account moves in the same transaction, under a lock. So nothing counts twice, whether
    /// calls follow one another or run concurrently. The cursor is not a time, so late reports are never skipped.
    ///
    /// Statements advance by a day at most ([`Statement::next_time`]), and never back.
    ///
    /// # Errors
    ///
    /// Fails if the ledger cannot be changed now. No cursor has moved then.
    async fn consume(&self, now: SystemTime) -> Result<Vec<Movement>>;

    /// Returns the statements, by account and in their order.
    ///
    /// # Errors
    ///
    /// Fails if the ledger cannot be read now.
    async fn statements(&self) -> Result<Vec<Statement>>;
}

/// The sums of all reports for one account.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Total {
    /// The account.
    pub account: Account,
    /// The counts of all reporters.
    pub tally: Tally,
    /// The sum of the adjustments, in bytes as stored.
    pub adjusted_bytes: i64,
}

impl Total {
    /// Makes the total of `account`.
    #[must_use]
    pub const fn new(account: Account, tally: Tally, adjusted_bytes: i64) -> Self {
        Self { account, tally, adjusted_bytes }
    }

    /// Returns the bytes that the account has in the store: created, plus the growth of replaced values, minus deleted, plus
    /// adjustments.
    #[must_use]
    pub fn footprint_bytes(&self) -> i128 {
        self.tally.net_bytes() + i128::from(self.adjusted_bytes)
    }
}

/// One life of a reporter, and its latest report.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Life {
    /// The reporter.
    pub reporter: Reporter,
    /// The epoch of the life.
    pub epoch: Epoch,
    /// The number of the latest report.
    pub seq: u64,
    /// The time of that report, by the clock of the reporter.
    pub taken_at: SystemTime,
    /// Whether the life is over, and completely reported.
    pub closed: bool,
}

impl Life {
    /// Makes a life that is not over.
    #[must_use]
    pub const fn new(reporter: Reporter, epoch: Epoch, seq: u64, taken_at: SystemTime) -> Self {
        Self { reporter, epoch, seq, taken_at, closed: false }
    }

    /// Sets whether the life is over.
    #[must_use]
    pub const fn with_closed(mut self, closed: bool) -> Self {
        self.closed = closed;
        self
    }
}

/// A correction of an account, after a scan has shown that the counts cannot be right.
///
/// Reports are never overwritten: a correction is a row of its own, with its proof.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Adjustment {
    /// The scan that showed the drift. With the account, it identifies the adjustment.
    pub scan_id: String,
    /// The account that is corrected.
    pub account: Account,
    /// The bytes that are added to it, as stored.
    pub delta_bytes: i64,
    /// The lowest possible drift, in bytes.
    pub drift_low_bytes: i64,
    /// The highest possible drift, in bytes.
    pub drift_high_bytes: i64,
    /// The time of the correction.
    pub made_at: SystemTime,
}

impl Adjustment {
    /// Makes a correction of `account` by `delta_bytes`, for a drift between `low` and `high`.
    #[must_use]
    pub fn new(
        scan_id: impl Into<String>,
        account: Account,
        delta_bytes: i64,
        (low, high): (i64, i64),
        made_at: SystemTime,
    ) -> Self {
        Self { scan_id: scan_id.into(), account, delta_bytes, drift_low_bytes: low, drift_high_bytes: high, made_at }
    }
}

/// The time until which a ledger is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Completeness {
    /// The time until which all reporters that are not silent have reported everything. `None` if no life is open, so that
    /// nothing is outstanding.
    pub exact_as_of: Option<SystemTime>,
    /// The lives that are not over and have not reported for too long. Their later counts are missing until they report
    /// again, or until the next life reads their journal.
    pub silent: Vec<Life>,
}

impl Completeness {
    /// Computes the time until which a ledger with these `lives` is complete at `now`. A reporter without a report for
    /// `silent_after` counts as silent.
    #[must_use]
    pub fn from_lives(lives: &[Life], now: SystemTime, silent_after: Duration) -> Self {
        let is_silent = |life: &Life| now.duration_since(life.taken_at).is_ok_and(|since| since > silent_after);
        let (silent, heard): (Vec<_>, Vec<_>) =
            lives.iter().filter(|life| !life.closed).partition(|life| is_silent(life));
        Self {
            exact_as_of: heard.iter().map(|life| life.taken_at).min(),
            silent: silent.into_iter().cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_is_exact_as_of_the_latest_report_of_its_slowest_reporter() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let life = |name: &str, seconds| Life::new(Reporter::new(name), Epoch::from_bytes([1; 16]), 1, at(seconds));
        let lives = [life("a", 1000), life("b", 960), life("gone", 100), life("over", 5).with_closed(true)];
        let completeness = Completeness::from_lives(&lives, at(1001), Duration::from_mins(5));
        assert_eq!(completeness.exact_as_of, Some(at(960)));
        assert_eq!(completeness.silent, [life("gone", 100)]);
        assert_eq!(Completeness::from_lives(&lives[3..], at(1001), Duration::ZERO).exact_as_of, None);
    }
}
