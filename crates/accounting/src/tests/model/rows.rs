//! Rows, on their way to the table of a site.

use super::{Mistake, World, reporter};
use crate::journal::{Record, State};
use crate::{Account, Tally};

/// The number of rows in one batch, so that several batches are open at once.
const MAX_BATCH_ROWS: usize = 1;

impl World {
    /// Returns the life of the process, and those before it that it reports.
    fn lives(&self) -> Vec<&State> {
        let process = self.process.iter();
        process.flat_map(|process| std::iter::once(&process.journal).chain(&process.dead)).collect()
    }

    fn life(&mut self, index: usize) -> &mut State {
        let process = self.process();
        match index.checked_sub(1) {
            None => &mut process.journal,
            Some(earlier) => &mut process.dead[earlier],
        }
    }

    /// Returns the lives that have an open batch.
    pub(super) fn lives_with_rows(&self) -> Vec<usize> {
        let lives = self.lives().into_iter().enumerate();
        lives.filter(|(_, life)| life.rows.open().next().is_some()).map(|(index, _)| index).collect()
    }

    /// Writes down the plans of all rows that are in no batch yet, of this life if it has no open batch.
    pub(super) fn plan_rows(&mut self) {
        if !self.bounds.has_rows {
            return;
        }
        let counted: Vec<_> =
            self.process().counted.iter().map(|(account, tally)| (account.clone(), tally.clone())).collect();
        for index in 0..self.lives().len() {
            let counted = if index == 0 { counted.clone() } else { self.life(index).totals() };
            let life = self.life(index);
            if index > 0 || life.rows.open().next().is_none() {
                let planned = life.rows.plan(&counted, 0, MAX_BATCH_ROWS);
                for record in &planned {
                    life.apply(record);
                }
            }
        }
        // A life without any rows is over as soon as the ledger has it.
        self.retire();
    }

    /// Sends the first open batch of a life. The table keeps what it has.
    pub(super) fn write(&mut self, index: usize, answered: bool) {
        let life = self.life(index);
        let number = life.rows.open().next().unwrap().0;
        let batch = life.rows.batch(number, &reporter(), life.epoch).unwrap();
        if answered {
            life.apply(&Record::Delivered { number });
        }
        for row in batch.rows {
            let key = (batch.epoch, batch.number, row.account, row.class);
            let kept = *self.table.entry(key).or_insert(row.amounts);
            assert_eq!(kept, row.amounts, "a batch that is sent again is another one");
        }
        self.retire();
    }

    /// Deletes the journals of earlier lives that the ledger and the table have.
    pub(super) fn retire(&mut self) {
        let needs_rows = self.bounds.has_rows && self.mistake != Mistake::RowsForgotten;
        if let Some(process) = &mut self.process {
            let acknowledged = &process.acknowledged;
            process.dead.retain(|life| {
                !acknowledged.contains(&life.epoch) || needs_rows && !life.rows.have_delivered(&life.totals())
            });
        }
    }

    /// Returns the sum of the rows of an account.
    pub(super) fn tally_of_rows(&self, account: &Account) -> Tally {
        let rows = self.table.iter().filter(|((_, _, of, _), _)| of == account);
        rows.map(|((_, _, _, class), amounts)| (*class, *amounts)).collect()
    }
}
