//! The result of a run of an accumulator.

use std::fmt::{self, Display, Formatter};

use blobaccess::Error;

use super::IngestionTime;

/// The result of one run of a [`FootprintAccumulator`](super::FootprintAccumulator).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct AccumulatorRun {
    /// The number of active rows that were looked at.
    pub rows: u64,
    /// The number of rows whose mark was advanced, or whose footprint was changed.
    pub advanced: u64,
    /// The number of rows that another run has changed first. They lose nothing.
    pub overtaken: u64,
    /// The number of rows that failed. They are tried again by the next run.
    pub failed: u64,
    /// The bytes that were added to footprints.
    pub bytes_added: i128,
    /// The number of rows of the source that came below a cursor, and were found by counting again.
    pub late_rows: u64,
    /// The number of rows of the source that were counted before and are no longer there. They stay counted.
    pub vanished_rows: u64,
    /// The number of rows whose cursor is ahead of the source by more than the lag: its clock went back. They wait until it has
    /// caught up, while late rows are counted.
    pub ahead_of_source: u64,
    /// The latest time until which rows of the source were counted.
    pub until: Option<IngestionTime>,
    /// The first [100](Self::MAX_FAILURES) failures.
    pub failures: Vec<FootprintFailure>,
}

/// A failure of one row, or of a shard whose rows could not be read.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FootprintFailure {
    /// The row or shard.
    pub name: String,
    /// The error.
    pub error: Error,
}

impl AccumulatorRun {
    /// The number of failures that are kept.
    pub const MAX_FAILURES: usize = 100;

    /// Returns whether nothing failed.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.failures.is_empty()
    }

    pub(super) fn note_failure(&mut self, name: impl Into<String>, error: Error) {
        if self.failures.len() < Self::MAX_FAILURES {
            self.failures.push(FootprintFailure { name: name.into(), error });
        }
    }
}

impl Display for AccumulatorRun {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { rows, advanced, overtaken, failed, bytes_added, late_rows, .. } = self;
        write!(f, "{rows} rows, {advanced} advanced by {bytes_added} bytes")?;
        for (number, what) in [
            (*overtaken, "advanced by another run"),
            (*failed, "failed"),
            (*late_rows, "late rows of the source added"),
            (self.vanished_rows, "rows of the source vanished"),
            (self.ahead_of_source, "ahead of the source's clock"),
        ] {
            if number > 0 {
                write!(f, ", {number} {what}")?;
            }
        }
        match self.failures.first() {
            Some(failure) => write!(f, "; {}: {}", failure.name, failure.error),
            None => Ok(()),
        }
    }
}

/// The sums of all runs of an accumulator since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AccumulatorSnapshot {
    /// The number of runs that have ended.
    pub runs: u64,
    /// The number of those in which something failed.
    pub incomplete_runs: u64,
    /// The number of rows that were advanced.
    pub advanced: u64,
    /// The number of rows that another run has changed first.
    pub overtaken: u64,
    /// The number of rows that failed.
    pub failed: u64,
    /// The bytes that were added to footprints.
    pub bytes_added: i128,
    /// The number of rows of the source that came below a cursor, and were added. If it grows, the lag is too short, or the
    /// clock of the source goes back.
    pub late_rows: u64,
    /// The number of rows of the source that were counted and are no longer there.
    pub vanished_rows: u64,
    /// The number of rows whose cursor was ahead of the source by more than the lag. If it grows, its clock went back.
    pub ahead_of_source: u64,
    /// The latest time until which rows of the source were counted.
    pub until: Option<IngestionTime>,
}

impl AccumulatorSnapshot {
    pub(super) fn add(&mut self, run: &AccumulatorRun) {
        self.runs = self.runs.saturating_add(1);
        self.incomplete_runs = self.incomplete_runs.saturating_add(u64::from(!run.is_complete()));
        self.advanced = self.advanced.saturating_add(run.advanced);
        self.overtaken = self.overtaken.saturating_add(run.overtaken);
        self.failed = self.failed.saturating_add(run.failed);
        self.bytes_added = self.bytes_added.saturating_add(run.bytes_added);
        self.late_rows = self.late_rows.saturating_add(run.late_rows);
        self.vanished_rows = self.vanished_rows.saturating_add(run.vanished_rows);
        self.ahead_of_source = self.ahead_of_source.saturating_add(run.ahead_of_source);
        self.until = self.until.max(run.until);
    }
}
