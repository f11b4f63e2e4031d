//! The contracts of ledgers, for every ledger of this crate.

use blobaccess_accounting::conformance::{
    a_retired_life_is_not_awaited_until_it_reports_again, an_adjustment_counts_once_and_is_kept_with_its_proof,
    consuming, reports_in_any_order_and_number_come_to_the_truth, statements_are_rewound_and_corrected,
};
use blobaccess_accounting::{Ledger, MemoryLedger, RedbLedger};

/// Some seeds, each of which draws other reports in another order.
const SEEDS: std::ops::Range<u64> = 0..8;

#[tokio::test]
async fn a_ledger_in_memory_keeps_the_contracts() {
    for seed in SEEDS {
        reports_in_any_order_and_number_come_to_the_truth(&MemoryLedger::new(), "t", seed).await;
        consuming(&MemoryLedger::new(), "t", seed).await;
    }
    an_adjustment_counts_once_and_is_kept_with_its_proof(&MemoryLedger::new(), "t").await;
    a_retired_life_is_not_awaited_until_it_reports_again(&MemoryLedger::new(), "t").await;
    statements_are_rewound_and_corrected(&MemoryLedger::new(), "t").await;
}

#[tokio::test]
async fn a_ledger_in_a_file_keeps_the_contracts() {
    let directory = tempfile::tempdir().unwrap();
    let ledger = RedbLedger::open(directory.path().join("ledger.redb")).unwrap();
    for seed in 0..2 {
        reports_in_any_order_and_number_come_to_the_truth(&ledger, &format!("reports {seed}"), seed).await;
        consuming(&ledger, &format!("consumed {seed}"), seed).await;
    }
    an_adjustment_counts_once_and_is_kept_with_its_proof(&ledger, "adjusted").await;
    a_retired_life_is_not_awaited_until_it_reports_again(&ledger, "retired").await;
    let ledger = RedbLedger::open(directory.path().join("statements.redb")).unwrap();
    statements_are_rewound_and_corrected(&ledger, "rewound").await;
}

#[tokio::test]
async fn a_ledger_in_a_file_outlives_its_process_and_is_of_one_process() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("ledger.redb");
    let ledger = RedbLedger::open(&path).unwrap();
    an_adjustment_counts_once_and_is_kept_with_its_proof(&ledger, "kept").await;
    assert!(RedbLedger::open(&path).is_err());
    let before = ledger.totals(None).await.unwrap();
    drop(ledger);
    let ledger = RedbLedger::open(&path).unwrap();
    assert_eq!(ledger.totals(None).await.unwrap(), before);
    std::fs::write(directory.path().join("other"), b"something else").unwrap();
    assert!(RedbLedger::open(directory.path().join("other")).is_err());
}
