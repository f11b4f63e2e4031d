//! Where reports come together: what was uploaded, by all reporters and all their lives.

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
pub use self::redb::RedbLedger;
pub use self::statement::{Movement, Statement};

use crate::{Account, Epoch, Report, Reporter, Tally};

/// Keeps what was reported, and adds it up.
///
/// # Contract
///
/// * **Idempotent and commutative.** Reports may come any number of times, in any order, at any time: once a ledger has
///   seen the same reports, it says the same.
/// * **Acknowledged is kept.** What [`apply`](Self::apply) returned for outlives a crash of the ledger, if it outlives
///   anything at all.
/// * **All or nothing** of one report is applied.
///
/// The module `conformance` (feature `conformance`) holds a ledger to it.
#[async_trait]
pub trait Ledger: Debug + Send + Sync + 'static {
    /// Takes up reports. To return is to acknowledge all of them.
    ///
    /// # Errors
    ///
    /// If not all could be kept. They may be sent again, whatever became of them.
    async fn apply(&self, reports: &[Report]) -> Result<()>;

    /// Takes up adjustments, each once: another one with the scan and the account of an earlier one is passed over.
    ///
    /// # Errors
    ///
    /// If not all could be kept. They may be sent again.
    async fn adjust(&self, adjustments: &[Adjustment]) -> Result<()>;

    /// What all reports add up to, by account and in their order; of `account_name` only, if one is given.
    ///
    /// # Errors
    ///
    /// If the ledger cannot be read now.
    async fn totals(&self, account_name: Option<&AccountName>) -> Result<Vec<Total>>;

    /// Every life of every reporter, and what was last heard of it.
    ///
    /// # Errors
    ///
    /// If the ledger cannot be read now.
    async fn lives(&self) -> Result<Vec<Life>>;

    /// Every adjustment that was made, for those who audit.
    ///
    /// # Errors
    ///
    /// If the ledger cannot be read now.
    async fn adjustments(&self) -> Result<Vec<Adjustment>>;
}

/// A [`Ledger`] that keeps statements: what each account has had, and for how long.
#[async_trait]
pub trait Accumulator: Ledger {
    /// Adds to the statements what was reported since this was last called, as of `now`, and says what that was.
    ///
    /// How far it has come is kept for each life and account, and is moved on in the same transaction, under a lock: to
    /// call it twice, or from two places at once, counts nothing twice. No time takes part in that, so nothing that is
    /// reported late is ever passed over.
    ///
    /// # Errors
    ///
    /// If the ledger cannot be changed now. Nothing has been moved on then.
    async fn consume(&self, now: SystemTime) -> Result<Vec<Movement>>;

    /// The statements, by account and in their order.
    ///
    /// # Errors
    ///
    /// If the ledger cannot be read now.
    async fn statements(&self) -> Result<Vec<Statement>>;
}

/// What all reports add up to, of one account.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Total {
    /// Whose it is.
    pub account: Account,
    /// What was counted, by all reporters.
    pub tally: Tally,
    /// What scans have corrected it by, in bytes as stored.
    pub adjusted_bytes: i64,
}

impl Total {
    /// What was counted and corrected of `account`.
    #[must_use]
    pub const fn new(account: Account, tally: Tally, adjusted_bytes: i64) -> Self {
        Self { account, tally, adjusted_bytes }
    }

    /// What the account has in the store, in bytes: created, and what values grew by that were replaced, less what was
    /// deleted, and as corrected.
    #[must_use]
    pub fn footprint_bytes(&self) -> i128 {
        self.tally.net_bytes() + i128::from(self.adjusted_bytes)
    }
}

/// One life of a reporter, and what was last heard of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Life {
    /// Who reports.
    pub reporter: Reporter,
    /// Which life of it.
    pub epoch: Epoch,
    /// The number of its latest report.
    pub seq: u64,
    /// When that was drawn up, by the clock of the reporter.
    pub taken_at: SystemTime,
    /// Whether it is over, and all of it was reported.
    pub closed: bool,
}

impl Life {
    /// What was last heard of a life that is not over.
    #[must_use]
    pub const fn new(reporter: Reporter, epoch: Epoch, seq: u64, taken_at: SystemTime) -> Self {
        Self { reporter, epoch, seq, taken_at, closed: false }
    }

    /// The same life; over, or not.
    #[must_use]
    pub const fn with_closed(mut self, closed: bool) -> Self {
        self.closed = closed;
        self
    }
}

/// A correction of an account, after a scan has shown that what was counted cannot be right.
///
/// Nothing that was reported is ever overwritten: a correction is a row of its own, with the proof that led to it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Adjustment {
    /// Which scan showed it. With the account, it tells this adjustment from all others.
    pub scan_id: String,
    /// Whose account is corrected.
    pub account: Account,
    /// What is added to it, in bytes as stored.
    pub delta_bytes: i64,
    /// The lowest that the drift can have been, in bytes.
    pub drift_low_bytes: i64,
    /// The highest that the drift can have been, in bytes.
    pub drift_high_bytes: i64,
    /// When it was made.
    pub made_at: SystemTime,
}

impl Adjustment {
    /// A correction of `account` by `delta_bytes`, for a drift between `low` and `high`, which the scan showed.
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

/// Until when a ledger is complete.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Completeness {
    /// Everything that was counted until then has been reported, by all reporters that are not silent. `None` if no
    /// life is open, so that nothing is outstanding at all.
    pub exact_as_of: Option<SystemTime>,
    /// Lives that are not over and have not been heard of for too long: what they counted since is missing, until
    /// they are, or their journal is read by the life that follows.
    pub silent: Vec<Life>,
}

impl Completeness {
    /// Until when a ledger with these `lives` is complete at `now`, if a reporter that was not heard of for
    /// `silent_after` counts as silent.
    #[must_use]
    pub fn of(lives: &[Life], now: SystemTime, silent_after: Duration) -> Self {
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
        let completeness = Completeness::of(&lives, at(1001), Duration::from_mins(5));
        assert_eq!(completeness.exact_as_of, Some(at(960)));
        assert_eq!(completeness.silent, [life("gone", 100)]);
        assert_eq!(Completeness::of(&lives[3..], at(1001), Duration::ZERO).exact_as_of, None);
    }
}
