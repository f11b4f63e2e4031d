//! The plan for one row: the sums that it needs, and what they come to.

use std::collections::BTreeMap;
use std::time::Duration;

use blobaccess::{Error, Result};

use super::{Counted, FootprintMark, FootprintRow, IngestionTime, RowSum};

/// A span of times whose rows are summed up, in the order in which they are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Span {
    /// The rows that were counted lately, to be counted again.
    Again,
    /// The rows that have come since the cursor.
    New,
    /// The rows that are not to be counted again any more.
    Leaving,
}

/// The sums that were read.
#[derive(Debug, Default)]
pub(super) struct Sums(BTreeMap<(String, Span), Result<RowSum>>);

impl Sums {
    pub(super) fn insert(&mut self, name: &str, span: Span, sum: Result<RowSum>) {
        self.0.insert((name.to_owned(), span), sum);
    }

    /// Returns the sum of a span; nothing if the span was not wanted.
    fn get(&self, name: &str, span: Span) -> Result<RowSum> {
        self.0.get(&(name.to_owned(), span)).cloned().unwrap_or_else(|| Ok(RowSum::default()))
    }
}

/// The plan for a row.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) row: FootprintRow,
    /// Whether the cursor is ahead of the source's time by more than the lag.
    pub(super) is_ahead: bool,
    is_cumulative: bool,
    /// The count of rows before the cursor; `None` if rows are counted once only.
    counted: Option<Counted>,
    cursor: IngestionTime,
    until: IngestionTime,
    /// The time from which rows are to be counted again from now on.
    since: IngestionTime,
    /// Whether rows that have vanished are given up.
    is_stale: bool,
}

/// The change of a row.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) delta_bytes: i64,
    pub(super) next: FootprintMark,
    pub(super) late_rows: u64,
    pub(super) vanished_rows: u64,
}

fn out_of_range(name: &str) -> Error {
    Error::out_of_range(format!("the bytes of {name:?} are more than a footprint can have"))
}

impl Plan {
    /// Plans to advance `row` to `watermark`, which is `lag` ago. Rows within `recount` of the cursor are counted again, unless
    /// it is 0.
    pub(super) fn new(
        row: FootprintRow,
        (watermark, lag): (IngestionTime, Duration),
        recount: Duration,
        is_cumulative: bool,
    ) -> Result<Self> {
        let begins_with = row.footprint_bytes;
        if row.mark.is_none() && begins_with != 0 {
            return Err(Error::failed_precondition(format!(
                "it has a footprint of {begins_with} bytes and no cursor: import it, so that no byte counts twice"
            )));
        }
        let mark = row.mark.unwrap_or_else(|| FootprintMark::new(IngestionTime::START));
        let cursor = mark.cursor;
        let until = cursor.max(watermark);
        let counted = if is_cumulative {
            let counted = mark.counted.filter(|counted| counted.since == IngestionTime::START);
            if row.mark.is_some() && counted.is_none() {
                return Err(Error::failed_precondition(
                    "it has a cursor, but not how much of the source's total is in it: it was advanced by other means",
                ));
            }
            counted
        } else if recount.is_zero() {
            None
        } else {
            // Whoever else advanced the cursor left no count.
            let counted = mark.counted.filter(|counted| counted.since <= cursor);
            Some(counted.unwrap_or_else(|| Counted::nothing_since(cursor)))
        };
        let known_since = counted.map_or(cursor, |counted| counted.since);
        // Whole multiples, so that the rows of a table are counted again from the same time, by one question.
        let since = until.before(recount).rounded_down(recount).max(known_since);
        // It was waited for while the cursor moved on, not while nothing ran.
        let is_stale = cursor.before(recount.saturating_mul(4)) > known_since;
        let is_ahead = !is_cumulative && watermark < cursor.before(lag);
        Ok(Self { row, is_ahead, is_cumulative, counted, cursor, until, since, is_stale })
    }

    /// Returns the spans that are to be summed up: those after the first time, until the second.
    pub(super) fn spans(&self) -> impl Iterator<Item = (Span, IngestionTime, IngestionTime)> {
        let known_since = self.counted.map_or(self.cursor, |counted| counted.since);
        let spans = if self.is_cumulative {
            [Some((Span::Again, IngestionTime::START, self.until)), None, None]
        } else {
            [
                (known_since < self.cursor).then_some((Span::Again, known_since, self.cursor)),
                (self.cursor < self.until).then_some((Span::New, self.cursor, self.until)),
                (self.counted.is_some() && known_since < self.since).then_some((
                    Span::Leaving,
                    known_since,
                    self.since,
                )),
            ]
        };
        spans.into_iter().flatten()
    }

    /// Makes the count of everything that a source of totals has.
    pub(super) fn counted_total(name: &str, sum: RowSum) -> Result<Counted> {
        let bytes = i64::try_from(sum.bytes).map_err(|_| out_of_range(name))?;
        Ok(Counted::new(IngestionTime::START, i64::try_from(sum.rows).unwrap_or(i64::MAX), bytes))
    }

    /// Computes the change of the row.
    pub(super) fn conclude(&self, sums: &Sums) -> Result<Done> {
        let name = self.row.name.as_str();
        let again = sums.get(name, Span::Again)?;
        if self.is_cumulative {
            let counted = Self::counted_total(name, again)?;
            let before = self.counted.map_or(0, |before| before.bytes);
            let delta_bytes = counted.bytes.checked_sub(before).ok_or_else(|| out_of_range(name))?;
            let next = FootprintMark::new(self.until).with_counted(counted);
            return Ok(Done { delta_bytes, next, late_rows: 0, vanished_rows: 0 });
        }
        let new = sums.get(name, Span::New)?;
        let narrow = |bytes: i128| i64::try_from(bytes).map_err(|_| out_of_range(name));
        let Some(counted) = self.counted else {
            let next = FootprintMark::new(self.until);
            return Ok(Done { delta_bytes: narrow(new.bytes)?, next, late_rows: 0, vanished_rows: 0 });
        };
        let rows = |sum: RowSum| i128::from(sum.rows);
        let beyond = rows(again) - i128::from(counted.rows);
        // A replica that lags behind another one does not have all rows that were counted. They are waited for.
        let waits = beyond < 0 && !self.is_stale;
        let late_bytes = if beyond < 0 { 0 } else { again.bytes - i128::from(counted.bytes) };
        let (known_rows, known_bytes) =
            if waits { (counted.rows.into(), counted.bytes.into()) } else { (rows(again), again.bytes) };
        // What cannot be summed up now is counted again for longer.
        let leaving = if waits { None } else { sums.get(name, Span::Leaving).ok() };
        let since = leaving.map_or(counted.since, |_| self.since);
        let leaving = leaving.unwrap_or_default();
        let still = |known: i128, new: i128, leaving: i128| narrow(known.saturating_add(new).saturating_sub(leaving));
        let counted = Counted::new(
            since,
            still(known_rows, rows(new), rows(leaving))?,
            still(known_bytes, new.bytes, leaving.bytes)?,
        );
        Ok(Done {
            delta_bytes: narrow(late_bytes.saturating_add(new.bytes))?,
            next: FootprintMark::new(self.until).with_counted(counted),
            late_rows: u64::try_from(beyond).unwrap_or(0),
            vanished_rows: u64::try_from(beyond.saturating_neg()).unwrap_or(0),
        })
    }
}
