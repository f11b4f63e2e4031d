//! The settings of rows.

use std::time::Duration;

/// The settings of rows: the size of batches, and their age.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowsOptions {
    pub(crate) max_batch_rows: usize,
    pub(crate) min_age: Duration,
}

impl Default for RowsOptions {
    fn default() -> Self {
        Self { max_batch_rows: 10_000, min_age: Duration::ZERO }
    }
}

impl RowsOptions {
    /// Sets the number of rows in one batch: 10,000 by default. The rows of an account, at most sixteen, are never parted. Each
    /// row of a batch that is under way takes some 100 bytes, and the journal as many.
    #[must_use]
    pub const fn with_max_batch_rows(mut self, max_batch_rows: usize) -> Self {
        self.max_batch_rows = max_batch_rows;
        self
    }

    /// Sets the time between two batches, unless more rows are waiting than one may have: none by default, so that each
    /// report makes a batch, which is every minute. Sites that report more often than they want inserts set it.
    #[must_use]
    pub const fn with_min_age(mut self, min_age: Duration) -> Self {
        self.min_age = min_age;
        self
    }
}
