use std::time::SystemTime;

use blobaccess::{ErrorKind, StorageType};
use blobaccess_accounting::{Amounts, Class, Epoch, Outcome, Reporter};
use clickhouse::Row;
use clickhouse::test::{Mock, handlers, status};

use super::*;

fn report() -> Report {
    let account = Account::new(AccountName::new("acme"), StorageType::Cas);
    let created = Amounts::ended(Outcome::Created { stored_bytes: 3 }, 7);
    let tally = [(Class::Started, Amounts::started(7)), (Class::Created, created)].into_iter().collect();
    let (reporter, epoch) = (Reporter::new("host"), Epoch::from_bytes([7; 16]));
    Report::new(reporter, epoch, 4, SystemTime::UNIX_EPOCH, vec![(account, tally)]).closing()
}

fn ledger(mock: &Mock) -> ClickHouseLedger {
    ClickHouseLedger::new(Client::default().with_mock(mock))
}

#[tokio::test]
async fn the_tables_keep_the_highest_of_each_number() {
    let mock = Mock::new();
    let recorded: Vec<_> = schema::TABLES.map(|_| mock.add(handlers::record_ddl())).into_iter().collect();
    ledger(&mock).create_tables().await.unwrap();
    let mut tables = Vec::new();
    for recording in recorded {
        tables.push(recording.query().await);
    }
    assert!(tables[0].contains("closed SimpleAggregateFunction(max, UInt8)"));
    assert!(tables[1].contains("stored_bytes SimpleAggregateFunction(max, UInt64)"));
    assert!(tables[1].contains("AggregatingMergeTree"));
}

#[tokio::test]
async fn a_report_is_inserted_as_it_is() {
    let mock = Mock::new();
    let reported = mock.add(handlers::record());
    let lives = mock.add(handlers::record());
    ledger(&mock).apply(&[report()]).await.unwrap();
    let reported: Vec<ReportedRow> = reported.collect().await;
    let classes: Vec<_> = reported.iter().map(|row| (row.class, row.objects, row.stored_bytes)).collect();
    assert_eq!(classes, [(Class::Started.code(), 1, 0), (Class::Created.code(), 1, 3)]);
    assert_eq!((reported[0].account_name.as_str(), reported[0].storage_type.as_str()), ("acme", "cas"));
    let lives: Vec<LifeRow> = lives.collect().await;
    assert_eq!(lives, [LifeRow::from_report(&report())]);
    assert_eq!((lives[0].epoch.as_str(), lives[0].seq, lives[0].closed), ("07".repeat(16).as_str(), 4, 1));
}

#[tokio::test]
async fn what_is_not_inserted_is_not_acknowledged() {
    let mock = Mock::new();
    mock.add(handlers::failure(status::FORBIDDEN));
    assert_eq!(ledger(&mock).apply(&[report()]).await.unwrap_err().kind(), ErrorKind::Unavailable);
    mock.add(handlers::record::<ReportedRow>());
    mock.add(handlers::exception(241));
    assert_eq!(ledger(&mock).apply(&[report()]).await.unwrap_err().kind(), ErrorKind::Unavailable);
    ledger(&mock).apply(&[]).await.unwrap();
}

fn total(class: u8, storage_type: &str) -> TotalRow {
    TotalRow {
        storage_type: storage_type.to_owned(),
        account_name: "acme".to_owned(),
        class,
        objects: 2,
        stored_bytes: 10,
        logical_bytes: 20,
        unsized_bytes: 0,
        old_bytes: 0,
    }
}

fn adjustment(account_name: &str) -> AdjustmentRow {
    AdjustmentRow {
        scan_id: "scan".to_owned(),
        storage_type: "cas".to_owned(),
        account_name: account_name.to_owned(),
        delta_bytes: -4,
        drift_low_bytes: 4,
        drift_high_bytes: 9,
        made_at_millis: 5,
    }
}

#[tokio::test]
async fn totals_are_rows_and_adjustments_together() {
    let mock = Mock::new();
    mock.add(handlers::provide([total(Class::Created.code(), "cas"), total(Class::DeletedOnRequest.code(), "ac")]));
    mock.add(handlers::provide([adjustment("acme"), adjustment("other")]));
    let totals = ledger(&mock).totals(Some(&AccountName::new("acme"))).await.unwrap();
    let footprints: Vec<_> = totals.iter().map(|total| (total.account.to_string(), total.footprint_bytes())).collect();
    assert_eq!(footprints, [("cas of acme".to_owned(), 6), ("ac of acme".to_owned(), -10)]);
}

#[tokio::test]
async fn rows_of_others_are_data_loss() {
    for row in [total(99, "cas"), total(1, "blobs")] {
        let mock = Mock::new();
        mock.add(handlers::provide([row]));
        assert_eq!(ledger(&mock).totals(None).await.unwrap_err().kind(), ErrorKind::DataLoss);
    }
    let mock = Mock::new();
    mock.add(handlers::provide([LifeRow { epoch: "7".to_owned(), ..LifeRow::from_report(&report()) }]));
    assert_eq!(ledger(&mock).lives().await.unwrap_err().kind(), ErrorKind::DataLoss);
}

#[tokio::test]
async fn lives_and_adjustments_are_read_as_they_were_written() {
    let mock = Mock::new();
    mock.add(handlers::provide([LifeRow::from_report(&report())]));
    let lives = ledger(&mock).lives().await.unwrap();
    assert_eq!(lives, [Life::new(report().reporter, report().epoch, 4, SystemTime::UNIX_EPOCH).with_closed(true)]);
    let recording = mock.add(handlers::record());
    mock.add(handlers::provide([adjustment("acme")]));
    let adjustments = [adjustment("acme").adjustment().unwrap()];
    ledger(&mock).adjust(&adjustments).await.unwrap();
    let rows: Vec<AdjustmentRow> = recording.collect().await;
    assert_eq!(rows, [adjustment("acme")]);
    assert_eq!(ledger(&mock).adjustments().await.unwrap(), adjustments);
}

#[tokio::test]
async fn a_life_is_retired_by_a_row_that_changes_nothing_else_of_it() {
    let mock = Mock::new();
    let recording = mock.add(handlers::record());
    let life = Life::new(report().reporter, report().epoch, 4, SystemTime::UNIX_EPOCH);
    ledger(&mock).retire(std::slice::from_ref(&life)).await.unwrap();
    let rows: Vec<LifeRow> = recording.collect().await;
    assert_eq!(rows, [LifeRow { seq: 0, closed: 0, retired_seq: 4, ..LifeRow::from_report(&report()) }]);
    mock.add(handlers::provide([LifeRow { closed: 0, retired_seq: 4, ..LifeRow::from_report(&report()) }]));
    assert_eq!(ledger(&mock).lives().await.unwrap(), [life.with_retired_seq(4)]);
}

#[tokio::test]
async fn uploads_under_way_are_those_begun_and_not_ended() {
    let mock = Mock::new();
    mock.add(handlers::provide([InFlightRow {
        reporter: "host".to_owned(),
        epoch: report().epoch.to_string(),
        storage_type: "cas".to_owned(),
        account_name: "acme".to_owned(),
        started: 5,
        ended: 3,
        started_bytes: 70,
        ended_bytes: 30,
    }]));
    let account = Account::new(AccountName::new("acme"), StorageType::Cas);
    let expected = [InFlight::new(report().reporter, report().epoch, account, 2, 40)];
    assert_eq!(ledger(&mock).in_flight().await.unwrap(), expected);
}

/// Compares the fields of rows, after which the client library names columns, with the tables. Its mock does not.
#[test]
fn the_fields_of_rows_are_columns_of_their_tables() {
    let rows = [
        (&LifeRow::COLUMN_NAMES[..5], schema::TABLES[0]),
        (&LifeRow::COLUMN_NAMES[5..], schema::TABLES[3]),
        (LifeRow::COLUMN_NAMES, schema::LIVES),
        (InFlightRow::COLUMN_NAMES, schema::IN_FLIGHT),
        (ReportedRow::COLUMN_NAMES, schema::TABLES[1]),
        (AdjustmentRow::COLUMN_NAMES, schema::TABLES[2]),
        (TotalRow::COLUMN_NAMES, schema::TOTALS),
    ];
    for (names, statement) in rows {
        for name in names {
            let column = statement.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == *name);
            assert!(column, "{name} is no column of\n{statement}");
        }
    }
}
