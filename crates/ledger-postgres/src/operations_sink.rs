//! The rows of a batch, as a table of operations in PostgreSQL has them.

use std::collections::BTreeMap;

use blobaccess::Error;
use blobaccess_accounting::{Class, IngestionTime, OperationRow, RowBatch};
use tokio_postgres::{Client, Statement};

use crate::ledger::refuses_contents;
use crate::operations_refusals::{Refusal, Refusals, Refused};
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

/// The statements of a table of operations that inserts need.
#[derive(Debug)]
pub(crate) struct InsertSql<'a> {
    pub(crate) insert: &'a str,
    /// Asks whether the table has a row.
    pub(crate) has_rows: &'a str,
}

/// The rows of a batch, by column, in the order of their keys.
#[derive(Debug)]
pub(crate) struct BatchRows {
    /// The key of the batch.
    key: String,
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
            key: batch.key(),
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

    /// Inserts the rows, and returns the number of those that the server refuses for what is in them.
    ///
    /// They are found by halves. What is taken is committed at once, and what is refused is remembered, so that an attempt
    /// that is cut short brings the next one forward.
    ///
    /// # Errors
    ///
    /// `FailedPrecondition` within the result if it is the table that refuses every row.
    pub(crate) async fn insert(
        &self,
        client: &Client,
        sql: &InsertSql<'_>,
        refusals: &Refusals,
    ) -> Result<blobaccess::Result<u64>, tokio_postgres::Error> {
        let statement = client.prepare(sql.insert).await?;
        let mut refused = refusals.get(&self.key);
        let mut open: Vec<_> = std::iter::once(0..self.namespaces.len()).collect();
        while let Some(range) = open.pop() {
            let is_open = |index: &usize| !refused.0.contains_key(index) && !refused.1.contains(index);
            let rows: Vec<_> = range.clone().filter(is_open).collect();
            if rows.is_empty() {
                continue;
            }
            match self.insert_rows(client, &statement, &rows).await {
                Ok(()) => {
                    refused.1.extend(&rows);
                    refusals.note(&self.key, |refused| refused.1.extend(&rows));
                    refusals.note_taken();
                }
                Err(error) if refuses_contents(&error) => {
                    if let [index] = rows.as_slice() {
                        let refusal = Refusal::new(&error);
                        refused.0.insert(*index, refusal.clone());
                        refusals.note(&self.key, |refused| drop(refused.0.insert(*index, refusal)));
                        if refused.1.is_empty()
                            && refused.are_many()
                            && takes_none(client, sql, &refused, refusals).await?
                        {
                            return Ok(Err(self.refuse_batch(&refused, refusals)));
                        }
                    } else {
                        let middle = range.start.midpoint(range.end);
                        open.extend([middle..range.end, range.start..middle]);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        if refused.1.is_empty() && !refused.0.is_empty() && takes_none(client, sql, &refused, refusals).await? {
            return Ok(Err(self.refuse_batch(&refused, refusals)));
        }
        refusals.forget(&self.key);
        for (index, Refusal { message, .. }) in &refused.0 {
            let (namespace, seq, numbers) = (self.namespaces.get(*index), self.seq, self.numbers_at(*index));
            tracing::error!(
                message,
                ?namespace,
                epoch = self.epoch,
                seq,
                ?numbers,
                "a row was set aside: it is refused"
            );
        }
        Ok(Ok(u64::try_from(refused.0.len()).unwrap_or(u64::MAX)))
    }

    /// Forgets what was refused, and returns the error of a table that takes nothing.
    fn refuse_batch(&self, refused: &Refused, refusals: &Refusals) -> Error {
        refusals.forget(&self.key);
        let message = refused.0.values().next().map_or("", |refusal| refusal.message.as_str());
        Error::failed_precondition(format!("the table of operations in postgresql refuses every row: {message}"))
    }

    fn numbers_at(&self, index: usize) -> Vec<i64> {
        self.numbers.iter().filter_map(|column| column.get(index).copied()).collect()
    }

    /// Inserts the rows at these places, all or none.
    async fn insert_rows(
        &self,
        client: &Client,
        statement: &Statement,
        rows: &[usize],
    ) -> Result<(), tokio_postgres::Error> {
        let namespaces = pick(&self.namespaces, rows);
        let [kinds, statuses, reasons] = [&self.kinds, &self.statuses, &self.reasons].map(|column| pick(column, rows));
        let [objects, bytes, logical, unsize] = self.numbers.each_ref().map(|column| pick(column, rows));
        client
            .execute(
                statement,
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

/// Returns the values of a column at these places.
fn pick<'a, T>(column: &'a [T], rows: &[usize]) -> Vec<&'a T> {
    rows.iter().filter_map(|index| column.get(*index)).collect()
}

/// Returns whether the table is to blame for the refusals of a batch of which it has taken no row: it is empty, or they show
/// it.
async fn takes_none(
    client: &Client,
    sql: &InsertSql<'_>,
    refused: &Refused,
    refusals: &Refusals,
) -> Result<bool, tokio_postgres::Error> {
    if refused.blame_table() {
        return Ok(true);
    }
    if !refusals.has_taken() && client.query_one(sql.has_rows, &[]).await?.try_get(0)? {
        refusals.note_taken();
    }
    Ok(!refusals.has_taken())
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
