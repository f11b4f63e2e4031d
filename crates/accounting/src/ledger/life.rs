//! The lives of reporters, as a ledger knows them: which are over, which were retired, and what they have under way.

use std::time::{Duration, SystemTime};

use crate::{Account, Epoch, Reporter, Tally};

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
    /// The number of the latest report that was known when the life was [retired](super::Ledger::retire); 0 if it never was.
    pub retired_seq: u64,
}

impl Life {
    /// Makes a life that is not over.
    #[must_use]
    pub const fn new(reporter: Reporter, epoch: Epoch, seq: u64, taken_at: SystemTime) -> Self {
        Self { reporter, epoch, seq, taken_at, closed: false, retired_seq: 0 }
    }

    /// Sets whether the life is over.
    #[must_use]
    pub const fn with_closed(mut self, closed: bool) -> Self {
        self.closed = closed;
        self
    }

    /// Sets the number of the report as of which the life was retired.
    #[must_use]
    pub const fn with_retired_seq(mut self, retired_seq: u64) -> Self {
        self.retired_seq = retired_seq;
        self
    }

    /// Returns whether reports of this life are still awaited: it is neither over nor retired.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        !self.closed && !self.is_retired()
    }

    /// Returns whether the life was retired, and has not reported since.
    #[must_use]
    pub const fn is_retired(&self) -> bool {
        !self.closed && self.retired_seq > 0 && self.seq <= self.retired_seq
    }

    /// Returns whether the life has reported although it had been retired. Whoever retired it took a host for dead that was
    /// not.
    #[must_use]
    pub const fn has_returned(&self) -> bool {
        self.retired_seq > 0 && self.seq > self.retired_seq
    }
}

/// Says that a life has reported although it had been retired. It is once for each time that it was.
pub(crate) fn note_return(reporter: &Reporter, epoch: Epoch) {
    tracing::warn!(%reporter, %epoch, "a life that was retired has reported again: it counts, and is open again");
}

/// The uploads of one life and account that had begun and not ended by the latest report of the life.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct InFlight {
    /// The reporter.
    pub reporter: Reporter,
    /// The epoch of the life.
    pub epoch: Epoch,
    /// The account.
    pub account: Account,
    /// The number of uploads.
    pub objects: u64,
    /// Their logical size, in bytes.
    pub logical_bytes: u64,
}

impl InFlight {
    /// Makes the uploads of an account that are under way in a life.
    #[must_use]
    pub const fn new(reporter: Reporter, epoch: Epoch, account: Account, objects: u64, logical_bytes: u64) -> Self {
        Self { reporter, epoch, account, objects, logical_bytes }
    }

    /// Makes the uploads that `tally` says are under way; `None` if there are none.
    #[must_use]
    pub fn from_tally(reporter: &Reporter, epoch: Epoch, account: &Account, tally: &Tally) -> Option<Self> {
        let in_flight = tally.in_flight();
        let (objects, logical_bytes) = (in_flight.objects, in_flight.logical_bytes);
        (objects > 0).then(|| Self::new(reporter.clone(), epoch, account.clone(), objects, logical_bytes))
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
            lives.iter().filter(|life| life.is_open()).partition(|life| is_silent(life));
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

    #[test]
    fn nobody_waits_for_a_life_that_was_retired_until_it_reports_again() {
        let life = Life::new(Reporter::new("a"), Epoch::from_bytes([1; 16]), 7, SystemTime::UNIX_EPOCH);
        let shape = |life: &Life| (life.is_open(), life.is_retired(), life.has_returned());
        assert_eq!(shape(&life), (true, false, false));
        assert_eq!(shape(&life.clone().with_retired_seq(7)), (false, true, false));
        assert_eq!(shape(&life.clone().with_retired_seq(6)), (true, false, true));
        assert_eq!(shape(&life.clone().with_closed(true).with_retired_seq(6)), (false, false, true));
        let retired = [life.with_retired_seq(7)];
        let completeness = Completeness::from_lives(&retired, SystemTime::UNIX_EPOCH, Duration::ZERO);
        assert_eq!((completeness.exact_as_of, completeness.silent.len()), (None, 0));
    }
}
