//! What stores gave up by themselves, as reports.

use std::time::SystemTime;

use blobaccess::{EvictionTotals, StorageType};

use crate::{Account, Amounts, Class, Epoch, Report, Reporter, Tally};

/// What a store gave up in its whole life, as a report of `reporter`, whose life is that of the store.
///
/// Its number follows from what it says: neither of the totals ever falls.
pub(crate) fn report(
    reporter: Reporter,
    storage_type: StorageType,
    released: &EvictionTotals,
    now: SystemTime,
) -> Report {
    let accounts: Vec<_> = released
        .totals
        .iter()
        .map(|total| {
            let deleted = Amounts::deleted(total.objects, total.stored_bytes);
            let tally: Tally = [(Class::DeletedByRotation, deleted)].into_iter().collect();
            (Account::new(total.account_name.clone(), storage_type), tally)
        })
        .collect();
    let objects = released.totals.iter().fold(0_u64, |sum, total| sum.saturating_add(total.objects));
    // Within the signed numbers of databases.
    let seq = objects.saturating_add(1).min(i64::MAX.unsigned_abs());
    Report::new(reporter, Epoch::from_bytes(released.source), seq, now, accounts)
}
