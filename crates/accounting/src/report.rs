//! What a reporter has counted so far: cumulative, so that it may come twice, late and in any order.

use std::time::SystemTime;

use crate::{Account, Epoch, Reporter, Tally};

/// What a reporter has counted in one life of it, from its beginning.
///
/// A later report of the same epoch says all that an earlier one said, and more. So a ledger keeps the highest number
/// of each column, and then it does not matter how often a report comes, in which order, or whether one is lost that
/// another follows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Report {
    /// Who reports.
    pub reporter: Reporter,
    /// Which life of it.
    pub epoch: Epoch,
    /// The number of the report in its epoch, from 1. It only ever grows.
    pub seq: u64,
    /// When it was drawn up, by the clock of the reporter. It decides nothing; people want to know it.
    pub taken_at: SystemTime,
    /// Whether this life is over, so that nothing will follow.
    pub closed: bool,
    /// What was counted, by account.
    pub accounts: Vec<(Account, Tally)>,
}

impl Report {
    /// The report with this number, of what `reporter` counted in `epoch` until `taken_at`.
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

    /// The same, as the last of its epoch.
    #[must_use]
    pub const fn closing(mut self) -> Self {
        self.closed = true;
        self
    }
}

/// A time as files and databases have it: milliseconds since the beginning of 1970.
#[must_use]
pub fn unix_millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The time that is so many milliseconds since the beginning of 1970; the beginning, of what no time can be.
#[must_use]
pub fn of_unix_millis(millis: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH.checked_add(std::time::Duration::from_millis(millis)).unwrap_or(SystemTime::UNIX_EPOCH)
}
