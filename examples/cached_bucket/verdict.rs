//! The verdict on a ledger, once everything was uploaded: it equals the bucket, or some uploads are undecided, or it is wrong.

use blobaccess::StorageType;
use blobaccess_accounting::{Amounts, Class, DriftInterval, Tally, Total};

/// Returns nothing if the ledger equals the bucket, and what is undecided if uploads without a known end explain the
/// difference.
///
/// # Errors
///
/// A line that says how far the ledger is off, if nothing explains that.
pub(crate) fn judge(
    storage_type: StorageType,
    totals: &[Total],
    drift: &DriftInterval,
) -> Result<Option<String>, String> {
    let (kind, low, high) = (storage_type.name(), drift.low_bytes, drift.high_bytes);
    if (low, high) == (0, 0) {
        return Ok(None);
    }
    let mut sum = Tally::new();
    for total in totals.iter().filter(|total| total.account.storage_type() == storage_type) {
        sum.add_all(&total.tally);
    }
    let ends = [sum.get(Class::Ambiguous), sum.get(Class::Unclassified), sum.get(Class::Panicked)];
    let ends = ends.into_iter().fold(sum.in_flight(), Amounts::plus);
    let bytes = i128::from(ends.stored_bytes.max(ends.logical_bytes));
    // The bucket may have what the ledger does not. A ledger that has more is wrong in any case.
    if ends.objects > 0 && (-bytes..=0).contains(&low) {
        return Ok(Some(format!(
            "{} uploads of {kind}, of {bytes} bytes at most, are undecided: no answer said whether they were stored, so the \
             bucket may have up to that many bytes more than the ledger",
            ends.objects
        )));
    }
    Err(format!(
        "the ledger has {low} to {high} bytes of {kind} more than the bucket, and no undecided upload explains that"
    ))
}

#[cfg(test)]
mod tests {
    use blobaccess::AccountName;
    use blobaccess_accounting::{Account, Amounts, ErrorReason, Outcome, Reading, Scanned};

    use super::*;

    fn judged(lost: u64, reported: u64, scanned: u64) -> Result<Option<String>, String> {
        let mut tally = Tally::new();
        let ambiguous = Outcome::Error(ErrorReason::Ambiguous);
        for (class, outcome, bytes) in [
            (Class::Created, Outcome::Created { stored_bytes: reported }, reported),
            (Class::Ambiguous, ambiguous, lost),
        ] {
            if bytes > 0 {
                tally.add(Class::Started, Amounts::started(bytes));
                tally.add(class, Amounts::ended(outcome, bytes));
            }
        }
        let account = Account::new(AccountName::new("acme"), StorageType::Cas);
        let totals = [Total::new(account, tally, 0)];
        let reading = Reading::from_totals(&totals, StorageType::Cas);
        let drift = DriftInterval::new(&reading, &Scanned { objects: 1, stored_bytes: scanned }, &reading);
        judge(StorageType::Cas, &totals, &drift)
    }

    #[test]
    fn undecided_uploads_are_named_and_a_wrong_ledger_is_one() {
        assert_eq!(judged(0, 10, 10), Ok(None));
        let undecided = judged(5, 10, 15).unwrap().unwrap();
        assert!(undecided.starts_with("1 uploads of cas, of 5 bytes at most, are undecided"), "{undecided}");
        for (lost, reported, scanned) in [(0, 10, 15), (5, 10, 16), (5, 10, 9), (0, 10, 9)] {
            assert!(judged(lost, reported, scanned).unwrap_err().contains("no undecided upload explains that"));
        }
    }
}
