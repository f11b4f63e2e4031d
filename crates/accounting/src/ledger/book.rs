//! The books of a ledger as a plain value: the meaning of reports, apart from their storage.

use std::collections::BTreeMap;
use std::time::SystemTime;

use blobaccess::AccountName;

use super::life::note_return;
use super::{Adjustment, Correction, InFlight, Life, Movement, Statement, Total};
use crate::report::{from_unix_millis, unix_millis};
use crate::{Account, Epoch, Report, Reporter, Tally};

/// The books of a ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Book {
    lives: BTreeMap<(Reporter, Epoch), Pages>,
    adjustments: BTreeMap<(String, Account), (Adjustment, bool)>,
    statements: BTreeMap<Account, Statement>,
    corrections: BTreeMap<(String, Account), Correction>,
}

/// The reports of one life of a reporter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Pages {
    seq: u64,
    taken_at_millis: u64,
    closed: bool,
    retired_seq: u64,
    reported: BTreeMap<Account, Tally>,
    consumed: BTreeMap<Account, Tally>,
}

impl Book {
    /// Applies a report: in each column, the higher number counts.
    pub(crate) fn apply(&mut self, report: &Report) {
        let pages = self.lives.entry((report.reporter.clone(), report.epoch)).or_default();
        if (pages.seq..report.seq).contains(&pages.retired_seq) && pages.retired_seq > 0 {
            note_return(&report.reporter, report.epoch);
        }
        // The time of the latest report, so that a clock that was ahead and is right again is seen to be right.
        let taken = (report.seq, unix_millis(report.taken_at));
        (pages.seq, pages.taken_at_millis) = taken.max((pages.seq, pages.taken_at_millis));
        pages.closed |= report.closed;
        for (account, tally) in &report.accounts {
            pages.reported.entry(account.clone()).or_default().raise(tally);
        }
    }

    pub(crate) fn adjust(&mut self, adjustment: &Adjustment) {
        let key = (adjustment.scan_id.clone(), adjustment.account.clone());
        self.adjustments.entry(key).or_insert_with(|| (adjustment.clone(), false));
    }

    pub(crate) fn totals(&self, account_name: Option<&AccountName>) -> Vec<Total> {
        let mut totals: BTreeMap<&Account, (Tally, i64)> = BTreeMap::new();
        for (account, tally) in self.lives.values().flat_map(|pages| &pages.reported) {
            totals.entry(account).or_default().0.add_all(tally);
        }
        for (adjustment, _) in self.adjustments.values() {
            let adjusted = &mut totals.entry(&adjustment.account).or_default().1;
            *adjusted = adjusted.saturating_add(adjustment.delta_bytes);
        }
        let wanted = |account: &Account| account_name.is_none_or(|account_name| account.account_name() == account_name);
        let totals = totals.into_iter().filter(|(account, _)| wanted(account));
        totals.map(|(account, (tally, adjusted))| Total::new(account.clone(), tally, adjusted)).collect()
    }

    pub(crate) fn lives(&self) -> Vec<Life> {
        let life = |((reporter, epoch), pages): (&(Reporter, Epoch), &Pages)| {
            let taken_at = from_unix_millis(pages.taken_at_millis);
            Life::new(reporter.clone(), *epoch, pages.seq, taken_at)
                .with_closed(pages.closed)
                .with_retired_seq(pages.retired_seq)
        };
        self.lives.iter().map(life).collect()
    }

    pub(crate) fn retire(&mut self, life: &Life) {
        if let Some(pages) = self.lives.get_mut(&(life.reporter.clone(), life.epoch)) {
            pages.retired_seq = pages.retired_seq.max(life.seq);
        }
    }

    pub(crate) fn in_flight(&self) -> Vec<InFlight> {
        let open = self.lives.iter().filter(|(_, pages)| !pages.closed);
        open.flat_map(|((reporter, epoch), pages)| {
            pages.reported.iter().filter_map(|(account, tally)| InFlight::from_tally(reporter, *epoch, account, tally))
        })
        .collect()
    }

    pub(crate) fn adjustments(&self) -> Vec<Adjustment> {
        self.adjustments.values().map(|(adjustment, _)| adjustment.clone()).collect()
    }

    pub(crate) fn consume(&mut self, now: SystemTime) -> Vec<Movement> {
        let mut moved: BTreeMap<Account, Movement> = BTreeMap::new();
        let mut movement = |account: &Account, tally: &Tally, adjusted: i64| {
            let movement =
                moved.entry(account.clone()).or_insert_with(|| Movement::new(account.clone(), Tally::new(), 0));
            movement.tally.add_all(tally);
            movement.adjusted_bytes = movement.adjusted_bytes.saturating_add(adjusted);
        };
        for pages in self.lives.values_mut() {
            for (account, reported) in &pages.reported {
                let consumed = pages.consumed.entry(account.clone()).or_default();
                movement(account, &reported.beyond(consumed), 0);
                *consumed = reported.clone();
            }
        }
        for (adjustment, consumed) in self.adjustments.values_mut() {
            if !std::mem::replace(consumed, true) {
                movement(&adjustment.account, &Tally::new(), adjustment.delta_bytes);
            }
        }
        for (account, movement) in &moved {
            let statement =
                self.statements.entry(account.clone()).or_insert_with(|| Statement::new(account.clone(), now));
            statement.advance(statement.next_time(now), movement);
        }
        moved.into_values().filter(|movement| !movement.tally.is_zero() || movement.adjusted_bytes != 0).collect()
    }

    pub(crate) fn statements(&self) -> Vec<Statement> {
        let mut statements: Vec<_> = self.statements.values().cloned().collect();
        Correction::add_all(self.corrections.values(), &mut statements);
        statements
    }

    pub(crate) fn correct(&mut self, correction: &Correction) {
        let key = (correction.correction_id.clone(), correction.account.clone());
        self.corrections.entry(key).or_insert_with(|| correction.clone());
    }

    pub(crate) fn corrections(&self) -> Vec<Correction> {
        self.corrections.values().cloned().collect()
    }

    pub(crate) fn rewind(&mut self, to: SystemTime) {
        for statement in self.statements.values_mut() {
            statement.rewind(to);
        }
    }
}
