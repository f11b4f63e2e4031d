//! The rows of a batch, in the columns and words of a table.

use std::collections::BTreeMap;

use blobaccess_accounting::{OperationRow, RowBatch, unix_millis};
use serde_json::{Map, Value};

use crate::operations_table::{OperationsField, OperationsTable, WrittenBytes};

/// The part of the key of a row that tells it from others of its batch: namespace, kind, status and reason. What the table
/// has no column for is empty.
pub(crate) type RowKey = [String; 4];

/// A row as a line of JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JsonRow {
    pub(crate) key: RowKey,
    pub(crate) line: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sums {
    objects: u64,
    stored_bytes: i128,
    logical_bytes: u64,
    unsized_bytes: u64,
}

impl JsonRow {
    /// Returns the rows of `batch` that the table has, in the order of their keys. The same batch has the same rows.
    pub(crate) fn from_batch(batch: &RowBatch, table: &OperationsTable) -> Vec<Self> {
        let mut sums: BTreeMap<RowKey, Sums> = BTreeMap::new();
        for row in &batch.rows {
            if let Some((key, more)) = sums_of(row, table) {
                let sum = sums.entry(key).or_default();
                sum.objects = sum.objects.saturating_add(more.objects);
                sum.stored_bytes = sum.stored_bytes.saturating_add(more.stored_bytes);
                sum.logical_bytes = sum.logical_bytes.saturating_add(more.logical_bytes);
                sum.unsized_bytes = sum.unsized_bytes.saturating_add(more.unsized_bytes);
            }
        }
        let counted = sums.into_iter().filter(|(_, sums)| *sums != Sums::default());
        counted.map(|(key, sums)| Self { line: line_of(batch, table, &key, sums), key }).collect()
    }
}

fn sums_of(row: &OperationRow, table: &OperationsTable) -> Option<(RowKey, Sums)> {
    let written = table.written(row.class)?;
    let amounts = row.amounts;
    let stored = i128::from(amounts.stored_bytes);
    let sums = match written.bytes {
        WrittenBytes::Stored => Sums {
            objects: amounts.objects,
            stored_bytes: stored,
            logical_bytes: amounts.logical_bytes,
            unsized_bytes: amounts.unsized_bytes,
        },
        // The object was counted when it was created.
        WrittenBytes::Growth => Sums { stored_bytes: stored - i128::from(amounts.old_bytes), ..Sums::default() },
    };
    let part = |field, value: &str| table.column(field).map_or_else(String::new, |_| value.to_owned());
    let key = [
        part(OperationsField::Namespace, row.account.account_name().as_str()),
        part(OperationsField::Kind, row.account.storage_type().name()),
        part(OperationsField::Status, &written.status),
        part(OperationsField::Reason, row.class.reason()),
    ];
    Some((key, sums))
}

fn line_of(batch: &RowBatch, table: &OperationsTable, key: &RowKey, sums: Sums) -> String {
    let [namespace, kind, status, reason] = key;
    let bytes = i64::try_from(sums.stored_bytes).map_or_else(
        // Beyond the signed numbers, an unsigned column may still have room.
        |_| u64::try_from(sums.stored_bytes).map_or(Value::from(i64::MIN), Value::from),
        Value::from,
    );
    let mut line = Map::new();
    for field in OperationsField::ALL {
        let Some(column) = table.column(field) else { continue };
        let value = match field {
            OperationsField::Reporter => batch.reporter.as_str().into(),
            OperationsField::Epoch => batch.epoch.to_string().into(),
            OperationsField::Seq => batch.number.into(),
            OperationsField::Namespace => namespace.as_str().into(),
            OperationsField::Kind => kind.as_str().into(),
            OperationsField::Status => status.as_str().into(),
            OperationsField::Reason => reason.as_str().into(),
            OperationsField::Objects => sums.objects.into(),
            OperationsField::StoredBytes => bytes.clone(),
            OperationsField::LogicalBytes => sums.logical_bytes.into(),
            OperationsField::UnsizedBytes => sums.unsized_bytes.into(),
            OperationsField::CreatedAt => (unix_millis(batch.created_at) / 1_000).into(),
            OperationsField::IngestedAt => continue,
        };
        line.insert(column.to_owned(), value);
    }
    Value::Object(line).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use blobaccess::{AccountName, StorageType};
    use blobaccess_accounting::{Account, Amounts, Class, Epoch, Outcome, Reporter};

    use super::*;

    fn batch(rows: &[(Class, Amounts)]) -> RowBatch {
        let account = Account::new(AccountName::new("acme"), StorageType::Ac);
        let rows = rows.iter().map(|(class, amounts)| OperationRow::new(account.clone(), *class, *amounts)).collect();
        let created_at = SystemTime::UNIX_EPOCH + Duration::from_mins(2);
        RowBatch::new(Reporter::new("host"), Epoch::from_bytes([7; 16]), 4, created_at, rows)
    }

    fn ended(outcome: Outcome) -> (Class, Amounts) {
        (Class::from_outcome(outcome), Amounts::ended(outcome, 9))
    }

    fn lines(batch: &RowBatch, table: &OperationsTable) -> Vec<String> {
        JsonRow::from_batch(batch, table).into_iter().map(|row| row.line).collect()
    }

    #[test]
    fn a_row_has_the_words_and_columns_of_the_request() {
        let batch = batch(&[ended(Outcome::Created { stored_bytes: 5 }), (Class::Started, Amounts::started(9))]);
        let epoch = "07".repeat(16);
        let expected = format!(
            r#"{{"bytes":5,"created_at":120,"epoch":"{epoch}","kind":"ac","logical_bytes":9,"namespace":"acme","objects":1,"reason":"","reporter":"host","seq":4,"status":"created","unsized_bytes":0}}"#
        );
        assert_eq!(lines(&batch, &OperationsTable::default()), [expected]);
    }

    #[test]
    fn the_growth_of_a_replaced_value_is_added_to_what_was_created() {
        let replaced = Outcome::Replaced { stored_bytes: 3, old_bytes: 7 };
        let batch = batch(&[ended(Outcome::Created { stored_bytes: 5 }), ended(replaced)]);
        let table = OperationsTable::default()
            .without_column(OperationsField::Reporter)
            .without_column(OperationsField::Epoch)
            .without_column(OperationsField::Kind)
            .without_column(OperationsField::LogicalBytes)
            .without_column(OperationsField::UnsizedBytes)
            .without_column(OperationsField::CreatedAt);
        let plain = lines(&batch, &table);
        assert_eq!(plain, [r#"{"bytes":5,"namespace":"acme","objects":1,"reason":"","seq":4,"status":"created"}"#]);
        let grown = lines(&batch, &table.clone().with_growth_of_replaced("created"));
        assert_eq!(grown, [r#"{"bytes":1,"namespace":"acme","objects":1,"reason":"","seq":4,"status":"created"}"#]);
        let apart = lines(&batch, &table.with_growth_of_replaced("grown"));
        assert_eq!(apart[1], r#"{"bytes":-4,"namespace":"acme","objects":0,"reason":"","seq":4,"status":"grown"}"#);
    }

    #[test]
    fn classes_that_a_table_cannot_tell_apart_are_one_row() {
        let batch = batch(&[(Class::Ambiguous, Amounts::started(1)), (Class::Cancelled, Amounts::started(2))]);
        assert_eq!(lines(&batch, &OperationsTable::default()).len(), 2);
        let rows = lines(&batch, &OperationsTable::default().without_column(OperationsField::Reason));
        assert_eq!(rows.len(), 1);
        assert!(rows[0].contains(r#""objects":2"#), "{rows:?}");
        // What does not change anything is no row.
        let unchanged = ended(Outcome::Replaced { stored_bytes: 3, old_bytes: 3 });
        let table = OperationsTable::default().with_growth_of_replaced("created");
        assert_eq!(lines(&self::batch(&[unchanged]), &table), [""; 0]);
    }
}
