//! The rows of one life: those that were delivered, and the batches that are planned.

use std::collections::BTreeMap;

use super::{OperationRow, RowBatch};
use crate::journal::Record;
use crate::{Account, Amounts, Class, Epoch, Reporter, Tally, from_unix_millis};

/// The length of a minute, in milliseconds.
const MINUTE_MILLIS: u64 = 60_000;

/// The rows of one life: the sum of those that were delivered, and the batches that are planned and not acknowledged yet.
///
/// A batch is planned before it is sent. Its plan is in the journal, so that whoever sends it again sends the same. As counts
/// only grow, whatever is in no batch yet is one difference, however long the sink was away.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct PlannedRows {
    /// The highest number that was given to a batch.
    last_number: u64,
    delivered: BTreeMap<Account, Tally>,
    plans: BTreeMap<u64, Plan>,
}

/// The plan of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Plan {
    pub(crate) created_at_millis: u64,
    /// The number of accounts in the batch. With fewer, the plan was torn, or is damaged.
    accounts: u32,
    rows: BTreeMap<Account, Tally>,
}

impl Plan {
    /// Returns whether the plan is whole. One that was torn was never sent.
    fn is_whole(&self) -> bool {
        u32::try_from(self.rows.len()).is_ok_and(|accounts| accounts == self.accounts)
    }

    fn rows(&self) -> impl Iterator<Item = OperationRow> {
        self.rows.iter().flat_map(|(account, tally)| {
            tally.iter().map(|(class, amounts)| OperationRow::new(account.clone(), class, amounts))
        })
    }
}

impl PlannedRows {
    /// Applies a record about rows. Others change nothing.
    pub(crate) fn apply(&mut self, record: &Record) {
        match record {
            Record::Planned { number, created_at_millis, accounts } => {
                self.last_number = self.last_number.max(*number);
                self.plans.retain(|_, plan| plan.is_whole());
                let (created_at_millis, accounts) = (*created_at_millis, *accounts);
                self.plans.insert(*number, Plan { created_at_millis, accounts, rows: BTreeMap::new() });
            }
            // No number comes twice, though all else about its batch be damaged.
            Record::PlannedRows { number, account, tally } => {
                self.last_number = self.last_number.max(*number);
                if let Some(plan) = self.plans.get_mut(number) {
                    plan.rows.insert(account.clone(), tally.clone());
                }
            }
            // What is missing in a damaged plan goes into a later batch, as if it had not been sent.
            Record::Delivered { number } => {
                self.last_number = self.last_number.max(*number);
                for (account, tally) in self.plans.remove(number).map(|plan| plan.rows).unwrap_or_default() {
                    self.delivered.entry(account).or_default().add_all(&tally);
                }
            }
            Record::DeliveredRows { account, tally } => {
                self.delivered.entry(account.clone()).or_default().add_all(tally);
            }
            Record::Head { .. }
            | Record::Name { .. }
            | Record::Open(_)
            | Record::Sent { .. }
            | Record::End { .. }
            | Record::Deleted { .. }
            | Record::Totals { .. }
            | Record::Folded { .. } => {}
        }
    }

    /// Returns the fewest records with the same sum.
    pub(crate) fn compacted(&self) -> Vec<Record> {
        let mut records = Vec::new();
        records.extend(
            self.delivered
                .iter()
                .map(|(account, tally)| Record::DeliveredRows { account: account.clone(), tally: tally.clone() }),
        );
        if self.last_number > 0 {
            records.push(Record::Delivered { number: self.last_number });
        }
        for (number, plan) in self.plans.iter().filter(|(_, plan)| plan.is_whole()) {
            put_plan(&mut records, *number, plan.created_at_millis, plan.rows.clone().into_iter().collect());
        }
        records
    }

    /// Returns the records that plan batches of everything in `counted` that is in no batch yet, of at most `max_rows` each,
    /// made in the minute of `now_millis`.
    pub(crate) fn plan(&self, counted: &[(Account, Tally)], now_millis: u64, max_rows: usize) -> Vec<Record> {
        let created_at_millis = now_millis - now_millis % MINUTE_MILLIS;
        let mut records = Vec::new();
        let mut number = self.last_number;
        let mut batch = Vec::new();
        let mut rows = 0_usize;
        for (account, tally) in counted {
            let rest: Tally = self.rest(account, tally).collect();
            let more = rest.iter().count();
            if more == 0 {
                continue;
            }
            if !batch.is_empty() && rows.saturating_add(more) > max_rows {
                number = number.saturating_add(1);
                put_plan(&mut records, number, created_at_millis, std::mem::take(&mut batch));
                rows = 0;
            }
            rows = rows.saturating_add(more);
            batch.push((account.clone(), rest));
        }
        if !batch.is_empty() {
            put_plan(&mut records, number.saturating_add(1), created_at_millis, batch);
        }
        records
    }

    /// Returns the numbers of the batches that `records` plan.
    pub(crate) fn numbers(records: &[Record]) -> impl Iterator<Item = u64> {
        records.iter().filter_map(
            |record| {
                if let Record::Planned { number, .. } = record { Some(*number) } else { None }
            },
        )
    }

    /// Returns the counts of an account that are in no batch yet. Beginnings are in none.
    fn rest(&self, account: &Account, tally: &Tally) -> impl Iterator<Item = (Class, Amounts)> {
        let delivered = self.delivered.get(account);
        tally.iter().filter(|(class, _)| *class != Class::Started).filter_map(move |(class, amounts)| {
            let planned = self.whole().filter_map(|(_, plan)| plan.rows.get(account)).chain(delivered);
            let sent = planned.fold(Amounts::default(), |sum, tally| sum.plus(tally.get(class)));
            let rest = amounts.beyond(sent);
            (!rest.is_zero()).then_some((class, rest))
        })
    }

    /// Returns the number of rows in `counted` that are in no batch yet.
    pub(crate) fn count_rest(&self, counted: &[(Account, Tally)]) -> usize {
        counted.iter().map(|(account, tally)| self.rest(account, tally).count()).sum()
    }

    /// Returns whether all of `counted` was delivered.
    pub(crate) fn have_delivered(&self, counted: &[(Account, Tally)]) -> bool {
        self.whole().next().is_none()
            && counted.iter().all(|(account, tally)| self.rest(account, tally).next().is_none())
    }

    fn whole(&self) -> impl Iterator<Item = (u64, &Plan)> {
        self.plans.iter().filter(|(_, plan)| plan.is_whole()).map(|(number, plan)| (*number, plan))
    }

    /// Returns the batches that are planned and not acknowledged, by number.
    pub(crate) fn open(&self) -> impl Iterator<Item = (u64, &Plan)> {
        self.whole()
    }

    /// Returns the batch with this number, as it is sent each time; `None` if it is not planned.
    pub(crate) fn batch(&self, number: u64, reporter: &Reporter, epoch: Epoch) -> Option<RowBatch> {
        let plan = self.plans.get(&number).filter(|plan| plan.is_whole())?;
        let created_at = from_unix_millis(plan.created_at_millis);
        Some(RowBatch::new(reporter.clone(), epoch, number, created_at, plan.rows().collect()))
    }
}

fn put_plan(records: &mut Vec<Record>, number: u64, created_at_millis: u64, batch: Vec<(Account, Tally)>) {
    let accounts = u32::try_from(batch.len()).unwrap_or(u32::MAX);
    records.push(Record::Planned { number, created_at_millis, accounts });
    records.extend(batch.into_iter().map(|(account, tally)| Record::PlannedRows { number, account, tally }));
}

#[cfg(test)]
mod tests {
    use blobaccess::{AccountName, StorageType};

    use super::*;

    fn account(name: &str) -> Account {
        Account::new(AccountName::new(name), StorageType::Cas)
    }

    fn created(objects: u64) -> Tally {
        let started = (Class::Started, Amounts::started(objects));
        [started, (Class::Created, Amounts::deleted(objects, 10 * objects))].into_iter().collect()
    }

    fn bytes(rows: &PlannedRows, number: u64) -> u64 {
        let batch = rows.batch(number, &Reporter::new("host"), Epoch::from_bytes([1; 16])).unwrap();
        batch.rows.iter().map(|row| row.amounts.stored_bytes).sum()
    }

    fn apply(rows: &mut PlannedRows, records: &[Record]) {
        for record in records {
            rows.apply(record);
        }
    }

    #[test]
    fn an_outage_costs_one_more_batch_and_what_was_planned_stays_as_it_was() {
        let mut rows = PlannedRows::default();
        let planned = rows.plan(&[(account("a"), created(1))], 123_456, 100);
        apply(&mut rows, &planned);
        for objects in 2..100 {
            assert_eq!(rows.count_rest(&[(account("a"), created(objects))]), 1);
        }
        assert_eq!((bytes(&rows, 1), rows.open().next().unwrap().1.created_at_millis), (10, 120_000));
        rows.apply(&Record::Delivered { number: 1 });
        let planned = rows.plan(&[(account("a"), created(100))], 123_456, 100);
        apply(&mut rows, &planned);
        assert_eq!((bytes(&rows, 2), rows.open().count()), (990, 1));
        assert!(!rows.have_delivered(&[(account("a"), created(100))]));
        rows.apply(&Record::Delivered { number: 2 });
        assert!(rows.have_delivered(&[(account("a"), created(100))]));
        assert_eq!(rows.plan(&[(account("a"), created(100))], 0, 100), []);
    }

    #[test]
    fn batches_are_bounded_and_have_whole_accounts() {
        let mut rows = PlannedRows::default();
        let counted: Vec<_> = (0..25).map(|number| (account(&format!("{number:02}")), created(1))).collect();
        let planned = rows.plan(&counted, 0, 10);
        apply(&mut rows, &planned);
        let sizes: Vec<_> = rows.open().map(|(number, plan)| (number, plan.rows().count())).collect();
        assert_eq!(sizes, [(1, 10), (2, 10), (3, 5)]);
        let planned = PlannedRows::default().plan(&counted, 0, 0);
        assert_eq!(planned.iter().filter(|record| matches!(record, Record::Planned { .. })).count(), 25);
    }

    #[test]
    fn a_plan_that_was_torn_was_not_sent_and_its_number_does_not_come_again() {
        let counted = [(account("a"), created(1)), (account("b"), created(2))];
        let planned = PlannedRows::default().plan(&counted, 0, 10);
        for whole in 1..planned.len() {
            let mut rows = PlannedRows::default();
            apply(&mut rows, &planned[..whole]);
            assert_eq!((rows.open().count(), rows.count_rest(&counted)), (0, 2));
            let again = rows.plan(&counted, 0, 10);
            apply(&mut rows, &again);
            assert_eq!(rows.open().map(|(number, _)| number).collect::<Vec<_>>(), [2]);
            assert_eq!(bytes(&rows, 2), 30);
        }
    }

    #[test]
    fn compacted_records_say_the_same() {
        let mut rows = PlannedRows::default();
        for objects in 1..5 {
            let planned = rows.plan(&[(account("a"), created(objects)), (account("b"), created(1))], 60_000, 1);
            apply(&mut rows, &planned);
            if objects < 3 {
                let open: Vec<_> = rows.open().map(|(number, _)| number).collect();
                for number in open {
                    rows.apply(&Record::Delivered { number });
                }
            }
        }
        assert!(rows.open().count() > 0);
        let mut again = PlannedRows::default();
        apply(&mut again, &rows.compacted());
        assert_eq!(again, rows);
    }
}
