//! The rows of a batch, as a table of operations in PostgreSQL has them.

use std::collections::BTreeMap;
use std::ops::Range;

use blobaccess_accounting::{Class, IngestionTime, OperationRow, RowBatch};
use tokio_postgres::{Client, Transaction};

use crate::ledger::refuses_contents;
use crate::rows::signed;

/// The part of the key of a row that tells it from others of its batch: namespace, kind, status, reason.
type RowKey = (String, &'static str, &'static str, &'static str);

/// The numbers of a row: objects, bytes, logical bytes, unsized bytes.
type Numbers = [i64; 4];

/// The classes of rows that a table has beside those that every consumer knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MoreClasses {
    pub(crate) growth_of_replaced: bool,
    pub(crate) deletions: bool,
}

/// The rows of a batch, by column, in the order of their keys.
#[derive(Debug)]
pub(crate) struct BatchRows {
    reporter: String,
    epoch: String,
    seq: i64,
    created_micros: i64,
    namespaces: Vec<String>,
    kinds: Vec<&'static str>,
    statuses: Vec<&'static str>,
    reasons: Vec<&'static str>,
    numbers: [Vec<i64>; 4],
}

/// Returns the status of a class; `None` if the table does not have it.
const fn status_of(class: Class, more: MoreClasses) -> Option<&'static str> {
    match class {
        Class::Rejected => Some("rejected"),
        Class::Created
        | Class::AlreadyExists
        | Class::Ambiguous
        | Class::Cancelled
        | Class::Panicked
        | Class::Deadline
        | Class::QueueFull
        | Class::SourceUnavailable
        | Class::Shutdown
        | Class::Disabled => Some(class.status()),
        Class::Replaced if more.growth_of_replaced => Some(Class::Created.status()),
        Class::DeletedByRotation | Class::DeletedOnRequest | Class::DeletedByCollection if more.deletions => {
            Some(class.status())
        }
        Class::Started
        | Class::Replaced
        | Class::Unclassified
        | Class::DeletedByRotation
        | Class::DeletedOnRequest
        | Class::DeletedByCollection => None,
    }
}

fn numbers_of(row: &OperationRow) -> Numbers {
    let amounts = row.amounts;
    if row.class == Class::Replaced {
        // The object was counted when it was created.
        return [0, signed(amounts.stored_bytes).saturating_sub(signed(amounts.old_bytes)), 0, 0];
    }
    [amounts.objects, amounts.stored_bytes, amounts.logical_bytes, amounts.unsized_bytes].map(signed)
}

impl BatchRows {
    pub(crate) fn new(batch: &RowBatch, more: MoreClasses) -> Self {
        let mut rows: BTreeMap<RowKey, Numbers> = BTreeMap::new();
        for row in &batch.rows {
            let Some(status) = status_of(row.class, more) else { continue };
            let (account, reason) = (&row.account, row.class.reason());
            let key = (account.account_name().as_str().to_owned(), account.storage_type().name(), status, reason);
            let sums = rows.entry(key).or_default();
            for (sum, number) in sums.iter_mut().zip(numbers_of(row)) {
                *sum = sum.saturating_add(number);
            }
        }
        let mut by_column = Self {
            reporter: batch.reporter.as_str().to_owned(),
            epoch: batch.epoch.to_string(),
            seq: signed(batch.number),
            created_micros: signed(IngestionTime::from_time(batch.created_at).micros()),
            namespaces: Vec::new(),
            kinds: Vec::new(),
            statuses: Vec::new(),
            reasons: Vec::new(),
            numbers: Default::default(),
        };
        for ((namespace, kind, status, reason), numbers) in rows.into_iter().filter(|(_, sums)| *sums != [0; 4]) {
            by_column.namespaces.push(namespace);
            by_column.kinds.push(kind);
            by_column.statuses.push(status);
            by_column.reasons.push(reason);
            for (column, number) in by_column.numbers.iter_mut().zip(numbers) {
                column.push(number);
            }
        }
        by_column
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.namespaces.is_empty()
    }

    /// Inserts the rows in one transaction, and returns the number of rows that the server refuses for what is in them.
    pub(crate) async fn insert(&self, client: &mut Client, sql: &str) -> Result<u64, tokio_postgres::Error> {
        let mut transaction = client.transaction().await?;
        let mut set_aside = 0;
        // The rows that are refused are found by halves.
        let mut open: Vec<_> = std::iter::once(0..self.namespaces.len()).collect();
        while let Some(range) = open.pop().filter(|range| !range.is_empty()) {
            let savepoint = transaction.transaction().await?;
            match self.insert_range(&savepoint, sql, range.clone()).await {
                Ok(()) => savepoint.commit().await?,
                Err(error) if refuses_contents(&error) => {
                    savepoint.rollback().await?;
                    if range.len() == 1 {
                        let (namespace, seq) = (self.namespaces.get(range.start), self.seq);
                        let (epoch, numbers) = (&self.epoch, self.numbers_at(range.start));
                        tracing::error!(%error, ?namespace, %epoch, seq, ?numbers, "a row was set aside: it is refused");
                        set_aside += 1;
                    } else {
                        let middle = range.start.midpoint(range.end);
                        open.extend([middle..range.end, range.start..middle]);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        transaction.commit().await?;
        Ok(set_aside)
    }

    fn numbers_at(&self, index: usize) -> Vec<i64> {
        self.numbers.iter().filter_map(|column| column.get(index).copied()).collect()
    }

    async fn insert_range(
        &self,
        transaction: &Transaction<'_>,
        sql: &str,
        range: Range<usize>,
    ) -> Result<(), tokio_postgres::Error> {
        let namespaces = self.namespaces.get(range.clone()).unwrap_or_default();
        let kinds = self.kinds.get(range.clone()).unwrap_or_default();
        let statuses = self.statuses.get(range.clone()).unwrap_or_default();
        let reasons = self.reasons.get(range.clone()).unwrap_or_default();
        let [objects, bytes, logical, unsize] =
            self.numbers.each_ref().map(|column| column.get(range.clone()).unwrap_or_default());
        transaction
            .execute(
                sql,
                &[
                    &self.reporter,
                    &self.epoch,
                    &self.seq,
                    &self.created_micros,
                    &namespaces,
                    &kinds,
                    &statuses,
                    &reasons,
                    &objects,
                    &bytes,
                    &logical,
                    &unsize,
                ],
            )
            .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use blobaccess::{AccountName, StorageType};
    use blobaccess_accounting::{Account, Amounts, Epoch, Outcome, Reporter};

    use super::*;

    #[test]
    fn a_table_has_the_statuses_that_consumers_know_and_others_if_it_is_told() {
        let account = Account::new(AccountName::new("acme"), StorageType::Ac);
        let amounts = Amounts::ended(Outcome::Replaced { stored_bytes: 3, old_bytes: 10 }, 9);
        let rows = Class::ALL.into_iter().map(|class| OperationRow::new(account.clone(), class, amounts)).collect();
        let batch = RowBatch::new(Reporter::new("host"), Epoch::from_bytes([7; 16]), 4, SystemTime::UNIX_EPOCH, rows);
        let rows = |more| {
            let rows = BatchRows::new(&batch, more);
            rows.statuses.iter().copied().zip(rows.numbers[1].clone()).collect::<Vec<_>>()
        };
        let plain = rows(MoreClasses::default());
        assert_eq!(plain.len(), 11);
        let known = ["created", "already_exists", "error", "rejected", "dropped"];
        assert!(plain.iter().all(|(status, bytes)| known.contains(status) && *bytes == 3), "{plain:?}");
        let more = rows(MoreClasses { growth_of_replaced: true, deletions: true });
        assert_eq!(more.len(), 14);
        assert_eq!(more.iter().find(|(status, _)| *status == "created"), Some(&("created", -4)));
        assert_eq!(more.iter().filter(|(status, _)| *status == "deleted").count(), 3);
    }
}
