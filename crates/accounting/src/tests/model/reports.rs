//! Reports, on their way to the ledger.

use std::time::SystemTime;

use super::{Mistake, World, reporter};
use crate::{Account, Report, Tally};

impl World {
    pub(super) fn reports(&mut self) -> Vec<Report> {
        let deltas = self.mistake == Mistake::DeltaReports;
        let process = self.process();
        process.seq += 1;
        let (epoch, seq) = (process.journal.epoch, process.seq);
        let said = |(account, tally): (&Account, &Tally)| {
            let before = process.reported.get(account).cloned().unwrap_or_default();
            (account.clone(), if deltas { tally.beyond(&before) } else { tally.clone() })
        };
        let accounts = process.counted.iter().map(said).collect();
        if deltas {
            process.reported = process.counted.clone();
        }
        let mut reports = vec![Report::new(reporter(), epoch, seq, SystemTime::UNIX_EPOCH, accounts)];
        reports.extend(process.dead.iter().map(|life| {
            Report::new(reporter(), life.epoch, u64::MAX, SystemTime::UNIX_EPOCH, life.totals()).closing()
        }));
        reports
    }

    pub(super) fn apply(&mut self, report: &Report) {
        let before = self.book.clone();
        self.book.apply(report);
        // I5: what was applied once changes nothing the second time.
        let once = self.book.clone();
        self.book.apply(report);
        assert_eq!(self.book, once);
        drop(before);
        for (account, tally) in &report.accounts {
            self.added_up.entry(account.clone()).or_default().add_all(tally);
        }
    }

    pub(super) fn deliver(&mut self, index: usize, answered: bool) {
        let report = self.network.remove(index);
        self.apply(&report);
        if answered && let Some(process) = &mut self.process {
            // The answer to what an earlier life had sent itself reaches nobody.
            if report.closed {
                process.acknowledged.insert(report.epoch);
            }
        }
        self.retire();
    }
}
