//! Ledgers: they keep the reports of all reporters and all their lives.

mod book;
pub(crate) mod codec;
mod life;
mod memory;
pub(crate) mod redb;
mod statement;

use std::fmt::Debug;
use std::time::SystemTime;

use async_trait::async_trait;
use blobaccess::{AccountName, Result};

pub(crate) use self::book::Book;
pub use self::life::{Completeness, InFlight, Life};
pub use self::memory::MemoryLedger;
pub(crate) use self::redb::{Definition, Fault, LedgerFile};
pub use self::redb::{RedbLedger, RedbOptions};
pub use self::statement::{Correction, Movement, Statement};

use crate::{Account, Report, Tally};

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

    /// Retires `lives`, as of the reports that they have here: their reporters died without a last report, and nobody waits
    /// for them any more ([`Life::is_retired`]). Their counts stay. A life that is over, or not known, stays as it is.
    ///
    /// A retired life that reports again was not dead: what it reports counts, and it is open again
    /// ([`Life::has_returned`]). So nothing is lost if a host was only cut off.
    ///
    /// # Errors
    ///
    /// Fails if not all could be retired. They may be retired again.
    async fn retire(&self, lives: &[Life]) -> Result<()>;

    /// Returns the uploads under way, by life and account, of every life that is not over, as of its latest report.
    /// Accounts without any are left out.
    ///
    /// # Errors
    ///
    /// Fails if the ledger cannot be read now.
    async fn in_flight(&self) -> Result<Vec<InFlight>>;

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

    /// Corrects the integrals of statements, each once: a correction with the name and the account of an earlier one is
    /// ignored. Statements are read with their corrections.
    ///
    /// # Errors
    ///
    /// Fails if not all could be kept. They may be sent again.
    async fn correct(&self, corrections: &[Correction]) -> Result<()>;

    /// Returns every correction, for audits.
    ///
    /// # Errors
    ///
    /// Fails if the ledger cannot be read now.
    async fn corrections(&self) -> Result<Vec<Correction>>;

    /// Takes back what statements were billed beyond `to`, as [`Statement::rewind`] does: after calls of
    /// [`consume`](Self::consume) by a clock that was ahead. What moved meanwhile stays moved, and counts from the time of the
    /// statement on. If footprints changed since `to`, a [correction](Self::correct) makes up for the rest.
    ///
    /// # Errors
    ///
    /// Fails if the ledger cannot be changed now. No statement has changed then.
    async fn rewind(&self, to: SystemTime) -> Result<()>;
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
