//! The accumulator over sources and tables that fail, are silent or lie.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use blobaccess::{Error, ErrorKind, Result};
use blobaccess_accounting::{
    FootprintAccumulator, FootprintMark, FootprintOptions, FootprintRow, FootprintShard, FootprintTable, IngestionTime,
    MemoryFootprints, RowSource, RowSum,
};
use blobaccess_testkit::ManualClock;

const MINUTE: Duration = Duration::from_mins(1);

fn minutes(minutes: u64) -> IngestionTime {
    IngestionTime::from_micros(minutes * 60_000_000)
}

/// A source with rows that a test adds, by the clock of the test.
#[derive(Debug)]
struct Rows {
    clock: ManualClock,
    all: Mutex<Vec<(String, i128, IngestionTime)>>,
    /// Names that make a sum fail.
    broken: Mutex<BTreeSet<String>>,
    is_silent: Mutex<bool>,
    sums: Mutex<usize>,
}

impl Rows {
    fn new(clock: &ManualClock) -> Arc<Self> {
        Arc::new(Self {
            clock: clock.clone(),
            all: Mutex::default(),
            broken: Mutex::default(),
            is_silent: Mutex::default(),
            sums: Mutex::default(),
        })
    }

    fn add(&self, name: &str, bytes: i128, at: IngestionTime) {
        self.all.lock().unwrap().push((name.to_owned(), bytes, at));
    }
}

#[async_trait]
impl RowSource for Rows {
    async fn watermark(&self, lag: Duration) -> Result<IngestionTime> {
        Ok(IngestionTime::from_time(blobaccess::Clock::now(&self.clock)).settled(lag))
    }

    async fn sum(
        &self,
        namespaces: &[String],
        after: IngestionTime,
        until: IngestionTime,
    ) -> Result<BTreeMap<String, RowSum>> {
        *self.sums.lock().unwrap() += 1;
        if *self.is_silent.lock().unwrap() {
            std::future::pending::<()>().await;
        }
        if let Some(name) = namespaces.iter().find(|name| self.broken.lock().unwrap().contains(*name)) {
            return Err(Error::data_loss(format!("{name} makes no sense")));
        }
        let mut sums: BTreeMap<String, RowSum> = BTreeMap::new();
        for (name, bytes, at) in self.all.lock().unwrap().iter() {
            if namespaces.contains(name) && after < *at && *at <= until {
                let sum = sums.entry(name.clone()).or_default();
                *sum = RowSum::new(sum.rows + 1, sum.bytes + bytes);
            }
        }
        Ok(sums)
    }
}

/// A site of some namespaces, ten hours after the epoch.
struct Site {
    clock: ManualClock,
    source: Arc<Rows>,
    table: Arc<MemoryFootprints>,
}

impl Site {
    fn new(names: impl IntoIterator<Item = &'static str>) -> Self {
        let clock = ManualClock::new();
        clock.advance(600 * MINUTE);
        let table = Arc::new(MemoryFootprints::new());
        for name in names {
            table.insert(name);
        }
        Self { source: Rows::new(&clock), clock, table }
    }

    fn accumulator(&self, options: FootprintOptions) -> FootprintAccumulator {
        let (source, table): (Arc<Rows>, Arc<MemoryFootprints>) = (Arc::clone(&self.source), Arc::clone(&self.table));
        FootprintAccumulator::new(source, table, options).with_clock(Arc::new(self.clock.clone()))
    }

    fn bytes(&self, name: &str) -> i64 {
        self.table.get(name).unwrap().footprint_bytes
    }
}

#[tokio::test]
async fn rows_are_added_once_and_after_the_lag() {
    let site = Site::new(["acme", "idle"]);
    let accumulator = site.accumulator(FootprintOptions::new());
    site.source.add("acme", 100, minutes(590));
    site.source.add("acme", 20, minutes(597));
    site.source.add("stranger", 1, minutes(590));
    let run = accumulator.run_once().await;
    assert_eq!((run.rows, run.advanced, run.bytes_added, run.failed), (2, 2, 100, 0), "{run}");
    // 5 minutes and a second ago.
    assert_eq!(run.until, Some(IngestionTime::from_micros((595 * 60 - 1) * 1_000_000)));
    assert_eq!(accumulator.run_once().await.to_string(), "2 rows, 0 advanced by 0 bytes");
    site.clock.advance(15 * MINUTE);
    assert_eq!(accumulator.run_once().await.bytes_added, 20);
    assert_eq!((site.bytes("acme"), site.bytes("idle")), (120, 0));
    let snapshot = accumulator.snapshot();
    assert_eq!((snapshot.runs, snapshot.advanced, snapshot.bytes_added, snapshot.late_rows), (3, 4, 120, 0));
}

#[tokio::test]
async fn a_row_that_fails_fails_alone() {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let site = Site::new(names);
    for name in names {
        site.source.add(name, 1, minutes(1));
    }
    site.source.broken.lock().unwrap().insert("f".to_owned());
    let full = FootprintMark::new(IngestionTime::START);
    site.table.import("full", Some(i64::MAX), &full).await.unwrap();
    site.source.add("full", 1, minutes(2));
    site.table.import("huge", Some(0), &full).await.unwrap();
    site.source.add("huge", i128::MAX / 2, minutes(2));
    let accumulator = site.accumulator(FootprintOptions::new());
    let run = accumulator.run_once().await;
    assert_eq!((run.rows, run.advanced, run.failed), (10, 7, 3), "{run}");
    let failures: Vec<_> = run.failures.iter().map(|failure| (failure.name.as_str(), failure.error.kind())).collect();
    let expected = [("f", ErrorKind::DataLoss), ("huge", ErrorKind::OutOfRange), ("full", ErrorKind::OutOfRange)];
    assert_eq!(failures, expected);
    assert_eq!((site.bytes("e"), site.bytes("f"), site.bytes("full")), (1, 0, i64::MAX));
    site.source.broken.lock().unwrap().clear();
    assert_eq!(accumulator.run_once().await.failed, 2);
    assert_eq!(site.bytes("f"), 1);
    assert_eq!(accumulator.snapshot().incomplete_runs, 2);
}

#[tokio::test]
async fn a_source_that_is_silent_ends_a_run_and_not_the_work() {
    let site = Site::new((0..26).map(|letter| &"abcdefghijklmnopqrstuvwxyz"[letter..=letter]));
    *site.source.is_silent.lock().unwrap() = true;
    let accumulator = Arc::new(site.accumulator(FootprintOptions::new().with_rows_at_once(10)));
    let running = tokio::spawn({
        let accumulator = Arc::clone(&accumulator);
        async move { accumulator.run_once().await }
    });
    while !running.is_finished() {
        site.clock.until_sleepers(1).await;
        site.clock.advance(Duration::from_secs(30));
        tokio::task::yield_now().await;
    }
    let run = running.await.unwrap();
    assert!(!run.is_complete() && run.failed > 0 && run.advanced == 0, "{run}");
    assert!(run.failures[0].error.to_string().contains("a sum timed out after 30s"), "{run}");
    assert_eq!(*site.source.sums.lock().unwrap(), 12, "calls of a source that does not answer");
    *site.source.is_silent.lock().unwrap() = false;
    assert_eq!(accumulator.run_once().await.advanced, 26);
}

#[tokio::test]
async fn an_existing_footprint_is_imported_once() {
    let site = Site::new([]);
    let accumulator = site.accumulator(FootprintOptions::new());
    site.source.add("acme", 100, minutes(400));
    site.source.add("acme", 20, minutes(500));
    let at = minutes(450);
    assert!(accumulator.import("acme", Some(7_000), at).await.unwrap());
    assert!(!accumulator.import("acme", Some(9_000), at).await.unwrap());
    let run = accumulator.run_once().await;
    assert_eq!((run.bytes_added, site.bytes("acme")), (20, 7_020), "{run}");
    assert!(!accumulator.import("acme", Some(9_000), at).await.unwrap());
    assert!(accumulator.source_time().await.unwrap() < minutes(600));
}

/// A table whose only row has a footprint that nobody imported.
#[derive(Debug)]
struct Foreign;

#[async_trait]
impl FootprintTable for Foreign {
    async fn active(&self, _: FootprintShard, _: Option<&str>, _: usize) -> Result<Vec<FootprintRow>> {
        Ok(vec![FootprintRow::new("acme", 5, None)])
    }

    async fn add(&self, _: &str, _: Option<&FootprintMark>, _: i64, _: &FootprintMark) -> Result<bool> {
        unreachable!("nothing may be added")
    }

    async fn import(&self, _: &str, _: Option<i64>, _: &FootprintMark) -> Result<bool> {
        Ok(true)
    }

    fn keeps_counts(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn a_footprint_that_was_not_imported_is_not_added_to() {
    let site = Site::new([]);
    let source: Arc<Rows> = Arc::clone(&site.source);
    let accumulator = FootprintAccumulator::new(source, Arc::new(Foreign), FootprintOptions::new());
    let run = accumulator.run_once().await;
    assert_eq!(run.failures[0].error.kind(), ErrorKind::FailedPrecondition);
    assert!(run.to_string().contains("import it"), "{run}");
}

/// A table that answers every question with the same page.
#[derive(Debug)]
struct Circular;

#[async_trait]
impl FootprintTable for Circular {
    async fn active(&self, _: FootprintShard, _: Option<&str>, _: usize) -> Result<Vec<FootprintRow>> {
        Ok(vec![FootprintRow::new("acme", 0, None)])
    }

    async fn add(&self, _: &str, _: Option<&FootprintMark>, _: i64, _: &FootprintMark) -> Result<bool> {
        Ok(true)
    }

    async fn import(&self, _: &str, _: Option<i64>, _: &FootprintMark) -> Result<bool> {
        Ok(true)
    }
}

#[tokio::test]
async fn a_table_that_has_no_end_ends_a_run() {
    let site = Site::new([]);
    let source: Arc<Rows> = Arc::clone(&site.source);
    let options = FootprintOptions::new().with_rows_at_once(1);
    let run = FootprintAccumulator::new(source, Arc::new(Circular), options).run_once().await;
    assert_eq!((run.rows, run.failures[0].error.kind()), (1, ErrorKind::Internal), "{run}");
}

#[tokio::test]
async fn rows_are_read_by_pages_and_shards_each_once() {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"];
    let site = Site::new(names);
    for name in names {
        site.source.add(name, 1, minutes(1));
    }
    let shards = [0, 1, 2].map(|index| FootprintShard::new(index, 3).unwrap());
    let mut advanced = 0;
    for shard in shards {
        let options = FootprintOptions::new().with_rows_at_once(2).with_shards([shard]);
        let run = site.accumulator(options).run_once().await;
        assert!((1..11).contains(&run.rows) && run.advanced == run.rows, "{run}");
        advanced += run.advanced;
    }
    assert_eq!(advanced, 11);
    assert!(names.into_iter().all(|name| site.bytes(name) == 1));
    let options = FootprintOptions::new().with_rows_at_once(0).with_shards(shards);
    assert_eq!(site.accumulator(options).run_once().await.rows, 11);
}

#[tokio::test]
async fn rows_that_are_late_are_found_and_counted() {
    let site = Site::new(["acme"]);
    let accumulator = site.accumulator(FootprintOptions::new());
    accumulator.run_once().await;
    site.clock.advance(15 * MINUTE);
    // Below the cursor of 595, and above that by an hour and more.
    site.source.add("acme", 5, minutes(560));
    let run = accumulator.run_once().await;
    assert_eq!((run.bytes_added, run.late_rows), (5, 1), "{run}");
    let once = site.accumulator(FootprintOptions::new().with_recount(Duration::ZERO));
    site.source.add("acme", 7, minutes(560));
    assert_eq!(once.run_once().await.bytes_added, 0);
}

#[tokio::test]
async fn rows_that_vanish_stay_counted_and_are_not_counted_again_when_they_are_back() {
    let site = Site::new(["acme"]);
    let accumulator = site.accumulator(FootprintOptions::new());
    site.source.add("acme", 100, minutes(590));
    site.source.add("acme", 20, minutes(591));
    assert_eq!(accumulator.run_once().await.bytes_added, 120);
    // Another replica answers for two hours.
    let all = std::mem::take(&mut *site.source.all.lock().unwrap());
    for _ in 0..8 {
        site.clock.advance(15 * MINUTE);
        let run = accumulator.run_once().await;
        assert_eq!((run.bytes_added, run.vanished_rows), (0, 2), "{run}");
    }
    *site.source.all.lock().unwrap() = all;
    site.clock.advance(15 * MINUTE);
    let run = accumulator.run_once().await;
    assert_eq!((run.bytes_added, run.vanished_rows, run.late_rows), (0, 0, 0), "{run}");
    // Rows that are gone for good are given up, and stay counted.
    site.clock.advance(15 * MINUTE);
    site.source.add("acme", 3, minutes(730));
    accumulator.run_once().await;
    site.source.all.lock().unwrap().clear();
    let mut vanished = 0;
    for _ in 0..40 {
        site.clock.advance(15 * MINUTE);
        let run = accumulator.run_once().await;
        assert_eq!(run.bytes_added, 0, "{run}");
        vanished = run.vanished_rows;
    }
    assert_eq!((vanished, site.bytes("acme")), (0, 123));
    site.source.add("acme", 4, minutes(1355));
    site.clock.advance(15 * MINUTE);
    assert_eq!(accumulator.run_once().await.bytes_added, 4);
}

#[tokio::test]
async fn a_source_whose_clock_went_back_is_told() {
    let site = Site::new(["acme"]);
    let accumulator = site.accumulator(FootprintOptions::new());
    accumulator.run_once().await;
    // Clocks that differ by seconds say nothing.
    let almost = std::time::SystemTime::UNIX_EPOCH + 598 * MINUTE;
    site.clock.set_now(almost);
    assert_eq!(accumulator.run_once().await.ahead_of_source, 0);
    site.clock.set_now(almost - 48 * MINUTE);
    site.source.add("acme", 5, minutes(550));
    let run = accumulator.run_once().await;
    assert_eq!((run.ahead_of_source, run.bytes_added, run.late_rows), (1, 5, 1), "{run}");
    assert_eq!(accumulator.snapshot().ahead_of_source, 1);
}

#[tokio::test]
async fn it_runs_at_once_and_at_each_interval() {
    let site = Site::new(["acme"]);
    let accumulator = Arc::new(site.accumulator(FootprintOptions::new()));
    let mut background = blobaccess::Background::new().with(Arc::clone(&accumulator));
    let running = tokio::spawn(async move { background.run().await });
    for runs in 1..4 {
        site.clock.until_sleepers(1).await;
        assert_eq!(accumulator.snapshot().runs, runs);
        site.clock.advance(15 * MINUTE);
        while accumulator.snapshot().runs == runs {
            tokio::task::yield_now().await;
        }
    }
    running.abort();
}
