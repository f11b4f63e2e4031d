//! The delivery of rows: planned, written down, sent, and acknowledged, apart from what the ledger does.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};

use blobaccess::{Error, ErrorKind, Result};

use super::{DeadLife, Reporting};
use crate::accounts::lock_dead;
use crate::journal::Record;
use crate::rows::{PlannedRows, RowSink, RowsOptions};
use crate::{Account, Epoch, RowBatch, Tally, from_unix_millis, unix_millis};

/// The number of batches of a life that may be open for more to be planned. It matters for a sink that refuses a batch and
/// takes others, and for an earlier life, whose rest is planned at once; a sink that is away costs one plan.
const MAX_OPEN: usize = 16;

/// The destination of rows, and what became of them.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) sink: Arc<dyn RowSink>,
    pub(super) options: RowsOptions,
    batches_delivered: AtomicU64,
    batches_failed: AtomicU64,
    delivered: AtomicU64,
    set_aside: AtomicU64,
    open_batches: AtomicU64,
    /// The time of the oldest open batch in Unix milliseconds; 0 if there is none.
    open_since_millis: AtomicU64,
}

/// The rows of this life, between one report and the next.
#[derive(Debug, Default)]
pub(super) struct OwnRows {
    pub(super) state: PlannedRows,
    planned_at: Option<Instant>,
    /// Whether the sink was there last time, and refused a batch.
    is_refused: bool,
}

/// The batches that were planned for this report: they were not sent before.
pub(super) type Fresh = HashSet<(Epoch, u64)>;

/// The delivery of rows so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RowsSnapshot {
    /// The number of batches that were acknowledged.
    pub batches_delivered: u64,
    /// The number of attempts to send a batch that failed. Each batch is sent again.
    pub batches_failed: u64,
    /// The number of rows that were acknowledged, those that were set aside included.
    pub rows_delivered: u64,
    /// The number of rows that the sink refused for what is in them, and set aside.
    pub rows_set_aside: u64,
    /// The number of batches that are planned and not acknowledged, of this life and of earlier ones.
    pub open_batches: u64,
    /// The minute of the oldest of them; `None` if there is none.
    pub open_since: Option<SystemTime>,
}

/// The life of a batch.
enum Life<'a> {
    Own,
    Dead(&'a DeadLife),
}

impl Rows {
    pub(super) fn new(sink: Arc<dyn RowSink>, options: RowsOptions) -> Self {
        Self {
            sink,
            options,
            batches_delivered: AtomicU64::new(0),
            batches_failed: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            set_aside: AtomicU64::new(0),
            open_batches: AtomicU64::new(0),
            open_since_millis: AtomicU64::new(0),
        }
    }

    pub(super) fn snapshot(&self) -> RowsSnapshot {
        let open_batches = self.open_batches.load(Ordering::Relaxed);
        RowsSnapshot {
            batches_delivered: self.batches_delivered.load(Ordering::Relaxed),
            batches_failed: self.batches_failed.load(Ordering::Relaxed),
            rows_delivered: self.delivered.load(Ordering::Relaxed),
            rows_set_aside: self.set_aside.load(Ordering::Relaxed),
            open_batches,
            open_since: (open_batches > 0).then(|| from_unix_millis(self.open_since_millis.load(Ordering::Relaxed))),
        }
    }

    /// Returns whether rows are to be planned at `now`.
    fn is_due(&self, own: &OwnRows, counted: &[(Account, Tally)], now: Instant) -> bool {
        let open = own.state.open().count();
        if open > 0 && (!own.is_refused || open >= MAX_OPEN) {
            return false;
        }
        let is_old = |at: Instant| now.saturating_duration_since(at) >= self.options.min_age;
        own.planned_at.is_none_or(is_old) || own.state.count_rest(counted) > self.options.max_batch_rows
    }
}

impl Reporting {
    /// Plans the rows of this life and of earlier ones that are in no batch yet, and writes the plans into the journals. They
    /// are sent once those are synced.
    pub(super) fn plan_rows(&self, own: &mut OwnRows, counted: &[(Account, Tally)], closing: bool) -> Fresh {
        let mut fresh = Fresh::new();
        let Some(rows) = &self.rows else { return fresh };
        let (now, max_rows) = (self.accounts.clock().now(), rows.options.max_batch_rows);
        for life in self.accounts.dead_lives() {
            let mut life = lock_dead(&life);
            if life.state.rows.open().count() < MAX_OPEN {
                let epoch = life.state.epoch;
                fresh.extend(life.plan_rows(now, max_rows).into_iter().map(|number| (epoch, number)));
            }
        }
        let instant = self.accounts.clock().monotonic();
        if closing || rows.is_due(own, counted, instant) {
            let planned = own.state.plan(counted, unix_millis(now), max_rows);
            self.record_rows(own, &planned);
            own.planned_at = Some(instant);
            fresh.extend(PlannedRows::numbers(&planned).map(|number| (self.accounts.epoch(), number)));
        }
        fresh
    }

    /// Records what became of the rows of this life.
    fn record_rows(&self, own: &mut OwnRows, records: &[Record]) {
        if let Some(journal) = self.accounts.journal() {
            journal.record(records);
        }
        for record in records {
            own.state.apply(record);
        }
    }

    /// Sends the batches that are planned, those of this life if its plans are durable, for as long as a step may take: a
    /// sink that is slow must not hold up the next report. The error is that of the first batch that was not acknowledged.
    pub(super) async fn deliver_rows(
        &self,
        own: &mut OwnRows,
        is_synced: bool,
        dead: &[DeadLife],
        fresh: &Fresh,
    ) -> Result<()> {
        let Some(rows) = &self.rows else { return Ok(()) };
        let mut batches = Vec::new();
        if is_synced {
            batches.extend(own.state.open().map(|(number, _)| (Life::Own, number)));
        }
        for life in dead {
            let numbers: Vec<_> = lock_dead(life).state.rows.open().map(|(number, _)| number).collect();
            batches.extend(numbers.into_iter().map(|number| (Life::Dead(life), number)));
        }
        own.is_refused = false;
        let clock = self.accounts.clock();
        let deadline = clock.monotonic().checked_add(self.step_timeout);
        let mut delivered = Ok(());
        for (life, number) in batches {
            let batch = match &life {
                Life::Own => own.state.batch(number, self.accounts.reporter(), self.accounts.epoch()),
                Life::Dead(life) => {
                    let life = lock_dead(life);
                    life.state.rows.batch(number, &life.state.owner.reporter, life.state.epoch)
                }
            };
            let Some(batch) = batch else { continue };
            if deadline.is_some_and(|deadline| clock.monotonic() >= deadline) {
                delivered = delivered.and(Err(Error::deadline_exceeded("the sink of rows is slow: some have to wait")));
                break;
            }
            let is_repeated = !fresh.contains(&(batch.epoch, number));
            let batch = batch.with_repeated(is_repeated);
            match self.step("the sink of rows", rows.sink.write(&batch)).await {
                Ok(written) => {
                    rows.count_delivered(&batch, written.set_aside);
                    match &life {
                        Life::Own => self.record_rows(own, &[Record::Delivered { number }]),
                        Life::Dead(life) => lock_dead(life).delivered(number),
                    }
                }
                Err(error) => {
                    rows.batches_failed.fetch_add(1, Ordering::Relaxed);
                    // A sink that is away is not waited for again.
                    let is_down = [ErrorKind::Unavailable, ErrorKind::DeadlineExceeded].contains(&error.kind());
                    if !is_down {
                        own.is_refused = true;
                        tracing::warn!(%error, batch = batch.key(), "a batch of rows was refused, and is sent again");
                    }
                    delivered = delivered.and(Err(error));
                    if is_down {
                        break;
                    }
                }
            }
        }
        self.note_open(rows, own);
        delivered
    }

    /// Notes how many batches are open, and since when.
    fn note_open(&self, rows: &Rows, own: &OwnRows) {
        let mut open: Vec<u64> = own.state.open().map(|(_, plan)| plan.created_at_millis).collect();
        for life in self.accounts.dead_lives() {
            open.extend(lock_dead(&life).state.rows.open().map(|(_, plan)| plan.created_at_millis));
        }
        rows.open_since_millis.store(open.iter().min().copied().unwrap_or(0), Ordering::Relaxed);
        rows.open_batches.store(u64::try_from(open.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Returns whether all rows of this life were delivered, if there are rows.
    pub(super) fn have_delivered(&self, own: &OwnRows, counted: &[(Account, Tally)]) -> bool {
        self.rows.is_none() || own.state.have_delivered(counted)
    }

    /// Returns whether all rows of an earlier life were delivered, if there are rows.
    pub(super) fn have_delivered_of(&self, life: &DeadLife) -> bool {
        self.rows.is_none() || {
            let life = lock_dead(life);
            life.state.rows.have_delivered(&life.state.totals())
        }
    }
}

impl Rows {
    fn count_delivered(&self, batch: &RowBatch, set_aside: u64) {
        self.batches_delivered.fetch_add(1, Ordering::Relaxed);
        self.delivered.fetch_add(u64::try_from(batch.rows.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.set_aside.fetch_add(set_aside, Ordering::Relaxed);
    }
}
