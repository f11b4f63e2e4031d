//! The opening balance of a new ledger: the bytes that were in the bucket before.

use std::sync::Arc;

use blobaccess::{AccountName, Clock, Context, Error, Inventory, Result, StorageType, SystemClock};
use blobaccess_accounting::{Account, DriftInterval, DriftScan, Ledger, Reading, Reporting};

/// The account of everything that was in the bucket before its ledger began.
pub(crate) const BEFORE: &str = "__before__";

/// Lists the bucket if `ledger` is new, and enters what is there for the account [`BEFORE`]. So a bucket that is not empty
/// can be given to a new ledger. Call it before anything is put.
///
/// # Errors
///
/// Those of ledger and bucket. `FailedPrecondition` if the bucket has less than journals say that were found beside the
/// new ledger.
pub(super) async fn enter(
    ledger: &dyn Ledger,
    reporting: &Reporting,
    shards: &[(StorageType, Arc<dyn Inventory>)],
) -> Result<()> {
    if !ledger.lives().await?.is_empty() {
        return Ok(());
    }
    // Journals of earlier lives may be there all the same.
    reporting.flush().await?;
    for (storage_type, shard) in shards {
        let scan_id = format!("opening balance of {}", storage_type.name());
        let before = Reading::from_totals(&ledger.totals(None).await?, *storage_type);
        let scanned =
            DriftScan::new(scan_id.as_str(), vec![Arc::clone(shard)], before).run(&Context::background(), 1).await?;
        let drift = DriftInterval::new(&before, &scanned, &before);
        if drift.proved_bytes() > 0 {
            let (kind, bytes) = (storage_type.name(), drift.proved_bytes());
            let message =
                format!("the bucket has {bytes} bytes of {kind} less than the journals beside the new ledger say");
            return Err(Error::failed_precondition(message));
        }
        let account = Account::new(AccountName::new(BEFORE), *storage_type);
        if let Some(balance) = drift.repair(&scan_id, account, SystemClock.now()) {
            ledger.adjust(&[balance]).await?;
        }
    }
    Ok(())
}
