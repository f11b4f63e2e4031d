//! The contracts of ledgers, for the ledger in PostgreSQL on a real server.
//!
//! `BLOBACCESS_POSTGRESQL_URL` is its address; `tests/servers/postgresql start DIRECTORY` starts one and prints it.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail so")]

mod server;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use blobaccess::{AccountName, ErrorKind, StorageType};
use blobaccess_accounting::conformance::{
    a_retired_life_is_not_awaited_until_it_reports_again, an_adjustment_counts_once_and_is_kept_with_its_proof,
    consuming, reports_in_any_order_and_number_come_to_the_truth, statements_are_rewound_and_corrected,
};
use blobaccess_accounting::{Account, Accumulator, Amounts, Class, Epoch, Ledger, Report, Reporter, Total};
use blobaccess_ledger_postgres::{PostgresLedger, PostgresOptions, PostgresTls};
use blobaccess_testkit::ManualClock;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use self::server::{address, query};

#[tokio::test]
#[ignore = "needs a PostgreSQL server, whose address is in BLOBACCESS_POSTGRESQL_URL"]
async fn a_ledger_in_postgresql_keeps_the_contracts() {
    // The server may have been tested before, and statements go on from the time until which they were consumed.
    let ledger = ledger("contracts").await;
    let run = Epoch::random().unwrap();
    println!("run {run}");
    for seed in 0..2 {
        reports_in_any_order_and_number_come_to_the_truth(&ledger, &format!("{run}/reports {seed}"), seed).await;
    }
    an_adjustment_counts_once_and_is_kept_with_its_proof(&ledger, &format!("{run}/adjusted")).await;
    a_retired_life_is_not_awaited_until_it_reports_again(&ledger, &format!("{run}/retired")).await;
    consuming(&ledger, &format!("{run}/consumed"), 7).await;
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server, whose address is in BLOBACCESS_POSTGRESQL_URL"]
async fn statements_in_postgresql_are_rewound_and_corrected_and_the_server_has_a_clock() {
    let ledger = ledger("rewound").await;
    statements_are_rewound_and_corrected(&ledger, "rewound").await;
    let year = Duration::from_hours(24 * 365);
    assert!(ledger.server_time().await.unwrap() > SystemTime::UNIX_EPOCH + 50 * year);
}

/// Makes a ledger with tables of its own.
async fn ledger(prefix: &str) -> PostgresLedger {
    let run = Epoch::random().unwrap().to_string();
    let prefix = format!("{prefix}_{}_", &run[..8]);
    let options = PostgresOptions::new().with_table_prefix(prefix);
    let ledger = PostgresLedger::with_options(&address(), options).unwrap();
    ledger.create_tables().await.unwrap();
    ledger
}

fn prefix(ledger: &PostgresLedger) -> String {
    let shown = format!("{ledger:?}");
    let (_, rest) = shown.split_once("prefix: \"").unwrap();
    rest.split_once('"').unwrap().0.to_owned()
}

fn report(epoch: u8, seq: u64, accounts: &[(&str, u64)]) -> Report {
    let tally = |bytes: u64| [(Class::Created, Amounts { objects: 1, stored_bytes: bytes, ..Amounts::default() })];
    let account = |(name, bytes): &(&str, u64)| {
        (Account::new(AccountName::new(*name), StorageType::Cas), tally(*bytes).into_iter().collect())
    };
    let (reporter, epoch) = (Reporter::new("host"), Epoch::from_bytes([epoch; 16]));
    Report::new(reporter, epoch, seq, SystemTime::UNIX_EPOCH, accounts.iter().map(account).collect())
}

async fn bytes(ledger: &PostgresLedger) -> Vec<(String, u64)> {
    let totals = ledger.totals(None).await.unwrap();
    let bytes = |total: &Total| (total.account.account_name().to_string(), total.tally.added_bytes());
    totals.iter().map(bytes).collect()
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server, whose address is in BLOBACCESS_POSTGRESQL_URL"]
async fn no_name_and_no_size_stops_a_report() {
    let ledger = ledger("names").await;
    let long = "y".repeat(70_000);
    ledger.apply(&[report(1, 1, &[("a\0b", 1), (&long, 2), ("acme", u64::MAX)])]).await.unwrap();
    ledger.apply(&[report(2, 1, &[("acme", u64::MAX)])]).await.unwrap();
    assert_eq!(ledger.snapshot().rows_set_aside, 0);
    let found = bytes(&ledger).await;
    assert!(found[1].0.starts_with("a\u{fffd}b~"), "{found:?}");
    assert_eq!(found.iter().map(|(_, bytes)| *bytes).collect::<Vec<_>>(), [i64::MAX.unsigned_abs(), 1, 2]);
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    for seconds in 0..3 {
        ledger.consume(at(seconds)).await.unwrap();
    }
    assert_eq!(ledger.statements().await.unwrap().len(), 3);
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server, whose address is in BLOBACCESS_POSTGRESQL_URL"]
async fn a_row_that_the_server_refuses_is_set_aside_and_counted() {
    let database = format!("latin_{}", &Epoch::random().unwrap().to_string()[..8]);
    query(&address(), &format!("CREATE DATABASE {database} ENCODING 'LATIN1' TEMPLATE template0")).await;
    let address = address();
    let (server, _) = address.rsplit_once('/').unwrap();
    let address = format!("{server}/{database}");
    let ledger = PostgresLedger::new(&address).unwrap();
    ledger.create_tables().await.unwrap();
    let names: Vec<_> = (0..20).map(|number| format!("tenant {number:02}")).collect();
    let mut accounts: Vec<_> = names.iter().map(|name| (name.as_str(), 7)).collect();
    accounts.insert(5, ("日本", 1));
    accounts.insert(17, ("中国", 1));
    ledger.apply(&[report(1, 1, &accounts)]).await.unwrap();
    assert_eq!(ledger.snapshot().rows_set_aside, 2);
    assert_eq!(bytes(&ledger).await, names.iter().map(|name| (name.clone(), 7)).collect::<Vec<_>>());
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server, whose address is in BLOBACCESS_POSTGRESQL_URL"]
async fn what_did_not_change_is_not_written() {
    let ledger = ledger("unchanged").await;
    let prefix = prefix(&ledger);
    let written = async |table: &str| {
        let sql = format!("SELECT MAX(xmin::text::bigint) FROM {prefix}{table}");
        query(&address(), &sql).await
    };
    let report = |seq, bytes| report(1, seq, &[("acme", bytes), ("other", 5)]);
    ledger.apply(&[report(1, 5)]).await.unwrap();
    ledger.consume(SystemTime::UNIX_EPOCH).await.unwrap();
    let before = (written("reported").await, written("statements").await);
    ledger.apply(&[report(2, 5)]).await.unwrap();
    ledger.consume(SystemTime::UNIX_EPOCH + Duration::from_secs(5)).await.unwrap();
    assert_eq!((written("reported").await, written("statements").await), before);
    let statements = ledger.statements().await.unwrap();
    assert_eq!(statements.iter().map(|statement| statement.byte_millis).collect::<Vec<_>>(), [25_000, 25_000]);
    ledger.apply(&[report(3, 6)]).await.unwrap();
    assert_ne!(written("reported").await, before.0);
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server, whose address is in BLOBACCESS_POSTGRESQL_URL"]
async fn lives_that_are_over_take_a_row_each_and_a_late_report_of_them_counts_nothing() {
    let ledger = ledger("folded").await;
    let rows = format!("SELECT COUNT(*) FROM {}reported", prefix(&ledger));
    for life in 1..=20 {
        let last = report(life, 2, &[("acme", 10), ("other", 1)]);
        ledger.apply(&[report(life, 1, &[("acme", 4)]), if life < 20 { last.closing() } else { last }]).await.unwrap();
        if life == 10 {
            ledger.consume(SystemTime::UNIX_EPOCH).await.unwrap();
        }
    }
    let before = bytes(&ledger).await;
    ledger.consume(SystemTime::UNIX_EPOCH).await.unwrap();
    assert_eq!(query(&address(), &rows).await, ["4"]);
    ledger.apply(&[report(3, 1, &[("acme", 4)]), report(3, 2, &[("acme", 10)]).closing()]).await.unwrap();
    assert_eq!(bytes(&ledger).await, before);
    assert_eq!(before, [("acme".to_owned(), 200), ("other".to_owned(), 20)]);
    assert_eq!(ledger.consume(SystemTime::UNIX_EPOCH).await.unwrap(), []);
    assert_eq!(ledger.lives().await.unwrap().len(), 20);
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server, whose address is in BLOBACCESS_POSTGRESQL_URL"]
async fn a_clock_that_is_ahead_once_bills_a_day_at_most() {
    let ledger = ledger("ahead").await;
    let at = |hours| SystemTime::UNIX_EPOCH + Duration::from_hours(hours);
    ledger.apply(&[report(1, 1, &[("acme", 1)])]).await.unwrap();
    for hours in [0, 365 * 24, 1, 2] {
        ledger.consume(at(hours)).await.unwrap();
    }
    let statement = ledger.statements().await.unwrap().remove(0);
    assert_eq!((statement.byte_hours(), statement.as_of), (24, at(24)));
    ledger.consume(at(30)).await.unwrap();
    assert_eq!(ledger.statements().await.unwrap().remove(0).byte_hours(), 30);
}

#[tokio::test]
#[ignore = "needs a PostgreSQL server, whose address is in BLOBACCESS_POSTGRESQL_URL"]
async fn tables_are_made_by_many_at_once_and_a_closed_connection_is_replaced() {
    let name = format!("many_{}_", &Epoch::random().unwrap().to_string()[..8]);
    let options = PostgresOptions::new().with_table_prefix(name.as_str());
    let named = format!("{}?application_name={name}", address());
    let ledgers: Vec<_> = (0..8).map(|_| PostgresLedger::with_options(&named, options.clone()).unwrap()).collect();
    let made = futures::future::join_all(ledgers.iter().map(PostgresLedger::create_tables)).await;
    assert!(made.iter().all(Result::is_ok), "{made:?}");
    let close = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '{name}'");
    assert_eq!(query(&address(), &close).await.len(), 8);
    for ledger in &ledgers {
        ledger.apply(&[report(1, 1, &[("acme", 1)])]).await.unwrap();
    }
    assert_eq!(bytes(&ledgers[0]).await, [("acme".to_owned(), 1)]);
}

#[tokio::test]
async fn a_server_that_is_silent_holds_up_nobody_for_longer_than_a_call_may_take() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let clock = ManualClock::new();
    let config = format!("host=127.0.0.1 port={port} user=nobody connect_timeout=2");
    let ledger = PostgresLedger::new(&config).unwrap().with_clock(Arc::new(clock.clone()));
    let reading = tokio::spawn(async move { ledger.totals(None).await.unwrap_err() });
    let (_silent, _) = listener.accept().await.unwrap();
    clock.until_sleepers(1).await;
    clock.advance(Duration::from_secs(30));
    let error = reading.await.unwrap();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("timed out after 30s"), "{error}");
}

/// Returns whether a ledger that trusts `trusted` has begun to speak to a server with the certificate `own`.
async fn speaks_to(own: &rcgen::CertifiedKey<rcgen::KeyPair>, trusted: &str) -> bool {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let tls = PostgresTls::with_roots(trusted.as_bytes()).unwrap();
    let ledger = PostgresLedger::new(&format!("host=localhost hostaddr=127.0.0.1 port={port} user=nobody")).unwrap();
    let ledger = ledger.with_tls(tls);
    let reading = tokio::spawn(async move { ledger.totals(None).await.unwrap_err() });
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = [0; 8];
    stream.read_exact(&mut request).await.unwrap();
    stream.write_all(b"S").await.unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let mut startup = Vec::new();
    if let Ok(mut encrypted) = tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(stream).await {
        startup = vec![0; 64];
        let length = encrypted.read(&mut startup).await.unwrap_or(0);
        startup.truncate(length);
    }
    drop(reading.await.unwrap());
    String::from_utf8_lossy(&startup).contains("nobody")
}

#[tokio::test]
async fn a_connection_is_encrypted_for_a_server_that_is_trusted_only() {
    let made = || rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (one, other) = (made(), made());
    assert!(speaks_to(&one, &one.cert.pem()).await);
    assert!(!speaks_to(&one, &other.cert.pem()).await);
    assert_eq!(PostgresTls::with_roots(b"nothing").unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let ledger = PostgresLedger::new("host=127.0.0.1 port=1 user=nobody").unwrap();
    assert_eq!(ledger.totals(None).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(ledger.apply(&[]).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[test]
fn what_describes_no_database_is_refused() {
    assert_eq!(PostgresLedger::new("host").unwrap_err().kind(), ErrorKind::InvalidArgument);
}
