//! The invariants of each state of a world, and of a world at rest.

use std::time::SystemTime;

use blobaccess::StorageType;

use super::{KEYS, Mistake, World, account, logical_bytes};
use crate::drift::{DriftInterval, Reading, Scanned};
use crate::{Class, Tally};

impl World {
    /// Scans in two halves: the first reads the ledger and lists the store, the second reads the ledger again.
    ///
    /// Anything may happen in between. The second half waits until everything until then has been reported.
    pub(super) fn scan(&mut self) {
        let reading = |world: &Self| Reading::from_totals(&world.book.totals(None), StorageType::Cas);
        match self.scan.take() {
            None => {
                self.bounds.scans -= 1;
                self.scan = Some(reading(self));
            }
            Some(before) => {
                let mut rested = self.clone();
                rested.rest();
                let stored = rested.store.get(&0).map_or(0, |(_, size)| *size);
                let scanned = Scanned { objects: 1, stored_bytes: stored };
                let drift = DriftInterval::new(&before, &scanned, &reading(&rested));
                assert_eq!(drift.proved_bytes(), 0, "{drift:?}");
            }
        }
    }

    /// Lets everything come to its end: no more faults, and all uploads are finished and reported.
    fn rest(&mut self) {
        if self.process.is_none() {
            self.restart();
        }
        while !self.process().uploads.is_empty() {
            if self.process().uploads[0].stored.is_none() {
                self.commit(0);
            }
            self.finish(0);
        }
        let reports = self.reports();
        self.network.extend(reports);
        while !self.network.is_empty() {
            self.deliver(0, true);
        }
        for _ in 0..2 {
            // What is counted while a batch is open is in the next one.
            self.plan_rows();
            while let Some(life) = self.lives_with_rows().first() {
                self.write(*life, true);
            }
        }
    }

    pub(super) fn check(&self) {
        if let Some(process) = &self.process {
            for (key, _) in KEYS {
                let under_way: Vec<_> = process.uploads.iter().filter(|upload| upload.key == key).collect();
                let logical: u64 = under_way.iter().map(|upload| logical_bytes(upload.number)).sum();
                let of = |tally: Option<&Tally>| tally.cloned().unwrap_or_default();
                let counted = of(process.counted.get(&account(key)));
                // I1: every upload that began has ended or is under way, in objects and bytes.
                let (started, ended) = (counted.get(Class::Started), counted.ended());
                assert_eq!(started.objects, ended.objects + u64::try_from(under_way.len()).unwrap());
                assert_eq!(started.logical_bytes, ended.logical_bytes + logical);
            }
            // I2: uploads under way have no outcome, and all others have one.
            let open: Vec<_> = process.journal.intents().keys().copied().collect();
            let mut under_way: Vec<_> = process.uploads.iter().map(|upload| upload.number).collect();
            under_way.sort_unstable();
            if self.mistake != Mistake::CountedBeforeWritten {
                assert_eq!(open, under_way);
            }
        }
        for (account, truth) in &self.truth {
            // I4 for rows: never more than happened.
            let rows = self.tally_of_rows(account);
            assert!(rows.added_bytes() <= truth.added_bytes, "{rows:?} of {truth:?}");
            assert!(rows.removed_bytes() <= truth.removed_bytes, "{rows:?} of {truth:?}");
        }
        for total in self.book.totals(None) {
            let truth = self.truth.get(&total.account).copied().unwrap_or_default();
            // I4: never more than happened.
            assert!(total.tally.added_bytes() <= truth.added_bytes, "{total:?} of {truth:?}");
            assert!(total.tally.removed_bytes() <= truth.removed_bytes, "{total:?} of {truth:?}");
            // I6: sizes in the store are below 100, logical ones above 1,000.
            let created = total.tally.get(Class::Created);
            assert!(created.stored_bytes < 100 * created.objects + 1);
            assert!(created.logical_bytes >= 1_000 * created.objects);
        }
    }

    /// Brings the world to rest, and checks that the ledger and the statements equal the store.
    pub(super) fn check_rested(&self) {
        let mut rested = self.clone();
        rested.rest();
        rested.check();
        rested.book.consume(SystemTime::UNIX_EPOCH);
        for (key, _) in KEYS {
            let stored = rested.store.get(&key).map_or(0, |(_, size)| i128::from(*size));
            let totals = rested.book.totals(None);
            let total = totals.iter().find(|total| total.account == account(key));
            let mut footprint = total.map_or(0, crate::Total::footprint_bytes);
            if self.bounds.has_rows && self.mistake != Mistake::NoReplay {
                let counted = total.map(|total| total.tally.clone()).unwrap_or_default();
                let outcomes: Tally = counted.iter().filter(|(class, _)| *class != Class::Started).collect();
                assert_eq!(rested.tally_of_rows(&account(key)), outcomes, "rows of account {key} at rest");
                assert_eq!(rested.process.as_ref().map(|process| process.dead.len()), Some(0));
            }
            if self.mistake == Mistake::DeltaReports {
                footprint = rested.added_up.get(&account(key)).map_or(0, Tally::net_bytes);
            }
            // I7: the net is what is stored, so it is never negative.
            assert_eq!(footprint, stored, "account {key} at rest");
            let statements = rested.book.statements();
            let statement = statements.iter().find(|statement| statement.account == account(key));
            if self.mistake == Mistake::None {
                assert_eq!(statement.map_or(0, crate::Statement::footprint_bytes), stored);
                // Nothing is under way in any life, so that I1 holds in the ledger too.
                assert!(total.is_none_or(|total| total.tally.in_flight().objects == 0));
            }
        }
    }
}
