//! The contracts of ledgers, for the ledger in ClickHouse on a real server.
//!
//! `BLOBACCESS_CLICKHOUSE_URL` is the URL of the server: `http://localhost:8123`. Credentials are in
//! `BLOBACCESS_CLICKHOUSE_USER` and `BLOBACCESS_CLICKHOUSE_PASSWORD`.

use blobaccess_accounting::Epoch;
use blobaccess_accounting::conformance::{
    a_retired_life_is_not_awaited_until_it_reports_again, an_adjustment_counts_once_and_is_kept_with_its_proof,
    reports_in_any_order_and_number_come_to_the_truth,
};
use blobaccess_ledger_clickhouse::ClickHouseLedger;

#[tokio::test]
#[ignore = "needs a ClickHouse server, whose URL is in BLOBACCESS_CLICKHOUSE_URL"]
async fn a_ledger_in_clickhouse_keeps_the_contracts() {
    let url = std::env::var("BLOBACCESS_CLICKHOUSE_URL").expect("BLOBACCESS_CLICKHOUSE_URL is the server's URL");
    let mut client = clickhouse::Client::default().with_url(url);
    if let Ok(user) = std::env::var("BLOBACCESS_CLICKHOUSE_USER") {
        client = client.with_user(user);
    }
    if let Ok(password) = std::env::var("BLOBACCESS_CLICKHOUSE_PASSWORD") {
        client = client.with_password(password);
    }
    let ledger = ClickHouseLedger::new(client);
    ledger.create_tables().await.unwrap();
    // The server may have been tested before.
    let run = Epoch::random().unwrap();
    println!("run {run}");
    for seed in 0..2 {
        reports_in_any_order_and_number_come_to_the_truth(&ledger, &format!("{run}/reports {seed}"), seed).await;
    }
    an_adjustment_counts_once_and_is_kept_with_its_proof(&ledger, &format!("{run}/adjusted")).await;
    a_retired_life_is_not_awaited_until_it_reports_again(&ledger, &format!("{run}/retired")).await;
}
