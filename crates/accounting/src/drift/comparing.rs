//! The comparison of a sheet with the second reading: the intervals of accounts, of kinds and of everything.

use std::cmp::Reverse;
use std::collections::HashMap;

use blobaccess::StorageType;

use super::sheet::{Reported, Row, Sheet};
use super::{DriftAlarm, DriftAlarms, DriftFinding, DriftInterval, DriftSubject, KindDrift, Listed};
use crate::{Account, Total};

/// The uploads under way that may have been listed, of an account or of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct UnderWay {
    pub(super) objects: u64,
    pub(super) logical_bytes: u64,
}

impl UnderWay {
    pub(super) fn plus(self, objects: u64, logical_bytes: u64) -> Self {
        Self {
            objects: self.objects.saturating_add(objects),
            logical_bytes: self.logical_bytes.saturating_add(logical_bytes),
        }
    }

    /// Returns the most bytes of these uploads that a listing can have: their sizes, which peers announce as they like, each
    /// upload at most the largest blob that was listed, and all no more than what was listed.
    fn most_bytes(self, largest_bytes: u64, listed_bytes: u64) -> u64 {
        self.logical_bytes.min(self.objects.saturating_mul(largest_bytes)).min(listed_bytes)
    }
}

/// The number of scans in a row in which subjects were beyond the share that is tolerated.
pub(super) type Beyond = HashMap<DriftSubject, u32>;

/// The findings of a scan.
#[derive(Debug)]
pub(super) struct Comparison {
    pub(super) total: DriftFinding,
    pub(super) kinds: Vec<KindDrift>,
    /// The accounts that drift most, the worst first.
    pub(super) worst: Vec<DriftFinding>,
    pub(super) compared_accounts: usize,
    pub(super) proved_bytes_of_accounts: u128,
    pub(super) alarms: DriftAlarms,
    /// The subjects that are beyond the share now.
    pub(super) beyond: Beyond,
    /// The intervals that histograms observe: of accounts, or of a kind whose owners nobody knows.
    pub(super) observed: Vec<DriftInterval>,
}

/// The values of a comparison.
#[derive(Debug)]
pub(super) struct Compared<'a> {
    pub(super) sheet: &'a Sheet,
    /// Whether the blobs that were there before are those of an account.
    pub(super) adopted_has_account: bool,
    pub(super) totals: &'a [Total],
    pub(super) under_way: &'a HashMap<Account, UnderWay>,
    pub(super) alarm: &'a DriftAlarm,
    /// The subjects that were beyond the share at the scan before.
    pub(super) before: &'a Beyond,
    pub(super) worst: usize,
}

/// The sums of one kind, while its rows are added up.
#[derive(Debug, Default)]
struct KindSums {
    before: Reported,
    after: Reported,
    owned: Listed,
    in_flight_bytes: u64,
}

impl KindSums {
    fn add(&mut self, row: &Row, after: &Reported, in_flight_bytes: u64) {
        let (before, sum) = (&mut self.before, &mut self.after);
        before.footprint = before.footprint.saturating_add(row.before.footprint);
        // Each account counts what it added and removed since, and none less than nothing.
        sum.added = sum.added.saturating_add(after.added.saturating_sub(row.before.added));
        sum.removed = sum.removed.saturating_add(after.removed.saturating_sub(row.before.removed));
        self.owned = self.owned.plus(row.listed);
        self.in_flight_bytes = self.in_flight_bytes.saturating_add(in_flight_bytes);
    }
}

impl Compared<'_> {
    fn finding(&self, subject: DriftSubject, interval: DriftInterval, beyond: &mut Beyond) -> DriftFinding {
        let mut scans_beyond = 0;
        if self.alarm.is_beyond(&interval) {
            scans_beyond = self.before.get(&subject).copied().unwrap_or(0).saturating_add(1);
            beyond.insert(subject.clone(), scans_beyond);
        }
        DriftFinding {
            subject,
            interval,
            scans_beyond,
            is_alarm: scans_beyond > 0 && self.alarm.is_cause(scans_beyond),
        }
    }

    /// Returns the largest blob of each kind, and the uploads under way of those without a row.
    fn prepare(&self) -> (HashMap<StorageType, u64>, HashMap<StorageType, UnderWay>) {
        let mut largest: HashMap<StorageType, u64> = HashMap::new();
        for (account, row) in &self.sheet.accounts {
            let bytes = largest.entry(account.storage_type()).or_default();
            *bytes = row.listed.largest_bytes.max(*bytes);
        }
        for (storage_type, kind) in &self.sheet.kinds {
            let bytes = largest.entry(*storage_type).or_default();
            *bytes = kind.others.listed.plus(kind.unknown).largest_bytes.max(*bytes);
        }
        let mut others: HashMap<StorageType, UnderWay> = HashMap::new();
        for (account, uploads) in self.under_way {
            if !self.sheet.accounts.contains_key(account) {
                let sum = others.entry(account.storage_type()).or_default();
                *sum = sum.plus(uploads.objects, uploads.logical_bytes);
            }
        }
        (largest, others)
    }

    /// Compares everything.
    pub(super) fn compare(&self) -> Comparison {
        let (after, after_others) = self.sheet.sort_totals(self.totals);
        let (largest, others_under_way) = self.prepare();
        let mut kinds: Vec<_> = self.sheet.kinds.iter().map(|(storage_type, rows)| (*storage_type, *rows)).collect();
        kinds.sort_by_key(|(storage_type, _)| Account::storage_code(*storage_type));
        let mut beyond = Beyond::new();
        let mut by_kind: HashMap<StorageType, KindSums> = HashMap::new();
        let mut accounts = Vec::new();
        let unknown =
            |storage_type| self.sheet.kinds.get(&storage_type).map_or_else(Listed::default, |rows| rows.unknown);
        let mut add = |subject: DriftSubject, storage_type, row: &Row, after: Reported, uploads: UnderWay| {
            let unknown = unknown(storage_type);
            let may_have = row.listed.stored_bytes.saturating_add(unknown.stored_bytes);
            let in_flight = uploads.most_bytes(largest.get(&storage_type).copied().unwrap_or(0), may_have);
            let interval = DriftInterval::of_account(
                &row.before,
                row.listed.stored_bytes,
                unknown.stored_bytes,
                &after,
                in_flight,
            );
            by_kind.entry(storage_type).or_default().add(row, &after, in_flight);
            accounts.push((subject, storage_type, interval));
        };
        for (account, row) in &self.sheet.accounts {
            let uploads = self.under_way.get(account).copied().unwrap_or_default();
            let after = after.get(account).copied().unwrap_or(row.before);
            add(DriftSubject::Account(account.clone()), account.storage_type(), row, after, uploads);
        }
        for (storage_type, rows) in &kinds {
            let after = after_others.get(storage_type).copied().unwrap_or(rows.others.before);
            let uploads = others_under_way.get(storage_type).copied().unwrap_or_default();
            if rows.others != Row::default() || after != Reported::default() || uploads != UnderWay::default() {
                add(DriftSubject::OtherAccounts(*storage_type), *storage_type, &rows.others, after, uploads);
            }
        }

        let mut observed = Vec::new();
        let mut drifts = Vec::new();
        let mut alarms = DriftAlarms::default();
        let mut all: Option<DriftInterval> = None;
        for (storage_type, rows) in kinds {
            let sums = by_kind.remove(&storage_type).unwrap_or_default();
            let listed_bytes = sums.owned.stored_bytes.saturating_add(rows.unknown.stored_bytes);
            let in_flight = sums.in_flight_bytes.min(listed_bytes);
            let interval = DriftInterval::of_account(&sums.before, listed_bytes, 0, &sums.after, in_flight);
            let owned = if self.adopted_has_account { sums.owned.without(rows.adopted) } else { sums.owned };
            let by_account = rows.unknown.objects == 0 || owned.plus(rows.adopted).objects > 0;
            if !by_account {
                observed.push(interval);
            }
            let finding = self.finding(DriftSubject::Kind(storage_type), interval, &mut beyond);
            alarms.kinds += usize::from(finding.is_alarm);
            all = Some(all.map_or(interval, |all| all.plus(&interval)));
            let (adopted, unknown) = (rows.adopted, rows.unknown);
            drifts.push(KindDrift { storage_type, finding, owned, adopted, unknown, by_account });
        }
        let nothing = DriftInterval::of_account(&Reported::default(), 0, 0, &Reported::default(), 0);
        let total = self.finding(DriftSubject::Total, all.unwrap_or(nothing), &mut beyond);
        alarms.total = total.is_alarm;

        let is_compared =
            |storage_type| drifts.iter().any(|drift| drift.storage_type == storage_type && drift.by_account);
        let mut findings = Vec::new();
        for (subject, storage_type, interval) in accounts {
            if is_compared(storage_type) {
                observed.push(interval);
                findings.push(self.finding(subject, interval, &mut beyond));
            }
        }
        alarms.accounts = findings.iter().filter(|finding| finding.is_alarm).count();
        let compared_accounts = findings.len();
        let proved_bytes_of_accounts = findings
            .iter()
            .fold(0_u128, |sum, finding| sum.saturating_add(finding.interval.proved_bytes().unsigned_abs()));
        let badness = |finding: &DriftFinding| {
            Reverse((finding.interval.proved_bytes().unsigned_abs(), finding.interval.middle_bytes().unsigned_abs()))
        };
        if findings.len() > self.worst && self.worst > 0 {
            findings.select_nth_unstable_by_key(self.worst.saturating_sub(1), badness);
        }
        findings.truncate(self.worst);
        findings.sort_by_key(badness);
        Comparison {
            total,
            kinds: drifts,
            worst: findings,
            compared_accounts,
            proved_bytes_of_accounts,
            alarms,
            beyond,
            observed,
        }
    }
}
