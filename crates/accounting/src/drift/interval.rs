//! The interval in which the drift lies, though uploads go on while the store is listed.

use std::time::SystemTime;

use blobaccess::StorageType;

use super::Scanned;
use super::sheet::Reported;
use crate::{Account, Adjustment, Total};

/// The sums of a ledger over all accounts of one kind, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Reading {
    /// The bytes that the accounts have in the store.
    pub footprint_bytes: i128,
    /// The bytes that were ever added.
    pub added_bytes: u64,
    /// The bytes that were ever removed.
    pub removed_bytes: u64,
    /// The logical size of uploads under way, in bytes, also of lives that are dead. A [`DriftWatch`](crate::DriftWatch) counts
    /// those of lives that are heard only.
    pub in_flight_bytes: u64,
}

impl Reading {
    /// Sums up the `totals` of stores of this kind.
    #[must_use]
    pub fn from_totals(totals: &[Total], storage_type: StorageType) -> Self {
        let mut reading = Self::default();
        for total in totals.iter().filter(|total| total.account.storage_type() == storage_type) {
            reading.footprint_bytes += total.footprint_bytes();
            reading.added_bytes = reading.added_bytes.saturating_add(total.tally.added_bytes());
            reading.removed_bytes = reading.removed_bytes.saturating_add(total.tally.removed_bytes());
            let in_flight = total.tally.in_flight().logical_bytes;
            reading.in_flight_bytes = reading.in_flight_bytes.saturating_add(in_flight);
        }
        reading
    }
}

/// The interval in which the drift lies: the bytes reported minus the bytes stored.
///
/// A listing takes time. Blobs that are created or deleted meanwhile may be listed or not, so a scan proves an interval.
/// In a quiet store, it is a single number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct DriftInterval {
    /// The lowest possible drift, in bytes. If it is above 0, too much was reported.
    pub low_bytes: i128,
    /// The highest possible drift, in bytes. If it is below 0, too little was reported.
    pub high_bytes: i128,
    /// The bytes that were reported before the listing.
    pub reported_bytes: i128,
    /// The bytes that were listed.
    pub actual_bytes: u64,
}

impl DriftInterval {
    /// Computes the interval for a listing between two readings.
    ///
    /// Take the second reading after every reporter has reported everything until the end of the listing. The interval then
    /// holds however late the reports were: 0 lies in it if the accounts are right.
    #[must_use]
    pub fn new(before: &Reading, scanned: &Scanned, after: &Reading) -> Self {
        let added = after.added_bytes.saturating_sub(before.added_bytes).saturating_add(after.in_flight_bytes);
        let removed = after.removed_bytes.saturating_sub(before.removed_bytes);
        let difference = before.footprint_bytes - i128::from(scanned.stored_bytes);
        Self {
            low_bytes: difference - i128::from(removed),
            high_bytes: difference + i128::from(added),
            reported_bytes: before.footprint_bytes,
            actual_bytes: scanned.stored_bytes,
        }
    }

    /// Computes the interval of an account: `unknown_bytes` of blobs without a known owner may be its own too, and of its
    /// uploads under way, at most `in_flight_bytes` can have been listed.
    pub(super) fn of_account(
        before: &Reported,
        listed_bytes: u64,
        unknown_bytes: u64,
        after: &Reported,
        in_flight_bytes: u64,
    ) -> Self {
        let added = after.added.saturating_sub(before.added).saturating_add(in_flight_bytes);
        let removed = after.removed.saturating_sub(before.removed).saturating_add(unknown_bytes);
        let difference = before.footprint - i128::from(listed_bytes);
        Self {
            low_bytes: difference - i128::from(removed),
            high_bytes: difference + i128::from(added),
            reported_bytes: before.footprint,
            actual_bytes: listed_bytes,
        }
    }

    /// Returns the interval of two subjects together.
    pub(super) fn plus(&self, other: &Self) -> Self {
        Self {
            low_bytes: self.low_bytes.saturating_add(other.low_bytes),
            high_bytes: self.high_bytes.saturating_add(other.high_bytes),
            reported_bytes: self.reported_bytes.saturating_add(other.reported_bytes),
            actual_bytes: self.actual_bytes.saturating_add(other.actual_bytes),
        }
    }

    /// Returns the middle in whole percent of the bytes stored, or of `floor_bytes` if that is more, rounded away from 0: what
    /// is beyond 10 % is not 10.
    #[must_use]
    pub fn percent(&self, floor_bytes: u64) -> i64 {
        let points = self.basis_points(floor_bytes);
        points.signum().saturating_mul(points.saturating_abs().saturating_add(99) / 100)
    }

    /// Returns the middle of the interval, in bytes.
    #[must_use]
    pub const fn middle_bytes(&self) -> i128 {
        i128::midpoint(self.low_bytes, self.high_bytes)
    }

    /// Returns the width of the interval, in bytes.
    #[must_use]
    pub const fn width_bytes(&self) -> i128 {
        self.high_bytes - self.low_bytes
    }

    /// Returns the middle in hundredths of a percent of the bytes stored, or of `floor_bytes` if that is more.
    #[must_use]
    pub fn basis_points(&self, floor_bytes: u64) -> i64 {
        let base = i128::from(self.actual_bytes.max(floor_bytes).max(1));
        let points = self.middle_bytes().saturating_mul(10_000) / base;
        i64::try_from(points).unwrap_or(if points < 0 { i64::MIN } else { i64::MAX })
    }

    /// Returns the drift that is proved, in bytes: the end of the interval that is closer to 0, or 0 if 0 lies in it.
    #[must_use]
    pub const fn proved_bytes(&self) -> i128 {
        if self.low_bytes > 0 {
            self.low_bytes
        } else if self.high_bytes < 0 {
            self.high_bytes
        } else {
            0
        }
    }

    /// Makes a correction of `account` by the proved drift and no more; `None` if no drift is proved.
    #[must_use]
    pub fn repair(&self, scan_id: &str, account: Account, now: SystemTime) -> Option<Adjustment> {
        let clamp = |bytes: i128| i64::try_from(bytes).unwrap_or(if bytes < 0 { i64::MIN } else { i64::MAX });
        let proved = self.proved_bytes();
        let drift = (clamp(self.low_bytes), clamp(self.high_bytes));
        (proved != 0).then(|| Adjustment::new(scan_id, account, clamp(-proved), drift, now))
    }
}

#[cfg(test)]
mod tests {
    use blobaccess::AccountName;
    use proptest::prelude::*;

    use super::*;

    fn interval(footprint: i128, scanned: u64, added: u64, removed: u64) -> DriftInterval {
        let before = Reading { footprint_bytes: footprint, ..Reading::default() };
        let after = Reading { added_bytes: added, removed_bytes: removed, ..before };
        DriftInterval::new(&before, &Scanned { objects: 1, stored_bytes: scanned }, &after)
    }

    #[test]
    fn in_a_quiet_store_the_interval_is_a_number() {
        let drift = interval(110, 100, 0, 0);
        assert_eq!((drift.low_bytes, drift.high_bytes, drift.proved_bytes()), (10, 10, 10));
        assert_eq!((drift.basis_points(1), drift.basis_points(1_000)), (1_000, 100));
    }

    #[test]
    fn only_what_is_proved_is_repaired() {
        let account = Account::new(AccountName::new("a"), StorageType::Cas);
        let repair = |drift: DriftInterval| {
            drift.repair("scan", account.clone(), SystemTime::UNIX_EPOCH).map(|adjustment| adjustment.delta_bytes)
        };
        assert_eq!(repair(interval(110, 100, 5, 3)), Some(-7));
        assert_eq!(repair(interval(90, 100, 3, 5)), Some(7));
        assert_eq!(repair(interval(110, 100, 5, 20)), None);
    }

    proptest! {
        /// Checks that 0 is never ruled out for right accounts, reported late, of a store that is listed while blobs come and
        /// go.
        #[test]
        fn right_accounts_are_never_proved_wrong(
            events in proptest::collection::vec((1_u64..1_000, any::<bool>(), 0_usize..20, 0_usize..20), 0..40),
            begin in 0_usize..20, length in 0_usize..20,
            listed in proptest::collection::vec(any::<bool>(), 40),
        ) {
            // Each event creates a blob, or also deletes it, at a time of its own; the report comes later.
            let end = begin + length;
            let (mut before, mut after, mut stored) = (Reading::default(), Reading::default(), 0);
            for (index, (bytes, deletes, at, late)) in events.iter().enumerate() {
                let (created_at, deleted_at) = (*at, at + 3);
                for (reading, limit) in [(&mut before, begin), (&mut after, usize::MAX)] {
                    if created_at + late <= limit {
                        reading.added_bytes += bytes;
                        reading.footprint_bytes += i128::from(*bytes);
                    }
                    if *deletes && deleted_at + late <= limit {
                        reading.removed_bytes += bytes;
                        reading.footprint_bytes -= i128::from(*bytes);
                    }
                }
                let throughout = created_at <= begin && (!deletes || deleted_at > end);
                let ever = created_at <= end && (!deletes || deleted_at > begin);
                if throughout || (ever && listed[index]) {
                    stored += bytes;
                }
            }
            let drift = DriftInterval::new(&before, &Scanned { objects: 0, stored_bytes: stored }, &after);
            prop_assert_eq!(drift.proved_bytes(), 0, "{:?}", drift);
        }
    }
}
