//! A site's own table of footprints, and rows of operations, on a real server.
//!
//! `BLOBACCESS_POSTGRESQL_URL` is its address; `tests/servers/postgresql start DIRECTORY` starts one and prints it.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail so")]

mod server;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use blobaccess::{AccountName, ErrorKind, StorageType};
use blobaccess_accounting::{
    Account, Amounts, Class, Counted, Epoch, FootprintAccumulator, FootprintAddition, FootprintMark, FootprintOptions,
    FootprintRow, FootprintShard, FootprintTable, IngestionTime, OperationRow, Reporter, RowBatch, RowSink, RowSource,
    RowsWritten,
};
use blobaccess_ledger_postgres::{FootprintColumns, PostgresFootprints, PostgresRows};
use blobaccess_testkit::{ManualClock, Numbers, seed};
use tokio::net::TcpListener;

use self::server::{address, query};

/// A site: a schema with a table of the site's own.
struct Site {
    schema: String,
    columns: FootprintColumns,
    table: Arc<PostgresFootprints>,
}

impl Site {
    /// Makes the site, with a cursor of this type, in a session that is not in UTC.
    async fn new(cursor: &str) -> Self {
        let schema = format!("site_{}", &Epoch::random().unwrap().to_string()[..12]);
        let create = format!(
            "CREATE SCHEMA {schema}; CREATE TABLE {schema}.bazelre_cache_entries (id serial PRIMARY KEY,
            namespace varchar(255), storage_footprint_bytes bigint, last_ingested_at {cursor}, state text)"
        );
        query(&address(), &create).await;
        let columns = FootprintColumns::new().with_schema(&schema).with_active("state", "on");
        let table = Arc::new(PostgresFootprints::new(&elsewhere(), &columns).unwrap());
        table.create_tables().await.unwrap();
        Self { schema, columns, table }
    }

    async fn insert(&self, values: &str) {
        let table = &self.schema;
        let columns = "(namespace, storage_footprint_bytes, last_ingested_at, state)";
        query(&address(), &format!("INSERT INTO {table}.bazelre_cache_entries {columns} VALUES {values}")).await;
    }

    async fn rows(&self) -> Vec<FootprintRow> {
        self.table.active(FootprintShard::ALL, None, 100).await.unwrap()
    }

    async fn sql(&self, sql: &str) -> Vec<String> {
        query(&address(), &sql.replace("TABLE", &format!("{}.bazelre_cache_entries", self.schema))).await
    }
}

/// Returns the address of the server, for sessions in another time zone.
fn elsewhere() -> String {
    format!("{}?options=-c%20TimeZone%3DAmerica/St_Johns", address())
}

fn seconds(seconds: u64) -> IngestionTime {
    IngestionTime::from_micros(seconds * 1_000_000)
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server, whose address is in BLOBACCESS_POSTGRESQL_URL"]
async fn a_site_s_table_compares_before_it_adds_whatever_its_time_is_kept_in() {
    for cursor in ["timestamptz", "timestamp", "timestamp(0)", "timestamptz(3)"] {
        let site = Site::new(cursor).await;
        site.insert("('acme', NULL, NULL, 'on'), ('other', 7, NULL, 'on'), ('gone', 5, NULL, 'off')").await;
        let first = FootprintMark::new(seconds(1_785_000_000)).with_counted(Counted::new(seconds(9), -1, -7));
        let second = FootprintMark::new(seconds(1_785_000_900));
        let acme = |bytes, mark| FootprintRow::new("acme", bytes, mark);
        assert_eq!(site.rows().await, [acme(0, None), FootprintRow::new("other", 7, None)]);
        let table = &site.table;
        assert!(!table.add("acme", Some(&first), 3, &second).await.unwrap());
        assert!(table.add("acme", None, 3, &first).await.unwrap());
        assert!(!table.add("acme", None, 3, &first).await.unwrap());
        assert_eq!(site.rows().await[0], acme(3, Some(first)));
        let epoch = site.sql("SELECT EXTRACT(EPOCH FROM last_ingested_at)::bigint FROM TABLE WHERE id = 1").await;
        assert_eq!(epoch, ["1785000000"], "{cursor}");
        let other_count = first.with_counted(Counted::new(seconds(9), 0, -7));
        assert!(!table.add("acme", Some(&other_count), 3, &second).await.unwrap());
        assert!(table.add("acme", Some(&first), -10, &second).await.unwrap());
        assert_eq!(site.rows().await[0], acme(-7, Some(second)));
        assert!(table.import("other", None, &first).await.unwrap());
        assert!(!table.import("other", Some(1), &second).await.unwrap());
        assert_eq!(site.rows().await[1], FootprintRow::new("other", 7, Some(first)));
        // Another program advances the cursor: the count was for the cursor before.
        site.sql("UPDATE TABLE SET last_ingested_at = last_ingested_at + INTERVAL '1 hour' WHERE id = 2").await;
        let mark = FootprintMark::new(seconds(1_785_003_600));
        assert_eq!(site.rows().await[1], FootprintRow::new("other", 7, Some(mark)));
        for name in ["gone", "nobody"] {
            assert_eq!(table.add(name, None, 1, &first).await.unwrap_err().kind(), ErrorKind::NotFound);
        }
        let without = PostgresFootprints::new(&elsewhere(), &site.columns.clone().without_counts_table()).unwrap();
        assert!(!without.keeps_counts());
        let third = FootprintMark::new(seconds(1_785_009_000));
        assert!(without.add("acme", Some(&second), 1, &third).await.unwrap());
        assert_eq!(site.rows().await[0], acme(-6, Some(third)));
    }
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server, whose address is in BLOBACCESS_POSTGRESQL_URL"]
async fn a_table_refuses_what_it_would_round_wrap_or_take_for_another_row() {
    let site = Site::new("timestamp(0)").await;
    site.insert("('acme', 9223372036854775800, NULL, 'on'), ('twice', 0, NULL, 'on'), ('twice', 0, NULL, 'on')").await;
    site.insert("('endless', 0, 'infinity', 'on'), (NULL, 0, NULL, 'on')").await;
    let table = &site.table;
    let before = site.rows().await;
    assert_eq!(before.iter().map(|row| row.name.as_str()).collect::<Vec<_>>(), ["acme", "endless", "twice", "twice"]);
    assert_eq!(before[1].mark, None);
    let rounded = FootprintMark::new(IngestionTime::from_micros(1_785_000_000_700_000));
    let error = table.add("acme", None, 1, &rounded).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{error}");
    assert_eq!(table.import("acme", None, &rounded).await.unwrap_err().kind(), ErrorKind::FailedPrecondition);
    let whole = FootprintMark::new(seconds(1_785_000_000));
    let counted = FootprintMark::new(seconds(1_785_000_900)).with_counted(Counted::new(seconds(1_785_000_000), 3, 7));
    assert_eq!(table.add("acme", None, 8, &whole).await.unwrap_err().kind(), ErrorKind::OutOfRange);
    assert_eq!(table.add("twice", None, 8, &whole).await.unwrap_err().kind(), ErrorKind::FailedPrecondition);
    assert_eq!(table.add("a\0b", None, 8, &whole).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(site.rows().await, before);
    // One that cannot be made keeps no other.
    site.insert("('good', 1, NULL, 'on'), ('moved', 1, '2026-01-01', 'on')").await;
    for (bad, next, kind) in [
        ("acme", whole, ErrorKind::OutOfRange),
        ("nobody", whole, ErrorKind::NotFound),
        ("twice", whole, ErrorKind::FailedPrecondition),
        ("endless", rounded, ErrorKind::FailedPrecondition),
        ("a\0b", whole, ErrorKind::InvalidArgument),
    ] {
        site.sql("UPDATE TABLE SET last_ingested_at = NULL, storage_footprint_bytes = 1 WHERE namespace = 'good'")
            .await;
        let addition = |name, next| FootprintAddition::new(name, None, 8, next);
        let additions = [addition("good", whole), addition(bad, next), addition("moved", whole)];
        let added = table.add_all(&additions).await;
        let added: Vec<_> = added.into_iter().map(|added| added.map_err(|error| error.kind())).collect();
        assert_eq!(added, [Ok(true), Err(kind), Ok(false)]);
        let good = site.rows().await.remove(2);
        assert_eq!(good, FootprintRow::new("good", 9, Some(whole)), "beside {bad:?}");
    }
    let additions = ["good", "moved"].map(|name| FootprintAddition::new(name, Some(whole), 1, counted));
    let added: Vec<_> = table.add_all(&additions).await.into_iter().map(Result::unwrap).collect();
    assert_eq!((added, site.rows().await.remove(2)), (vec![true, false], FootprintRow::new("good", 10, Some(counted))));
    let additions = ["good", "twice"].map(|name| FootprintAddition::new(name, Some(counted), 1, whole));
    table.add_all(&additions).await.remove(0).unwrap();
    assert_eq!(site.rows().await.remove(2), FootprintRow::new("good", 11, Some(whole)));
    assert!(table.add("acme", None, 7, &whole).await.unwrap());
    assert_eq!(site.rows().await[0].footprint_bytes, i64::MAX);
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server, whose address is in BLOBACCESS_POSTGRESQL_URL"]
async fn pages_and_shards_have_each_row_once_in_the_order_of_the_server() {
    let site = Site::new("timestamptz").await;
    let names: Vec<_> = (0..60).map(|number| format!("{}{number}/Ä-é", ["b", "A", "a ", "Ö"][number % 4])).collect();
    let values = |name: &String| format!("('{name}', 0, NULL, 'on')");
    site.insert(&names.iter().map(values).collect::<Vec<_>>().join(", ")).await;
    let mut seen = Vec::new();
    for shard in [0, 1, 2].map(|index| FootprintShard::new(index, 3).unwrap()) {
        let mut after: Option<String> = None;
        loop {
            let page = site.table.active(shard, after.as_deref(), 7).await.unwrap();
            seen.extend(page.iter().map(|row| row.name.clone()));
            after = page.last().map(|row| row.name.clone());
            if page.len() < 7 {
                break;
            }
        }
    }
    assert_eq!(seen.len(), 60);
    seen.sort();
    let mut expected = names;
    expected.sort();
    assert_eq!(seen, expected);
}

fn batch(number: u64, rows: &[(&str, Class, u64)]) -> RowBatch {
    let rows = rows.iter().map(|(name, class, bytes)| {
        let account = Account::new(AccountName::new(*name), StorageType::Cas);
        OperationRow::new(account, *class, Amounts::deleted(1, *bytes))
    });
    let created_at = SystemTime::UNIX_EPOCH + Duration::from_mins(29_750_000);
    RowBatch::new(Reporter::new("ho'st"), Epoch::from_bytes([3; 16]), number, created_at, rows.collect())
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server, whose address is in BLOBACCESS_POSTGRESQL_URL"]
async fn a_batch_that_is_written_again_changes_nothing_and_keeps_its_first_time() {
    let operations = Operations::new().await;
    let rows = PostgresRows::new(&elsewhere(), &operations.table).unwrap().with_deletions();
    let hostile = "'; DROP TABLE x; --ünï😀";
    let first = batch(1, &[("acme", Class::Created, 100), (hostile, Class::Created, 7), ("acme", Class::QueueFull, 9)]);
    assert_eq!(rows.write(&first).await.unwrap(), RowsWritten::ALL);
    let shown = format!("SELECT CONCAT(t.*) FROM {} t ORDER BY 1", operations.table);
    let before = query(&address(), &shown).await;
    assert_eq!(before.len(), 3);
    assert!(before[1].contains("ho'st") && before[1].contains("2026-07-25 17:20"), "{before:?}");
    rows.write(&first.clone().with_repeated(true)).await.unwrap();
    rows.write(&first).await.unwrap();
    assert_eq!(query(&address(), &shown).await, before);
    rows.write(&batch(2, &[("acme", Class::DeletedOnRequest, 30), ("acme", Class::Created, 0)])).await.unwrap();
    rows.write(&batch(3, &[("acme", Class::Started, 5), ("acme", Class::Replaced, 5)])).await.unwrap();
    let names = ["acme", hostile].map(str::to_owned);
    let sums = rows.sum(&names, IngestionTime::START, seconds(1 << 40)).await.unwrap();
    assert_eq!((sums["acme"].rows, sums["acme"].bytes, sums[hostile].bytes), (3, 70, 7));
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server, whose address is in BLOBACCESS_POSTGRESQL_URL"]
async fn a_row_of_a_batch_that_the_server_refuses_is_set_aside() {
    let operations = Operations::new().await;
    let constraint = format!("ALTER TABLE {} ADD CONSTRAINT short CHECK (length(namespace) < 9)", operations.table);
    query(&address(), &constraint).await;
    let names: Vec<_> = (0..20).map(|number| format!("good {number:02}")).collect();
    let mut rows: Vec<_> = names.iter().map(|name| (name.as_str(), Class::Created, 1)).collect();
    rows.insert(4, ("much too long", Class::Created, 1));
    rows.push(("also too long", Class::Created, 1));
    let written = operations.source.write(&batch(1, &rows)).await.unwrap();
    assert_eq!(written.set_aside, 2);
    let sums = operations.source.sum(&names, IngestionTime::START, seconds(1 << 40)).await.unwrap();
    assert_eq!(sums.len(), 20);
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server, whose address is in BLOBACCESS_POSTGRESQL_URL"]
async fn a_table_that_refuses_everything_fails_the_batch_until_it_is_mended() {
    let names: Vec<_> = (0..40).map(|number| format!("name {number:02}")).collect();
    let rows =
        |count: usize| names.iter().take(count).map(|name| (name.as_str(), Class::Created, 1)).collect::<Vec<_>>();
    // An empty table refuses whatever it is, and one with rows by what the refusals show.
    for (rule, mend, is_empty, count) in [
        ("ADD more text NOT NULL", "DROP more", true, 1),
        ("ADD more text NOT NULL DEFAULT ''; ALTER TABLE TABLE ALTER more DROP DEFAULT", "DROP more", false, 3),
        ("ADD CONSTRAINT none CHECK (bytes < 0) NOT VALID", "DROP CONSTRAINT none", true, 3),
        ("ADD CONSTRAINT none CHECK (bytes < 0) NOT VALID", "DROP CONSTRAINT none", false, 40),
    ] {
        let operations = Operations::new().await;
        if !is_empty {
            operations.source.write(&batch(1, &[("acme", Class::Created, 1)])).await.unwrap();
        }
        query(
            &address(),
            &format!("ALTER TABLE TABLE {rule}").replace("TABLE TABLE", &format!("TABLE {}", operations.table)),
        )
        .await;
        let batch = batch(2, &rows(count));
        for _ in 0..2 {
            let error = operations.source.write(&batch).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{rule}: {error}");
        }
        query(&address(), &format!("ALTER TABLE {} {mend}", operations.table)).await;
        assert_eq!(operations.source.write(&batch).await.unwrap(), RowsWritten::ALL, "{rule}");
        let sums = operations.source.sum(&names, IngestionTime::START, seconds(1 << 40)).await.unwrap();
        assert_eq!(sums.len(), count, "{rule}");
    }
    // A few rows that break a rule of a table with others are set aside.
    let operations = Operations::new().await;
    operations.source.write(&batch(1, &[("acme", Class::Created, 1)])).await.unwrap();
    query(&address(), &format!("ALTER TABLE {} ADD CHECK (bytes < 2)", operations.table)).await;
    assert_eq!(operations.source.write(&batch(2, &[("acme", Class::Created, 2)])).await.unwrap().set_aside, 1);
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server, whose address is in BLOBACCESS_POSTGRESQL_URL"]
async fn an_attempt_at_a_batch_that_is_cut_short_brings_the_next_one_forward() {
    let operations = Operations::new().await;
    let table = &operations.table;
    // Half of the rows are refused, and each sixtieth row of all attempts ends its attempt.
    let cut_short = format!(
        "CREATE SEQUENCE rows_of_{table};
        CREATE FUNCTION cut_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF nextval('rows_of_{table}') % 60 = 0 THEN RAISE 'too slow' USING ERRCODE = 'query_canceled'; END IF;
            IF NEW.bytes > 1 THEN RAISE 'too many' USING ERRCODE = 'check_violation'; END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER cut BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION cut_{table}()"
    );
    query(&address(), &cut_short).await;
    let names: Vec<_> = (0..64).map(|number| format!("name {number:02}")).collect();
    let rows: Vec<_> = (0..).zip(&names).map(|(place, name)| (name.as_str(), Class::Created, 1 + place % 2)).collect();
    let batch = batch(1, &rows);
    let mut failed = 0;
    let written = loop {
        match operations.source.write(&batch).await {
            Ok(written) => break written,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
        }
        failed += 1;
        assert!(failed < 10, "no attempt brings the next one forward");
    };
    assert!(failed > 0, "an attempt is cut short");
    assert_eq!(written.set_aside, 32);
    let sums = operations.source.sum(&names, IngestionTime::START, seconds(1 << 40)).await.unwrap();
    assert_eq!(sums.len(), 32);
}

/// Rows of operations that a test writes by plain statements, with the time that it likes.
struct Operations {
    table: String,
    source: Arc<PostgresRows>,
    written: u64,
}

impl Operations {
    async fn new() -> Self {
        let table = format!("operations_{}", &Epoch::random().unwrap().to_string()[..12]);
        let source = Arc::new(PostgresRows::new(&elsewhere(), &table).unwrap());
        source.create_table().await.unwrap();
        Self { table, source, written: 0 }
    }

    /// Writes rows as of so many seconds ago, each twice, and returns the bytes that they create.
    async fn write(&mut self, name: &str, bytes: u64, seconds_ago: u64) {
        self.written += 1;
        let (table, seq) = (&self.table, self.written);
        for again in [0, 100] {
            let time = format!("clock_timestamp() - INTERVAL '{} s'", seconds_ago.saturating_sub(again));
            for (status, bytes) in [("created", bytes), ("already_exists", 77), ("error", 99)] {
                let sql = format!(
                    "INSERT INTO {table} VALUES ('host', 'epoch', {seq}, '{name}', 'cas', '{status}', '', 1, {bytes}, 1,
                    0, now(), {time}) ON CONFLICT DO NOTHING"
                );
                query(&address(), &sql).await;
            }
        }
    }
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server, whose address is in BLOBACCESS_POSTGRESQL_URL"]
async fn sums_are_half_open_and_have_what_was_created_once() {
    let mut operations = Operations::new().await;
    let source = Arc::clone(&operations.source);
    let now = source.watermark(Duration::ZERO).await.unwrap();
    assert_eq!(now.micros() % 1_000_000, 0);
    let ago = |seconds| now.before(Duration::from_secs(seconds));
    for (bytes, seconds_ago) in [(1, 1_000), (2, 500), (4, 0)] {
        operations.write("acme", bytes, seconds_ago).await;
    }
    operations.write("huge", i64::MAX.unsigned_abs(), 500).await;
    operations.write("huge", i64::MAX.unsigned_abs(), 500).await;
    let names = ["acme", "huge", "nobody"].map(str::to_owned);
    let sum = async |after, until| {
        let sums = source.sum(&names, after, until).await.unwrap();
        sums.get("acme").map(|sum| (sum.rows, sum.bytes)).unwrap_or_default()
    };
    assert_eq!(sum(IngestionTime::START, ago(100)).await, (2, 3));
    assert_eq!(sum(ago(800), ago(100)).await, (1, 2));
    assert_eq!(sum(ago(800), now).await, (1, 2));
    let times =
        format!("SELECT (EXTRACT(EPOCH FROM ingested_at) * 1000000)::bigint FROM {} WHERE bytes = 2", operations.table);
    let at = IngestionTime::from_micros(query(&address(), &times).await[0].parse().unwrap());
    assert_eq!(sum(IngestionTime::START, at).await, (2, 3));
    assert_eq!(sum(at, now).await, (0, 0));
    let sums = source.sum(&names, IngestionTime::START, now).await.unwrap();
    assert_eq!(sums["huge"].bytes, 2 * i128::from(i64::MAX));
    let hostile = ["acme", "a\0b"].map(str::to_owned);
    assert_eq!(source.sum(&hostile, at, now).await.unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server, whose address is in BLOBACCESS_POSTGRESQL_URL"]
async fn footprints_are_exact_while_connections_are_cut_and_runs_overlap() {
    let site = Site::new("timestamp(0)").await;
    let mut operations = Operations::new().await;
    let names = ["acme", "other", "third"];
    for name in names {
        site.insert(&format!("('{name}', 0, NULL, 'on')")).await;
    }
    let application = site.schema.clone();
    let accumulator = || {
        let address = format!("{}&application_name={application}", elsewhere());
        let table = PostgresFootprints::new(&address, &site.columns).unwrap();
        let source = PostgresRows::new(&address, &operations.table).unwrap();
        let options = FootprintOptions::new().with_rows_at_once(2);
        Arc::new(FootprintAccumulator::new(Arc::new(source), Arc::new(table), options))
    };
    let accumulators = [accumulator(), accumulator(), accumulator()];
    let cut =
        format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{application}'");
    let mut numbers = Numbers::new(seed("BLOBACCESS_FOOTPRINTS_SEED"));
    let mut truth = [0_i64; 3];
    let (mut failed, mut overtaken) = (0, 0);
    for turn in 0..30 {
        let which = numbers.below(3);
        let bytes = numbers.draw() >> 40;
        // Some come below the cursor, and are late.
        operations.write(names[which], bytes, 400 + numbers.draw() % 2_000).await;
        truth[which] += i64::try_from(bytes).unwrap();
        let running = accumulators.clone().map(|accumulator| tokio::spawn(async move { accumulator.run_once().await }));
        if turn % 2 == 0 {
            for _ in 0..numbers.below(200) {
                tokio::task::yield_now().await;
            }
            query(&address(), &cut).await;
        }
        for running in running {
            let run = running.await.unwrap();
            failed += run.failed;
            overtaken += run.overtaken;
        }
        for (row, truth) in site.rows().await.iter().zip(truth) {
            assert!(row.footprint_bytes <= truth, "{row:?} of {truth}");
        }
    }
    let run = accumulators[0].run_once().await;
    assert!(run.is_complete(), "{run}");
    let bytes: Vec<_> = site.rows().await.iter().map(|row| row.footprint_bytes).collect();
    assert_eq!(bytes, truth);
    let late: u64 = accumulators.iter().map(|accumulator| accumulator.snapshot().late_rows).sum();
    println!("{failed} rows failed, {overtaken} were overtaken, {late} rows were late");
    assert!(late > 0);
}

#[tokio::test]
async fn a_server_that_is_silent_holds_up_nobody_for_longer_than_a_call_may_take() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let clock = ManualClock::new();
    let config = format!("host=127.0.0.1 port={port} user=nobody");
    let table = PostgresFootprints::new(&config, &FootprintColumns::new()).unwrap();
    let table = table.with_clock(Arc::new(clock.clone())).with_timeout(Duration::from_secs(7));
    let mark = FootprintMark::new(seconds(1));
    let adding = tokio::spawn(async move { table.add("acme", None, 1, &mark).await.unwrap_err() });
    let (_silent, _) = listener.accept().await.unwrap();
    clock.until_sleepers(1).await;
    clock.advance(Duration::from_secs(7));
    let error = adding.await.unwrap();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("footprints in postgresql: timed out after 7s"), "{error}");
}

#[test]
fn what_is_no_database_or_table_is_refused() {
    let columns = FootprintColumns::new();
    assert_eq!(PostgresFootprints::new("host", &columns).unwrap_err().kind(), ErrorKind::InvalidArgument);
    let columns = columns.with_table("a; DROP TABLE b");
    assert_eq!(PostgresFootprints::new("host=a", &columns).unwrap_err().kind(), ErrorKind::InvalidArgument);
    for table in ["", "a b", &"x".repeat(55)] {
        assert_eq!(PostgresRows::new("host=a", table).unwrap_err().kind(), ErrorKind::InvalidArgument);
    }
    PostgresRows::new("host=a", &"x".repeat(54)).unwrap();
}
