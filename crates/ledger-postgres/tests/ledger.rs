//! The contracts of ledgers, for the ledger in PostgreSQL on a real server.
//!
//! `BLOBACCESS_POSTGRESQL_URL` is its address; `tests/servers/postgresql start DIRECTORY` starts one and prints it.

use blobaccess::ErrorKind;
use blobaccess_accounting::conformance::{
    an_adjustment_counts_once_and_is_kept_with_its_proof, consuming, reports_in_any_order_and_number_come_to_the_truth,
};
use blobaccess_accounting::{Epoch, Ledger};
use blobaccess_ledger_postgres::PostgresLedger;

#[tokio::test]
#[ignore = "needs a PostgreSQL server, whose address is in BLOBACCESS_POSTGRESQL_URL"]
async fn a_ledger_in_postgresql_keeps_the_contracts() {
    let address =
        std::env::var("BLOBACCESS_POSTGRESQL_URL").expect("BLOBACCESS_POSTGRESQL_URL is the server's address");
    let ledger = PostgresLedger::new(&address).unwrap();
    ledger.create_tables().await.unwrap();
    // The server may have been tested before.
    let run = Epoch::random().unwrap();
    println!("run {run}");
    for seed in 0..2 {
        reports_in_any_order_and_number_come_to_the_truth(&ledger, &format!("{run}/reports {seed}"), seed).await;
    }
    an_adjustment_counts_once_and_is_kept_with_its_proof(&ledger, &format!("{run}/adjusted")).await;
    consuming(&ledger, &format!("{run}/consumed"), 7).await;
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
