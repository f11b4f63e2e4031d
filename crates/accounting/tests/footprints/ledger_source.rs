//! Footprints from the totals of an embedded ledger.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use blobaccess::{AccountName, ErrorKind, StorageType};
use blobaccess_accounting::{
    Account, Adjustment, Amounts, Class, Epoch, FootprintAccumulator, FootprintMark, FootprintOptions, FootprintTable,
    IngestionTime, Ledger, LedgerSource, MemoryFootprints, RedbFootprints, RedbLedger, Report, Reporter,
};

fn account(name: &str, storage_type: StorageType) -> Account {
    Account::new(AccountName::new(name), storage_type)
}

fn report(seq: u64, name: &str, created: u64, deleted: u64) -> Report {
    let amounts = |bytes| Amounts { objects: 1, stored_bytes: bytes, ..Amounts::default() };
    let tally = |part: u64| {
        let counted = [(Class::Created, amounts(created / part)), (Class::DeletedOnRequest, amounts(deleted / part))];
        counted.into_iter().collect()
    };
    let taken_at = SystemTime::UNIX_EPOCH + Duration::from_millis(1_000 * seq + 500);
    let accounts = vec![(account(name, StorageType::Cas), tally(2)), (account(name, StorageType::Ac), tally(2))];
    Report::new(Reporter::new("host"), Epoch::from_bytes([1; 16]), seq, taken_at, accounts)
}

#[tokio::test]
async fn footprints_follow_an_embedded_ledger_up_and_down() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Arc::new(RedbLedger::open(folder.path().join("ledger")).unwrap());
    let source = LedgerSource::new(Arc::<RedbLedger>::clone(&ledger));
    let path = folder.path().join("footprints");
    let bytes = async |table: &RedbFootprints| {
        let rows = table.active(blobaccess_accounting::FootprintShard::ALL, None, 9).await.unwrap();
        rows.iter().map(|row| (row.name.clone(), row.footprint_bytes)).collect::<Vec<_>>()
    };
    let mut seq = 0;
    for (created, deleted, expected) in [(100, 0, 100), (160, 0, 160), (160, 90, 70), (200, 90, 110)] {
        seq += 1;
        ledger.apply(&[report(seq, "acme", created, deleted)]).await.unwrap();
        // Each time another life of the program.
        let table = Arc::new(RedbFootprints::open(&path).unwrap());
        table.insert(source.namespaces().await.unwrap()).await.unwrap();
        let shared: Arc<RedbFootprints> = Arc::clone(&table);
        let accumulator = FootprintAccumulator::new(Arc::new(source.clone()), shared, FootprintOptions::new());
        for _ in 0..2 {
            let run = accumulator.run_once().await;
            assert!(run.is_complete(), "{run}");
            assert!(run.until.is_none_or(|until| until == IngestionTime::from_micros(seq * 1_000_000)));
        }
        assert_eq!(bytes(&table).await, [("acme".to_owned(), expected)]);
    }
    let adjusted = Adjustment::new("scan", account("acme", StorageType::Cas), -10, (-10, -5), SystemTime::UNIX_EPOCH);
    ledger.adjust(&[adjusted]).await.unwrap();
    let table = Arc::new(RedbFootprints::open(&path).unwrap());
    let shared: Arc<RedbFootprints> = Arc::clone(&table);
    let accumulator = FootprintAccumulator::new(Arc::new(source), shared, FootprintOptions::new());
    assert_eq!(accumulator.run_once().await.bytes_added, -10);
    assert_eq!(bytes(&table).await, [("acme".to_owned(), 100)]);
}

#[tokio::test]
async fn of_a_ledger_nothing_that_was_imported_counts_again() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Arc::new(RedbLedger::open(folder.path().join("ledger")).unwrap());
    ledger.apply(&[report(1, "acme", 100, 0)]).await.unwrap();
    let source = Arc::new(LedgerSource::new(Arc::<RedbLedger>::clone(&ledger)));
    let table = Arc::new(MemoryFootprints::new());
    let shared: Arc<MemoryFootprints> = Arc::clone(&table);
    let accumulator = FootprintAccumulator::new(source, shared, FootprintOptions::new());
    let now = accumulator.source_time().await.unwrap();
    assert!(accumulator.import("acme", Some(5_000), now).await.unwrap());
    assert_eq!(accumulator.run_once().await.bytes_added, 0);
    ledger.apply(&[report(2, "acme", 130, 0)]).await.unwrap();
    assert_eq!(accumulator.run_once().await.bytes_added, 30);
    assert_eq!(table.get("acme").unwrap().footprint_bytes, 5_030);
    // Whoever has the cursor only cannot go on with totals.
    table.import("other", Some(1), &FootprintMark::new(now)).await.unwrap();
    let run = accumulator.run_once().await;
    assert_eq!((run.failed, run.failures[0].error.kind()), (1, ErrorKind::FailedPrecondition));
}
