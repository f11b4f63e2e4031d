//! Rows of operations as the source of footprints, on a real engine.
//!
//! `tests/servers/clickhouse` starts the engine, and prints the variable that these tests need.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail so")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use blobaccess_accounting::{
    Class, Epoch, FootprintAccumulator, FootprintOptions, IngestionTime, MemoryFootprints, RowSource,
};
use blobaccess_ledger_clickhouse::{ClickHouseRows, OperationsField, OperationsTable};
use blobaccess_testkit::{Numbers, seed};
use clickhouse::Client;

const ENGINES: [&str; 3] = [
    "MergeTree ORDER BY (namespace, ingested_at)",
    "ReplacingMergeTree(version) ORDER BY (namespace, kind, status, reason, reporter, epoch, seq)",
    "Memory",
];

/// The types of the time, and their length in microseconds.
const TYPES: [(&str, u64); 3] =
    [("DateTime", 1_000_000), ("DateTime64(3)", 1_000), ("DateTime64(6, 'America/St_Johns')", 1)];

fn client() -> Client {
    let url = std::env::var("BLOBACCESS_CLICKHOUSE_URL").expect("BLOBACCESS_CLICKHOUSE_URL is the server's URL");
    let client = Client::default().with_url(url);
    let client = match std::env::var("BLOBACCESS_CLICKHOUSE_USER") {
        Ok(user) => client.with_user(user),
        Err(_) => client,
    };
    match std::env::var("BLOBACCESS_CLICKHOUSE_PASSWORD") {
        Ok(password) => client.with_password(password),
        Err(_) => client,
    }
}

/// A table that a site has made.
struct Table {
    name: String,
    settings: OperationsTable,
}

impl Table {
    async fn new(engine: &str, time: &str) -> Self {
        let name = format!("rows_{}", &Epoch::random().unwrap().to_string()[..12]);
        let create = format!(
            "CREATE TABLE {name} (reporter String, epoch String, seq UInt64, namespace String,
            kind LowCardinality(String), status LowCardinality(String), reason String, objects UInt64, bytes Int64,
            ingested_at {time}, version UInt64 MATERIALIZED 18446744073709551615 -
            toUInt64(toUnixTimestamp64Micro(toDateTime64(ingested_at, 6)))) ENGINE = {engine}"
        );
        client().query_raw(&create).execute().await.unwrap();
        let settings = OperationsTable::default()
            .with_table(name.as_str())
            .with_status(Class::DeletedOnRequest, "deleted")
            .without_column(OperationsField::LogicalBytes)
            .without_column(OperationsField::UnsizedBytes)
            .without_column(OperationsField::CreatedAt);
        Self { name, settings }
    }

    /// Inserts a row of the batch `seq`, as of a time in microseconds.
    async fn insert(&self, seq: u64, namespace: &str, status: &str, bytes: i64, micros: u64) {
        let insert = format!(
            "INSERT INTO {} (reporter, epoch, seq, namespace, kind, status, reason, objects, bytes, ingested_at)
            SELECT 'host', 'epoch', ?, ?, 'cas', ?, '', 1, ?, fromUnixTimestamp64Micro(?)",
            self.name
        );
        let micros = i64::try_from(micros).unwrap();
        let query = client().query(&insert).bind(seq).bind(namespace).bind(status).bind(bytes).bind(micros);
        query.execute().await.unwrap();
    }

    fn source(&self) -> ClickHouseRows {
        ClickHouseRows::new(client(), &self.settings).unwrap()
    }
}

async fn sum(source: &ClickHouseRows, names: &[&str], after: u64, until: u64) -> BTreeMap<String, (u64, i128)> {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let at = IngestionTime::from_micros;
    let sums = source.sum(&names, at(after), at(until)).await.unwrap();
    sums.into_iter().map(|(name, sum)| (name, (sum.rows, sum.bytes))).collect()
}

fn only(rows: u64, bytes: i128) -> BTreeMap<String, (u64, i128)> {
    [("acme".to_owned(), (rows, bytes))].into_iter().collect()
}

const BEGIN: u64 = 1_785_000_000_000_000;

#[tokio::test]
#[ignore = "needs a ClickHouse server, whose URL is in BLOBACCESS_CLICKHOUSE_URL"]
async fn sums_are_half_open_and_have_each_key_once_as_of_its_first_time_in_every_engine() {
    for (engine, time) in [(0, 0), (0, 1), (0, 2), (1, 1), (2, 0)] {
        let (engine, (time, tick)) = (ENGINES[engine], TYPES[time]);
        let table = Table::new(engine, time).await;
        let source = table.source();
        let at = |ticks: u64| BEGIN + ticks * tick;
        table.insert(1, "acme", "created", 100, at(10)).await;
        table.insert(1, "acme", "already_exists", 7, at(10)).await;
        table.insert(1, "other", "created", 1, at(10)).await;
        table.insert(2, "acme", "created", 20, at(20)).await;
        table.insert(3, "acme", "deleted", 50, at(30)).await;
        // The first batch comes again, and again with a clock that went back; the second one before its first time.
        table.insert(1, "acme", "created", 100, at(25)).await;
        table.insert(2, "acme", "created", 20, at(15)).await;
        for merged in [false, true] {
            let shown = format!("{engine}, {time}, merged: {merged}");
            let sum = async |after, until| sum(&source, &["acme"], at(after), at(until)).await;
            assert_eq!(sum(0, 100).await, only(3, 70), "{shown}");
            assert_eq!(sum(0, 10).await, only(1, 100), "{shown}");
            assert_eq!(sum(10, 14).await, BTreeMap::new(), "{shown}");
            assert_eq!(sum(10, 15).await, only(1, 20), "{shown}");
            assert_eq!(sum(15, 29).await, BTreeMap::new(), "{shown}");
            assert_eq!(sum(29, 30).await, only(1, -50), "{shown}");
            let both = self::sum(&source, &["acme", "other", "nobody"], 0, at(29)).await;
            assert_eq!(both.values().copied().collect::<Vec<_>>(), [(2, 120), (1, 1)], "{shown}");
            if engine != "Memory" {
                client().query_raw(&format!("OPTIMIZE TABLE {} FINAL", table.name)).execute().await.unwrap();
            }
        }
    }
}

#[tokio::test]
#[ignore = "needs a ClickHouse server, whose URL is in BLOBACCESS_CLICKHOUSE_URL"]
async fn names_and_numbers_of_any_kind_are_summed_up() {
    let table = Table::new(ENGINES[0], "DateTime64(3)").await;
    let names = ["'", "\\", "\\'; DROP TABLE x; --", "a\nb\tc", "ünï😀", "?", "", "`x`", "\\N", "%s {x:String}"];
    for (name, seq) in names.iter().zip(0..) {
        table.insert(seq, name, "created", 10, BEGIN).await;
    }
    table.insert(100, "huge", "created", i64::MAX, BEGIN).await;
    table.insert(101, "huge", "created", i64::MAX, BEGIN).await;
    let sums = sum(&table.source(), &[names.as_slice(), &["huge"]].concat(), 0, BEGIN).await;
    assert_eq!(sums.len(), 11);
    assert_eq!(sums["huge"], (2, 2 * i128::from(i64::MAX)));
    assert!(names.iter().all(|name| sums[*name] == (1, 10)), "{sums:?}");
    // Without the columns of a key, each row counts.
    let settings = table.settings.clone().without_column(OperationsField::Seq);
    let source = ClickHouseRows::new(client(), &settings).unwrap();
    table.insert(100, "huge", "created", i64::MAX, BEGIN + 5_000).await;
    assert_eq!(sum(&source, &["huge"], 0, 2 * BEGIN).await["huge"], (3, 3 * i128::from(i64::MAX)));
    assert_eq!(sum(&source, &["huge"], BEGIN, 2 * BEGIN).await["huge"], (1, i128::from(i64::MAX)));
}

#[tokio::test]
#[ignore = "needs a ClickHouse server, whose URL is in BLOBACCESS_CLICKHOUSE_URL"]
async fn footprints_are_exact_over_repeated_and_late_batches_in_every_engine() {
    let mut numbers = Numbers::new(seed("BLOBACCESS_FOOTPRINTS_SEED"));
    for (engine, (time, _)) in [(ENGINES[0], TYPES[0]), (ENGINES[1], TYPES[1])] {
        let table = Table::new(engine, time).await;
        let footprints = Arc::new(MemoryFootprints::new());
        let names = ["acme", "other"];
        assert!(names.into_iter().all(|name| footprints.insert(name)));
        let options = || FootprintOptions::new().with_rows_at_once(1);
        let accumulators = [(), ()].map(|()| {
            let shared: Arc<MemoryFootprints> = Arc::clone(&footprints);
            FootprintAccumulator::new(Arc::new(table.source()), shared, options())
        });
        let now = table.source().watermark(Duration::ZERO).await.unwrap().micros();
        assert_eq!(now % 1_000_000, 0);
        let mut truth = [0_i64; 2];
        let mut written = Vec::new();
        for turn in 0..12_u64 {
            let ago = (400 + numbers.draw() % 2_000) * 1_000_000;
            if numbers.below(3) == 0 && !written.is_empty() {
                let (seq, which, bytes) = written[numbers.below(written.len())];
                table.insert(seq, names[which], "created", bytes, now - ago).await;
            } else {
                let (which, bytes) = (numbers.below(2), i64::try_from(numbers.draw() >> 40).unwrap());
                table.insert(turn, names[which], "created", bytes, now - ago).await;
                written.push((turn, which, bytes));
                truth[which] += bytes;
            }
            let (one, two) = tokio::join!(accumulators[0].run_once(), accumulators[1].run_once());
            assert!(one.is_complete() && two.is_complete(), "{one}; {two}");
        }
        let found = names.map(|name| footprints.get(name).unwrap().footprint_bytes);
        assert_eq!(found, truth, "{engine}");
    }
}
