//! The settings of an accumulator.

use std::time::Duration;

use super::FootprintShard;

/// The settings of a [`FootprintAccumulator`](super::FootprintAccumulator).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FootprintOptions {
    pub(super) interval: Duration,
    pub(super) lag: Duration,
    pub(super) recount: Duration,
    pub(super) shards: Vec<FootprintShard>,
    pub(super) rows_at_once: usize,
    pub(super) call_timeout: Duration,
}

impl Default for FootprintOptions {
    fn default() -> Self {
        Self {
            interval: Duration::from_mins(15),
            lag: Duration::from_mins(5),
            recount: Duration::from_hours(1),
            shards: vec![FootprintShard::ALL],
            rows_at_once: 1_000,
            call_timeout: Duration::from_secs(30),
        }
    }
}

impl FootprintOptions {
    /// Returns the defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the time from one run to the next: 15 minutes by default.
    #[must_use]
    pub const fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Sets the time after which a row that has arrived is visible to every reader: 5 minutes by default.
    ///
    /// It must be more than the longest insert, asynchronous insert and replication lag of the source together. A source
    /// that [keeps totals](super::RowSource::is_cumulative) needs none.
    #[must_use]
    pub const fn with_lag(mut self, lag: Duration) -> Self {
        self.lag = lag;
        self
    }

    /// Sets the time before the cursor for which rows are counted again in each run: at least an hour by default, and at most
    /// twice that.
    ///
    /// Rows that were late, or that got an earlier time from a clock that went back, are found there and added. With 0, each
    /// row is counted once, and rows that come below the cursor are lost. It must be less than the time for which the source
    /// keeps rows.
    #[must_use]
    pub const fn with_recount(mut self, recount: Duration) -> Self {
        self.recount = recount;
        self
    }

    /// Sets the shards that this process works on: all rows by default.
    ///
    /// Shards that nobody works on are not advanced. Shards that two processes work on are advanced once.
    #[must_use]
    pub fn with_shards(mut self, shards: impl IntoIterator<Item = FootprintShard>) -> Self {
        self.shards = shards.into_iter().collect();
        self
    }

    /// Sets the number of rows that are read, summed up and held in memory at once: 1,000 by default, and at least 1.
    #[must_use]
    pub const fn with_rows_at_once(mut self, rows_at_once: usize) -> Self {
        self.rows_at_once = rows_at_once;
        self
    }

    /// Sets the time after which a call to the source or the table fails: 30 s by default.
    #[must_use]
    pub const fn with_call_timeout(mut self, call_timeout: Duration) -> Self {
        self.call_timeout = call_timeout;
        self
    }
}
