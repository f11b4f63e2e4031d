//! Rows of operations on a real engine: each comes once and keeps its first time, whatever is lost, restarted or refused.
//!
//! `tests/servers/clickhouse` starts the engine, and prints the variable that these tests need. Some ask it for faults, which
//! another server does not have.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail so")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use blobaccess::{
    AccountName, Clock, Context, Digest, DigestFunction, ErrorKind, InstanceName, StorageType, SystemClock,
};
use blobaccess_accounting::{
    Account, Accounts, AccountsOptions, Amounts, Class, DropReason, Epoch, OperationRow, Outcome, Reporter, Reporting,
    RowBatch, RowSink, RowsOptions,
};
use blobaccess_ledger_clickhouse::{ClickHouseOperations, OperationsEngine, OperationsField, OperationsTable};
use blobaccess_testkit::{Numbers, seed};
use clickhouse::{Client, Row};
use serde::Deserialize;
use tokio::sync::RwLock;

const ENGINES: [OperationsEngine; 2] = [OperationsEngine::MergeTree, OperationsEngine::ReplacingMergeTree];

fn url() -> String {
    std::env::var("BLOBACCESS_CLICKHOUSE_URL").expect("BLOBACCESS_CLICKHOUSE_URL is the server's URL")
}

fn client() -> Client {
    let client = Client::default().with_url(url());
    let client = match std::env::var("BLOBACCESS_CLICKHOUSE_USER") {
        Ok(user) => client.with_user(user),
        Err(_) => client,
    };
    match std::env::var("BLOBACCESS_CLICKHOUSE_PASSWORD") {
        Ok(password) => client.with_password(password),
        Err(_) => client,
    }
}

/// The engine: faults are for all, so whoever asks for some is alone.
static ENGINE: RwLock<()> = RwLock::const_new(());

/// Asks the engine of the tests for a fault.
fn fault(fault: &str) {
    let address = url().trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(&address).unwrap();
    write!(stream, "GET /fault/{fault} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// Kills the engine, and waits until it is there again.
async fn restart() {
    fault("restart");
    while client().query("SELECT 1").execute().await.is_err() {
        pass_time(20).await;
    }
}

/// Returns a table of its own for each test, as the server may have been tested before.
fn table(name: &str) -> OperationsTable {
    OperationsTable::default().with_table(format!("operations_{name}_{}", Epoch::random().unwrap()))
}

#[derive(Clone, Debug, PartialEq, Eq, Row, Deserialize)]
struct Stored {
    namespace: String,
    status: String,
    reason: String,
    seq: u64,
    bytes: i64,
    objects: u64,
    ingested_millis: i64,
}

/// Returns the rows of the table: as a consumer reads them, or with those that are not merged yet.
async fn stored(table: &OperationsTable, is_final: bool) -> Vec<Stored> {
    let query = format!(
        "SELECT namespace, toString(status) AS status, toString(reason) AS reason, seq, toInt64(bytes) AS bytes, objects, \
         toUnixTimestamp64Milli(ingested_at) AS ingested_millis FROM {} {} ORDER BY namespace, status, reason, epoch, seq",
        table.qualified_name(),
        if is_final { "FINAL" } else { "" },
    );
    loop {
        let rows = client().query(&query).fetch_all::<Stored>().await;
        // A fault that was asked for.
        if !matches!(rows, Err(clickhouse::error::Error::Network(_))) {
            return rows.unwrap();
        }
    }
}

fn created_at() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_hours(500_000)
}

fn batch(epoch: Epoch, number: u64, names: &[&str]) -> RowBatch {
    let rows = names.iter().zip(1..).map(|(name, objects)| {
        let account = Account::new(AccountName::new(*name), StorageType::Cas);
        OperationRow::new(account, Class::Created, Amounts::deleted(objects, 10 * objects))
    });
    RowBatch::new(Reporter::new("host"), epoch, number, created_at(), rows.collect())
}

/// Lets so many milliseconds pass, by the clock that the engine has too.
async fn pass_time(millis: u64) {
    SystemClock.sleep_until(SystemClock.monotonic() + Duration::from_millis(millis)).await;
}

#[tokio::test]
#[ignore = "needs a ClickHouse server, whose URL is in BLOBACCESS_CLICKHOUSE_URL"]
async fn a_batch_that_comes_again_changes_nothing_and_keeps_its_first_time() {
    let _engine = ENGINE.read().await;
    for engine in ENGINES {
        let table = table("again");
        let operations = ClickHouseOperations::new(client(), table.clone()).unwrap();
        operations.create_table(engine).await.unwrap();
        operations.create_table(engine).await.unwrap();
        operations.check_table().await.unwrap();
        let batch = batch(Epoch::random().unwrap(), 1, &["acme", "other"]);
        operations.write(&batch).await.unwrap();
        let first = stored(&table, false).await;
        assert_eq!(first.iter().map(|row| row.bytes).collect::<Vec<_>>(), [10, 20]);
        for repeated in [true, false, true] {
            pass_time(5).await;
            operations.write(&batch.clone().with_repeated(repeated)).await.unwrap();
            assert_eq!(stored(&table, false).await, first, "{engine:?}, {repeated}");
        }
        let snapshot = operations.snapshot();
        assert_eq!((snapshot.inserts, snapshot.rows_found, snapshot.rows_set_aside), (2, 4, 0));
        // Another batch with the same rows is another one.
        operations.write(&self::batch(batch.epoch, 2, &["acme", "other"])).await.unwrap();
        assert_eq!(stored(&table, false).await.len(), 4);
    }
}

#[tokio::test]
#[ignore = "needs a ClickHouse server, whose URL is in BLOBACCESS_CLICKHOUSE_URL"]
async fn an_insert_that_arrives_after_its_token_was_forgotten_is_merged_into_the_first() {
    let _engine = ENGINE.read().await;
    let table = table("forgotten");
    let operations = ClickHouseOperations::new(client(), table.clone()).unwrap();
    operations.create_table(OperationsEngine::ReplacingMergeTree).await.unwrap();
    let batch = batch(Epoch::random().unwrap(), 1, &["acme", "other"]);
    operations.write(&batch).await.unwrap();
    let first = stored(&table, true).await;
    pass_time(5).await;
    let name = table.qualified_name();
    let columns = "reporter, epoch, seq, namespace, kind, status, reason, objects, bytes, logical_bytes, unsized_bytes, \
                   created_at";
    let again = format!("INSERT INTO {name} ({columns}) SELECT {columns} FROM {name} WHERE namespace = 'acme'");
    client().query(&again).execute().await.unwrap();
    assert_eq!((stored(&table, false).await.len(), stored(&table, true).await), (3, first.clone()));
    client().query(&format!("OPTIMIZE TABLE {name} FINAL")).execute().await.unwrap();
    assert_eq!(stored(&table, false).await, first);
    // What is missing of a batch is completed, under the token that the server would know.
    client()
        .query(&format!("ALTER TABLE {name} DELETE WHERE namespace = 'other' SETTINGS mutations_sync = 2"))
        .execute()
        .await
        .unwrap();
    assert_eq!(stored(&table, true).await.len(), 1);
}

#[tokio::test]
#[ignore = "needs a ClickHouse server, whose URL is in BLOBACCESS_CLICKHOUSE_URL"]
async fn a_name_of_any_kind_is_stored_as_it_is() {
    let _engine = ENGINE.read().await;
    let table = table("names");
    let operations = ClickHouseOperations::new(client(), table.clone()).unwrap();
    operations.create_table(OperationsEngine::MergeTree).await.unwrap();
    let names =
        ["'", "\"", "\\", "\\'; DROP TABLE x; --", "a\nb\tc\u{0}", "}{", "ünï😀", "?", "", "\u{202e}", "`x`", "\\N"];
    let epoch = Epoch::random().unwrap();
    let rows = batch(epoch, 1, &names).rows;
    let batch = RowBatch::new(Reporter::new("ho'st\\ ?"), epoch, 1, created_at(), rows);
    operations.write(&batch).await.unwrap();
    operations.write(&batch.clone().with_repeated(true)).await.unwrap();
    assert_eq!(operations.snapshot().rows_found, u64::try_from(names.len()).unwrap());
    let mut expected: Vec<_> = batch.rows.iter().map(|row| row.account.account_name().as_str().to_owned()).collect();
    expected.sort();
    let found: Vec<_> = stored(&table, false).await.into_iter().map(|row| row.namespace).collect();
    assert_eq!(found, expected);
}

#[tokio::test]
#[ignore = "needs a ClickHouse server, whose URL is in BLOBACCESS_CLICKHOUSE_URL"]
async fn a_row_that_the_table_refuses_harms_itself_only() {
    let _engine = ENGINE.read().await;
    // A table of a site: other names and types, fewer columns, a constraint.
    let table = table("refusing")
        .with_column(OperationsField::Namespace, "repository")
        .with_column(OperationsField::StoredBytes, "size")
        .without_column(OperationsField::Reason)
        .without_column(OperationsField::UnsizedBytes)
        .with_growth_of_replaced("created");
    let name = table.qualified_name();
    let create = format!(
        "CREATE TABLE {name} (id UUID DEFAULT generateUUIDv4(), repository LowCardinality(String), size Int64, \
         kind Enum('cas', 'ac'), status String, objects UInt32, logical_bytes Nullable(UInt64), reporter String, epoch UUID, \
         seq Int64, created_at DateTime64(6, 'America/New_York'), ingested_at DateTime DEFAULT now(), \
         CONSTRAINT named CHECK repository NOT LIKE 'hostile%') ENGINE = MergeTree ORDER BY repository"
    );
    client().query(&create).execute().await.unwrap();
    let operations = ClickHouseOperations::new(client(), table.clone()).unwrap();
    operations.check_table().await.unwrap();
    let epoch = Epoch::random().unwrap();
    let all_hostile = batch(epoch, 1, &["hostile 1", "hostile 2"]);
    let error = operations.write(&all_hostile).await.unwrap_err();
    assert_eq!((error.kind(), operations.snapshot().rows_set_aside), (ErrorKind::FailedPrecondition, 0), "{error}");
    let names: Vec<_> = (0..20).map(|number| format!("good {number:02}")).collect();
    let mut names: Vec<_> = names.iter().map(String::as_str).collect();
    names.insert(3, "hostile 3");
    names.push("hostile 4");
    let mixed = batch(epoch, 2, &names);
    for repeated in [false, false, true] {
        let written = operations.write(&mixed.clone().with_repeated(repeated)).await.unwrap();
        assert_eq!(written.set_aside, 2);
    }
    // Now it is known that the table takes rows.
    assert_eq!(operations.write(&all_hostile.with_repeated(true)).await.unwrap().set_aside, 2);
    let query = format!("SELECT count() FROM {name} WHERE toHour(created_at, 'UTC') >= 0 AND reporter = 'host'");
    // A table without a window has the rows of the batch that was not said to be repeated twice.
    assert_eq!(client().query(&query).fetch_one::<u64>().await.unwrap(), 40);
    let missing = ClickHouseOperations::new(client(), table.with_column(OperationsField::Kind, "sort")).unwrap();
    let error = missing.check_table().await.unwrap_err();
    assert!(error.to_string().contains("sort"), "{error}");
    let error = missing.write(&mixed).await.unwrap_err();
    assert_eq!((error.kind(), missing.snapshot().rows_set_aside), (ErrorKind::Unavailable, 0), "{error}");
}

/// Reports through lost acknowledgements, crashes of the reporter and of the engine, and outages; then the table has all.
#[tokio::test]
#[ignore = "needs the engine of tests/servers/clickhouse, whose URL is in BLOBACCESS_CLICKHOUSE_URL"]
async fn faults_of_every_kind_leave_each_outcome_in_the_table_once() {
    let _engine = ENGINE.write().await;
    let seed = seed("BLOBACCESS_SIM_SEED");
    println!("seed {seed}");
    let mut numbers = Numbers::new(seed);
    for engine in ENGINES {
        let table = table("faults");
        let operations = Arc::new(ClickHouseOperations::new(client(), table.clone()).unwrap());
        operations.create_table(engine).await.unwrap();
        let journal = tempfile::tempdir().unwrap();
        let open = || {
            // Names that store nothing are counted together, unless they are known.
            let known = (0..4).map(|tenant| AccountName::new(format!("tenant {tenant}")));
            let options =
                AccountsOptions::new(Reporter::new("host")).with_journal(journal.path()).with_known_accounts(known);
            let accounts = Accounts::open(options).unwrap();
            let rows = RowsOptions::default().with_max_batch_rows(1 + usize::from(engine == ENGINES[0]) * 20);
            let sink = Arc::<ClickHouseOperations>::clone(&operations);
            (Arc::clone(&accounts), Reporting::without_ledger(accounts).with_rows(sink, rows))
        };
        let mut life = open();
        let mut truth: BTreeMap<(String, &str, &str), (u64, i64)> = BTreeMap::new();
        let mut before = Vec::new();
        for _ in 0..50 {
            for _ in 0..numbers.below(6) {
                let (status, reason) = put(&life.0, numbers.below(4), numbers.below(4), &mut truth);
                assert!(!status.is_empty(), "{reason}");
            }
            match numbers.below(12) {
                0 => fault("mute?times=1"),
                1 => fault("absent?times=2"),
                2 => restart().await,
                3 | 4 => {
                    drop(life);
                    life = open();
                }
                _ => drop(life.1.flush().await),
            }
            let now = stored(&table, false).await;
            // Nothing that a consumer has read changes or goes.
            assert!(before.iter().all(|row| now.contains(row)), "seed {seed}");
            before = now;
        }
        fault("mute?times=0");
        fault("absent?times=0");
        while !life.1.close().await.unwrap() {}
        let mut sums: BTreeMap<(String, &str, &str), (u64, i64)> = BTreeMap::new();
        let rows = stored(&table, false).await;
        for row in &rows {
            let key =
                truth.keys().find(|key| (key.0.as_str(), key.1, key.2) == (&row.namespace, &row.status, &row.reason));
            let sum = sums.entry(key.cloned().unwrap()).or_default();
            *sum = (sum.0 + row.objects, sum.1 + row.bytes);
        }
        assert_eq!(sums, truth, "{engine:?}, seed {seed}");
        assert_eq!(std::fs::read_dir(journal.path()).unwrap().count(), 0);
        println!("{engine:?}: {} rows, {:?}", rows.len(), operations.snapshot());
    }
}

/// Counts an upload that ended in one of four ways.
fn put(
    accounts: &Arc<Accounts>,
    tenant: usize,
    end: usize,
    truth: &mut BTreeMap<(String, &'static str, &'static str), (u64, i64)>,
) -> (&'static str, &'static str) {
    let tenant = format!("tenant {tenant}");
    let name = InstanceName::new(tenant.as_str()).unwrap();
    let digest = Digest::of(name, DigestFunction::Sha256, b"contents");
    let ticket = accounts.begin(&Context::background(), &digest, StorageType::Cas, 8).unwrap();
    let (status, reason, bytes) = match end {
        0 => {
            ticket.finish(Outcome::Created { stored_bytes: 5 });
            ("created", "", 5)
        }
        1 => {
            ticket.finish(Outcome::AlreadyExists { stored_bytes: 5 });
            ("already_exists", "", 5)
        }
        2 => {
            ticket.drop_as(DropReason::QueueFull, Some(5));
            ("dropped", "queue_full", 5)
        }
        _ => {
            ticket.fail(&blobaccess::Error::permission_denied("no"));
            ("rejected", "rejected", 0)
        }
    };
    let sum = truth.entry((tenant, status, reason)).or_default();
    *sum = (sum.0 + 1, sum.1 + bytes);
    (status, reason)
}
