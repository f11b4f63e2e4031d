//! A report: everything that a reporter has counted so far, so that it may arrive twice, late and in any order.

use std::time::SystemTime;

use crate::{Account, Epoch, Reporter, Tally};

/// Everything that a reporter has counted in one life, from its beginning.
///
/// A later report of the same epoch repeats all that an earlier one said, and adds to it. So a ledger keeps the highest
/// number of each column. Then reports may arrive repeatedly and in any order, and one may be lost if another follows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Report {
    /// The reporter.
    pub reporter: Reporter,
    /// The life of the reporter.
    pub epoch: Epoch,
    /// The number of the report in its epoch, from 1. It only grows.
    pub seq: u64,
    /// The time of the report by the clock of the reporter. It is for people, and decides nothing.
    pub taken_at: SystemTime,
    /// Whether this life is over, so that no report follows.
    pub closed: bool,
    /// The tallies, by account.
    pub accounts: Vec<(Account, Tally)>,
}

impl Report {
    /// Makes the report with this number, of everything that `reporter` counted in `epoch` until `taken_at`.
    #[must_use]
    pub const fn new(
        reporter: Reporter,
        epoch: Epoch,
        seq: u64,
        taken_at: SystemTime,
        accounts: Vec<(Account, Tally)>,
    ) -> Self {
        Self { reporter, epoch, seq, taken_at, closed: false, accounts }
    }

    /// Makes this the last report of its epoch.
    #[must_use]
    pub const fn closing(mut self) -> Self {
        self.closed = true;
        self
    }
}

/// Returns a time as files and databases have it: milliseconds since the Unix epoch, and 0 for earlier times.
#[must_use]
pub fn unix_millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the time `millis` milliseconds after the Unix epoch; the epoch if that is out of range.
#[must_use]
pub fn from_unix_millis(millis: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH.checked_add(std::time::Duration::from_millis(millis)).unwrap_or(SystemTime::UNIX_EPOCH)
}
