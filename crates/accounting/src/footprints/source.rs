//! The source of footprints: rows of operations, each with the time at which it arrived.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use blobaccess::Result;

use super::IngestionTime;

/// A source of rows that say what was added to which namespace.
///
/// # Contract
///
/// * **By key.** A row that is there several times, because a batch was sent again, counts once, with the earliest of its
///   times.
/// * **Half open.** A sum has the rows after one time, up to and including another. So sums over adjoining spans add up to
///   the sum over both.
/// * **Append only.** Rows come and are never changed. Rows that are deleted after they were counted stay counted.
///
/// # Cancel safety
///
/// A source only reads, so any call may be dropped.
#[async_trait]
pub trait RowSource: Debug + Send + Sync + 'static {
    /// Returns the time up to which all rows are there, by the source's own clock, if each is visible `lag` after it
    /// arrived: as a rule [`IngestionTime::settled`].
    ///
    /// # Errors
    ///
    /// `Unavailable` if the source cannot be reached.
    async fn watermark(&self, lag: Duration) -> Result<IngestionTime>;

    /// Returns the sums of the rows that arrived after `after`, until `until`, by namespace. A namespace without rows may be
    /// left out.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the source cannot be reached; `DataLoss` if it has rows that make no sense.
    async fn sum(
        &self,
        namespaces: &[String],
        after: IngestionTime,
        until: IngestionTime,
    ) -> Result<BTreeMap<String, RowSum>>;

    /// Returns whether the source keeps totals in place of rows: each sum is then that of everything so far, whatever the
    /// times. It is `false` by default.
    ///
    /// Such a source needs no lag. It needs a table that [keeps counts](super::FootprintTable::keeps_counts).
    fn is_cumulative(&self) -> bool {
        false
    }
}

/// The sum of the rows of one namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct RowSum {
    /// The number of rows.
    pub rows: u64,
    /// The bytes that they add. They are negative if more was deleted, or shrank.
    pub bytes: i128,
}

impl RowSum {
    /// Makes the sum of `rows` rows.
    #[must_use]
    pub const fn new(rows: u64, bytes: i128) -> Self {
        Self { rows, bytes }
    }
}
