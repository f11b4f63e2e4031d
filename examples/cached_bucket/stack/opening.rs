//! The opening balance of a new ledger: the bytes that were in the bucket before.

use std::sync::Arc;

use blobaccess::{AccountName, Clock, Context, Error, Inventory, Result, StorageType, SystemClock};
use blobaccess_accounting::{Account, Adjustment, DriftInterval, DriftScan, Ledger, Reading, Reporting};

/// The account of everything that was in the bucket before its ledger began.
pub(crate) const BEFORE: &str = "__before__";

/// Returns whether `ledger` has its opening balance.
///
/// # Errors
///
/// Those of the ledger.
pub(super) async fn is_entered(ledger: &dyn Ledger) -> Result<bool> {
    let entered = ledger.adjustments().await?;
    Ok([StorageType::Cas, StorageType::Ac].into_iter().all(|storage_type| has_balance(&entered, storage_type)))
}

fn has_balance(entered: &[Adjustment], storage_type: StorageType) -> bool {
    entered.iter().any(|adjustment| adjustment.scan_id == scan_id(storage_type))
}

fn scan_id(storage_type: StorageType) -> String {
    format!("opening balance of {}", storage_type.name())
}

/// Lists the bucket if `ledger` has no opening balance, and enters what is there for the account [`BEFORE`]. So a bucket that
/// is not empty can be given to a new ledger. A balance of zero is entered too, so that a start that breaks off is made up for
/// by the next. Call it before anything is put.
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
    if is_entered(ledger).await? {
        return Ok(());
    }
    let entered = ledger.adjustments().await?;
    // Journals of earlier lives may be there all the same.
    reporting.flush().await?;
    for (storage_type, shard) in shards {
        if has_balance(&entered, *storage_type) {
            continue;
        }
        let scan_id = scan_id(*storage_type);
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
        let now = SystemClock.now();
        let balance = drift.repair(&scan_id, account.clone(), now);
        let balance = balance.unwrap_or_else(|| Adjustment::new(scan_id, account, 0, (0, 0), now));
        ledger.adjust(&[balance]).await?;
    }
    Ok(())
}
