//! The mark of a footprint: the rows that are in it.

use super::IngestionTime;

/// The rows that are in a footprint: those up to the cursor, and how many of them there were when they were counted.
///
/// A change of a footprint compares the whole mark with that which it was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct FootprintMark {
    /// The time until which rows are counted, that time included. It never goes back.
    pub cursor: IngestionTime,
    /// The rows that were counted lately. `None` if that is not kept.
    pub counted: Option<Counted>,
}

/// The rows that were counted between a time and the cursor. If there are more of them later, some were late.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Counted {
    /// The time from which rows are counted again, that time excluded.
    pub since: IngestionTime,
    /// The number of rows. It is negative for a moment if rows came while the beginning was moved.
    pub rows: i64,
    /// The sum of their bytes.
    pub bytes: i64,
}

impl FootprintMark {
    /// Makes the mark of a footprint that has all rows until `cursor`.
    #[must_use]
    pub const fn new(cursor: IngestionTime) -> Self {
        Self { cursor, counted: None }
    }

    /// Sets the rows that were counted lately.
    #[must_use]
    pub const fn with_counted(mut self, counted: Counted) -> Self {
        self.counted = Some(counted);
        self
    }
}

impl Counted {
    /// Makes the count of rows after `since`.
    #[must_use]
    pub const fn new(since: IngestionTime, rows: i64, bytes: i64) -> Self {
        Self { since, rows, bytes }
    }

    /// Makes the count of no rows after `since`.
    #[must_use]
    pub const fn nothing_since(since: IngestionTime) -> Self {
        Self::new(since, 0, 0)
    }
}
