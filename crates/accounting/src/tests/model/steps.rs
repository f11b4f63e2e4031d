//! The steps that a world can take.

use std::time::SystemTime;

use super::{KEYS, Mistake, World, account, storage_type};
use crate::rows::PlannedRows;
use crate::{Adjustment, ErrorReason, Outcome};

#[derive(Clone, Copy, Debug)]
pub(super) enum Action {
    Begin(u8),
    Commit(usize),
    Finish(usize),
    /// The answer is lost, and the store asked under the token.
    Lose(usize),
    /// The future is dropped before anything was sent.
    Drop(usize),
    Delete(u8),
    Crash,
    Restart,
    Flush,
    Deliver(usize),
    DeliverWithoutAnswer(usize),
    Vanish(usize),
    Duplicate(usize),
    /// The first open batch of rows of a life is sent: the life of the process, or an earlier one.
    Write(usize),
    WriteWithoutAnswer(usize),
    Consume,
    Scan,
    Adjust,
}

impl World {
    pub(super) fn actions(&self) -> Vec<Action> {
        let mut actions = Vec::new();
        let bounds = self.bounds;
        match &self.process {
            None => actions.push(Action::Restart),
            Some(process) => {
                if bounds.uploads > 0 && process.uploads.len() < 2 {
                    actions.extend(KEYS.map(|(key, _)| Action::Begin(key)));
                }
                for (index, upload) in process.uploads.iter().enumerate() {
                    if upload.stored.is_none() {
                        actions.extend([Action::Commit(index), Action::Drop(index)]);
                    } else {
                        actions.push(Action::Finish(index));
                    }
                    // Of an entry of a mutable kind, what is not answered is not known.
                    if bounds.faults > 0 && !storage_type(upload.key).is_mutable() {
                        actions.push(Action::Lose(index));
                    }
                }
                if bounds.deletions > 0 {
                    actions.extend(self.store.keys().map(|key| Action::Delete(*key)));
                }
                let uncertain = process.uploads.iter().any(|upload| storage_type(upload.key).is_mutable());
                if bounds.crashes > 0 && !uncertain {
                    actions.push(Action::Crash);
                }
                if bounds.flushes > 0 && self.network.len() < 3 {
                    actions.push(Action::Flush);
                }
            }
        }
        for life in self.lives_with_rows() {
            actions.push(Action::Write(life));
            if bounds.faults > 0 {
                actions.push(Action::WriteWithoutAnswer(life));
            }
        }
        for index in 0..self.network.len() {
            actions.push(Action::Deliver(index));
            if bounds.faults > 0 {
                actions.extend([Action::DeliverWithoutAnswer(index), Action::Vanish(index), Action::Duplicate(index)]);
            }
        }
        if bounds.consumptions > 0 {
            actions.push(Action::Consume);
        }
        if bounds.scans > 0 || self.scan.is_some() {
            actions.push(Action::Scan);
        }
        if bounds.adjustments > 0 {
            actions.push(Action::Adjust);
        }
        actions
    }

    pub(super) fn step(&mut self, action: Action) {
        match action {
            Action::Begin(key) => self.begin(key),
            Action::Commit(index) => self.commit(index),
            Action::Finish(index) => self.finish(index),
            Action::Lose(index) => {
                self.bounds.faults -= 1;
                self.lose(index);
            }
            Action::Drop(index) => {
                let upload = self.process().uploads.remove(index);
                self.end(&upload, Outcome::Error(ErrorReason::Cancelled));
            }
            Action::Delete(key) => self.delete(key),
            Action::Crash => {
                self.bounds.crashes -= 1;
                if let Some(mut process) = self.process.take() {
                    if self.mistake == Mistake::RowsInMemory {
                        process.journal.rows = PlannedRows::default();
                    }
                    self.journals.extend(process.dead);
                    self.journals.push(process.journal);
                }
            }
            Action::Restart => self.restart(),
            Action::Flush => {
                self.bounds.flushes -= 1;
                let reports = self.reports();
                self.network.extend(reports);
                self.plan_rows();
            }
            Action::Write(life) => self.write(life, true),
            Action::WriteWithoutAnswer(life) => {
                self.bounds.faults -= 1;
                self.write(life, false);
            }
            Action::Deliver(index) => self.deliver(index, true),
            Action::DeliverWithoutAnswer(index) => {
                self.bounds.faults -= 1;
                self.deliver(index, false);
            }
            Action::Vanish(index) => {
                self.bounds.faults -= 1;
                self.network.remove(index);
            }
            Action::Duplicate(index) => {
                self.bounds.faults -= 1;
                let report = self.network[index].clone();
                self.apply(&report);
            }
            Action::Consume => {
                self.bounds.consumptions -= 1;
                self.book.consume(SystemTime::UNIX_EPOCH);
            }
            Action::Scan => self.scan(),
            Action::Adjust => {
                self.bounds.adjustments -= 1;
                // An operator takes it back later, each of them once though it is sent twice.
                for delta in [5, -5, 5] {
                    let adjustment =
                        Adjustment::new(format!("{delta}"), account(0), delta, (0, 0), SystemTime::UNIX_EPOCH);
                    self.book.adjust(&adjustment);
                }
                self.adjusted = 0;
            }
        }
    }
}
