//! The accumulator: adds rows of operations to footprints, each once.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use blobaccess::{BackgroundWork, Clock, Error, Result, SystemClock};

use super::plan::{Plan, Span, Sums};
use super::{
    AccumulatorRun, AccumulatorSnapshot, Counted, FootprintAddition, FootprintMark, FootprintOptions, FootprintRow,
    FootprintShard, FootprintTable, IngestionTime, RowSource,
};
use crate::Epoch;
use crate::reporting::Jitter;

/// The number of additions that a table is asked for at once, within the time of one call.
const ADDITIONS_AT_ONCE: usize = 200;

/// The number of calls that fail one after another before a run is given up. By that many halvings one row is found among
/// 4,096.
const MAX_FAILED_CALLS: u32 = 12;

/// Adds the rows of a [`RowSource`] to the footprints of a [`FootprintTable`], each row once.
///
/// A run reads the active rows of the table, sums up what arrived for each since its cursor, adds that, and advances the
/// cursor, by a change that compares the mark. So overlapping runs, of this process or others, are harmless, and a run may
/// end at any point. A row that fails fails alone, and is tried again by the next run.
///
/// Nothing happens by itself: add the accumulator to a [`Background`](blobaccess::Background), or call
/// [`run_once`](Self::run_once).
///
/// # Late rows and clocks
///
/// Let `L` be the [lag](FootprintOptions::with_lag), and `R` the [recount](FootprintOptions::with_recount). A row of the source
/// is counted exactly once if, when it becomes visible, its time of arrival is less than `L + R` ago, by the clock of this
/// process or by the latest time that the source has shown. With `R` = 0, or a table that keeps no counts, the bound is `L`.
///
/// A cursor stays behind both clocks, so that one that is ahead takes it nowhere: rows from the future wait until their time
/// has come. An accumulator whose own clock is behind counts late, and loses nothing.
///
/// Rows that were late are in [`late_rows`](AccumulatorSnapshot::late_rows). Cursors that the source's clock has fallen
/// behind are in [`ahead_of_source`](AccumulatorSnapshot::ahead_of_source); rows that come then and are older than the
/// recount are lost, and show as drift.
///
/// # Memory
///
/// Some 500 bytes for each of the [rows at once](FootprintOptions::with_rows_at_once).
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use std::sync::Arc;
///
/// use blobaccess_accounting::{FootprintAccumulator, FootprintOptions, LedgerSource, MemoryFootprints, MemoryLedger};
///
/// let source = LedgerSource::new(Arc::new(MemoryLedger::new()));
/// let table = Arc::new(MemoryFootprints::new());
/// table.insert("acme");
/// let accumulator = FootprintAccumulator::new(Arc::new(source), table, FootprintOptions::new());
/// let run = accumulator.run_once().await;
/// assert_eq!(run.to_string(), "1 rows, 1 advanced by 0 bytes");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct FootprintAccumulator {
    source: Arc<dyn RowSource>,
    table: Arc<dyn FootprintTable>,
    options: FootprintOptions,
    clock: Arc<dyn Clock>,
    snapshot: Mutex<AccumulatorSnapshot>,
}

/// A run that has begun.
#[derive(Debug, Default)]
struct Running {
    run: AccumulatorRun,
    /// The number of calls that have failed, one after another, until now.
    failed_calls: u32,
}

impl Running {
    /// Notes whether a call has failed.
    fn note_call<T>(&mut self, result: &Result<T>) {
        self.failed_calls = if result.is_ok() { 0 } else { self.failed_calls.saturating_add(1) };
    }

    const fn is_given_up(&self) -> bool {
        self.failed_calls >= MAX_FAILED_CALLS
    }

    fn fail_row(&mut self, name: &str, error: Error) {
        self.run.failed = self.run.failed.saturating_add(1);
        self.run.note_failure(name, error);
    }
}

impl FootprintAccumulator {
    /// Adds the rows of `source` to the footprints of `table`.
    #[must_use]
    pub fn new(source: Arc<dyn RowSource>, table: Arc<dyn FootprintTable>, options: FootprintOptions) -> Self {
        Self { source, table, options, clock: Arc::new(SystemClock), snapshot: Mutex::default() }
    }

    /// Takes the time of day, of intervals and of time-outs from `clock`, by default from that of the system.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Returns the sums of all runs.
    #[must_use]
    pub fn snapshot(&self) -> AccumulatorSnapshot {
        // A panic cannot leave it half changed.
        *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the time until which rows have arrived at the source, whether they are visible yet or not: the moment of an
    /// [import](Self::import).
    ///
    /// # Errors
    ///
    /// `Unavailable` if the source cannot be reached.
    pub async fn source_time(&self) -> Result<IngestionTime> {
        self.timed("the time of the source", self.source.watermark(Duration::ZERO)).await
    }

    /// Takes over an existing footprint of `name` as of `as_of`, and returns whether that was done: a row is imported once.
    ///
    /// Rows of the source that arrived until `as_of` are taken to be in it, and are not counted again. The footprint is
    /// `footprint_bytes`, or the number that is in the table already. If the source keeps totals, everything that it has now
    /// is taken to be in it.
    ///
    /// # Errors
    ///
    /// Those of [`FootprintTable::import`] and, if the source keeps totals, of [`RowSource::sum`].
    pub async fn import(&self, name: &str, footprint_bytes: Option<i64>, as_of: IngestionTime) -> Result<bool> {
        let mut mark = FootprintMark::new(as_of);
        if self.source.is_cumulative() {
            let names = [name.to_owned()];
            let sums = self.timed("a sum", self.source.sum(&names, IngestionTime::START, as_of)).await?;
            let sum = sums.get(name).copied().unwrap_or_default();
            mark = mark.with_counted(Plan::counted_total(name, sum)?);
        } else if self.keeps_counts() {
            mark = mark.with_counted(Counted::nothing_since(as_of));
        }
        self.timed("an import", self.table.import(name, footprint_bytes, &mark)).await
    }

    /// Advances the rows of all shards of this process once.
    ///
    /// Failures are in the result: a run does what can be done. If many calls fail one after another, the rest of the run is
    /// left to the next one.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any time. What was added stays added, once.
    pub async fn run_once(&self) -> AccumulatorRun {
        let mut running = Running::default();
        for shard in &self.options.shards {
            if let Err(error) = self.run_shard(*shard, &mut running).await {
                running.run.note_failure(shard.to_string(), error);
            }
        }
        let Running { run, .. } = running;
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).add(&run);
        run
    }

    /// Runs now and at each interval, for as long as the future is polled. Failures are logged, counted, and tried again.
    ///
    /// Intervals are up to a tenth shorter by chance, and the first one by up to a half, so that processes that were started
    /// together do not run together.
    ///
    /// # Cancel safety
    ///
    /// As [`run_once`](Self::run_once).
    pub async fn run(&self) {
        // Without randomness, processes that were started together run together, which costs time only.
        let mut jitter = Jitter::new(Epoch::random().unwrap_or_else(|_| Epoch::from_bytes([0; 16])));
        loop {
            let next = self.clock.monotonic().checked_add(jitter.shorten(self.options.interval));
            let run = self.run_once().await;
            if run.is_complete() {
                tracing::debug!(%run, "footprints");
            } else {
                tracing::warn!(%run, "not all footprints were advanced");
            }
            if run.late_rows > 0 || run.vanished_rows > 0 || run.ahead_of_source > 0 {
                let (late_rows, vanished_rows) = (run.late_rows, run.vanished_rows);
                let ahead = run.ahead_of_source;
                tracing::warn!(late_rows, vanished_rows, ahead, "rows of operations did not come in the order of time");
            }
            match next {
                Some(next) => self.clock.sleep_until(next).await,
                None => std::future::pending().await,
            }
        }
    }

    fn keeps_counts(&self) -> bool {
        self.table.keeps_counts() && !self.options.recount.is_zero()
    }

    /// Runs a call for as long as one may take.
    async fn timed<T>(&self, what: &str, call: impl Future<Output = Result<T>>) -> Result<T> {
        let deadline = self.clock.monotonic().checked_add(self.options.call_timeout);
        self.clock.timeout(deadline, call).await.unwrap_or_else(|_| {
            Err(Error::deadline_exceeded(format!("{what} timed out after {:?}", self.options.call_timeout)))
        })
    }

    async fn run_shard(&self, shard: FootprintShard, running: &mut Running) -> Result<()> {
        if self.source.is_cumulative() && !self.table.keeps_counts() {
            return Err(Error::failed_precondition(
                "a source of totals needs a table of footprints that keeps what was counted",
            ));
        }
        let limit = self.options.rows_at_once.max(1);
        let mut after: Option<String> = None;
        loop {
            if running.is_given_up() {
                return Err(Error::unavailable("too many calls failed; the rest is left to the next run"));
            }
            let page = self.timed("the active rows", self.table.active(shard, after.as_deref(), limit)).await;
            running.note_call(&page);
            let page = page?;
            let Some(last) = page.last().map(|row| row.name.clone()) else { return Ok(()) };
            if after.as_ref() == Some(&last) {
                return Err(Error::internal("the active rows after a row end with that row"));
            }
            let is_last = page.len() < limit;
            running.run.rows = running.run.rows.saturating_add(u64::try_from(page.len()).unwrap_or(u64::MAX));
            self.advance(page, running).await?;
            if is_last {
                return Ok(());
            }
            after = Some(last);
        }
    }

    /// Returns the time until which rows are counted now.
    async fn watermark(&self) -> Result<IngestionTime> {
        let lag = self.options.lag;
        let watermark = self.timed("the time of the source", self.source.watermark(lag)).await?;
        if self.source.is_cumulative() {
            return Ok(watermark);
        }
        // A cursor must not follow a clock that is ahead: rows would come below it once the clock is right again.
        Ok(watermark.min(IngestionTime::from_time(self.clock.now()).settled(lag)))
    }

    /// Advances a page of rows.
    async fn advance(&self, page: Vec<FootprintRow>, running: &mut Running) -> Result<()> {
        let watermark = self.watermark().await;
        running.note_call(&watermark);
        let watermark = match watermark {
            Ok(watermark) => watermark,
            Err(error) => {
                let failed = u64::try_from(page.len()).unwrap_or(u64::MAX);
                running.run.failed = running.run.failed.saturating_add(failed);
                return Err(error);
            }
        };
        let recount = if self.keeps_counts() { self.options.recount } else { Duration::ZERO };
        let mut plans = Vec::with_capacity(page.len());
        for row in page {
            let name = row.name.clone();
            match Plan::new(row, (watermark, self.options.lag), recount, self.source.is_cumulative()) {
                Ok(plan) => plans.push(plan),
                Err(error) => running.fail_row(&name, error),
            }
        }
        let sums = self.read_sums(&plans, running).await;
        let mut additions = Vec::new();
        for plan in &plans {
            if plan.is_ahead {
                running.run.ahead_of_source = running.run.ahead_of_source.saturating_add(1);
            }
            match plan.conclude(&sums) {
                Ok(done) => {
                    running.run.vanished_rows = running.run.vanished_rows.saturating_add(done.vanished_rows);
                    let name = plan.row.name.as_str();
                    if done.delta_bytes != 0 || plan.row.mark != Some(done.next) {
                        let addition = FootprintAddition::new(name, plan.row.mark, done.delta_bytes, done.next);
                        additions.push((addition, done.late_rows));
                    }
                }
                Err(error) => running.fail_row(&plan.row.name, error),
            }
        }
        let (additions, late_rows): (Vec<_>, Vec<_>) = additions.into_iter().unzip();
        for (additions, late_rows) in additions.chunks(ADDITIONS_AT_ONCE).zip(late_rows.chunks(ADDITIONS_AT_ONCE)) {
            self.add(additions, late_rows, running).await;
        }
        Ok(())
    }

    /// Makes additions, each of which has so many late rows.
    async fn add(&self, additions: &[FootprintAddition], late_rows: &[u64], running: &mut Running) {
        let added = if running.is_given_up() {
            Err(Error::unavailable("too many calls failed"))
        } else {
            let call = async { Ok(self.table.add_all(additions).await) };
            let added = self.timed("an addition", call).await;
            running.note_call(&added);
            added
        };
        let mut added = added.map(Vec::into_iter);
        for (addition, late_rows) in additions.iter().zip(late_rows) {
            let added = match &mut added {
                Ok(added) => added.next().unwrap_or_else(|| Err(Error::internal("an addition has no result"))),
                Err(error) => Err(error.clone()),
            };
            let run = &mut running.run;
            match added {
                Ok(true) => {
                    run.advanced = run.advanced.saturating_add(1);
                    run.bytes_added = run.bytes_added.saturating_add(addition.delta_bytes.into());
                    run.late_rows = run.late_rows.saturating_add(*late_rows);
                    run.until = run.until.max(Some(addition.next.cursor));
                }
                Ok(false) => run.overtaken = run.overtaken.saturating_add(1),
                Err(error) => running.fail_row(&addition.name, error),
            }
        }
    }

    /// Reads the sums that `plans` want, the spans in their order.
    ///
    /// The order matters for rows that come meanwhile: a span is read before those of later times, and what is left out of
    /// a count is read last. So such a row is in at most one sum, and the next run finds it.
    async fn read_sums(&self, plans: &[Plan], running: &mut Running) -> Sums {
        let mut wanted: BTreeMap<(Span, IngestionTime, IngestionTime), Vec<String>> = BTreeMap::new();
        for plan in plans {
            for (span, after, until) in plan.spans() {
                wanted.entry((span, after, until)).or_default().push(plan.row.name.clone());
            }
        }
        let mut sums = Sums::default();
        for ((span, after, until), names) in wanted {
            // Halves, so that a name that makes a sum fail, or take too long, is found.
            let mut open = vec![names.as_slice()];
            while let Some(names) = open.pop() {
                let result = if running.is_given_up() {
                    Err(Error::unavailable("too many calls failed"))
                } else {
                    let result = self.timed("a sum", self.source.sum(names, after, until)).await;
                    running.note_call(&result);
                    result
                };
                match result {
                    Ok(found) => {
                        for name in names {
                            sums.insert(name, span, Ok(found.get(name).copied().unwrap_or_default()));
                        }
                    }
                    Err(_) if names.len() > 1 && !running.is_given_up() => {
                        let (first, second) = names.split_at(names.len() / 2);
                        open.extend([second, first]);
                    }
                    Err(error) => {
                        for name in names {
                            sums.insert(name, span, Err(error.clone()));
                        }
                    }
                }
            }
        }
        sums
    }
}

#[async_trait]
impl BackgroundWork for FootprintAccumulator {
    fn name(&self) -> Cow<'static, str> {
        "the accumulator of footprints".into()
    }

    async fn run(&self) {
        Self::run(self).await;
    }
}
