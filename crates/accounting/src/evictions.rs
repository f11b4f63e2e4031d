//! Reports of the blobs that stores evicted by themselves.

use std::time::SystemTime;

use blobaccess::{EvictionTotals, StorageType};

use crate::{Account, Amounts, Class, Epoch, Report, Reporter, Tally};

/// Makes a report of everything that a store evicted in its whole life. The life of `reporter` is that of the store.
///
/// The number of the report follows from the totals, which never fall.
pub(crate) fn report(
    reporter: Reporter,
    storage_type: StorageType,
    evicted: &EvictionTotals,
    now: SystemTime,
) -> Report {
    let accounts: Vec<_> = evicted
        .totals
        .iter()
        .map(|total| {
            let deleted = Amounts::deleted(total.objects, total.stored_bytes);
            let tally: Tally = [(Class::DeletedByRotation, deleted)].into_iter().collect();
            (Account::new(total.account_name.clone(), storage_type), tally)
        })
        .collect();
    let objects = evicted.totals.iter().fold(0_u64, |sum, total| sum.saturating_add(total.objects));
    // Within the signed numbers of databases.
    let seq = objects.saturating_add(1).min(i64::MAX.unsigned_abs());
    Report::new(reporter, Epoch::from_bytes(evicted.source), seq, now, accounts)
}
