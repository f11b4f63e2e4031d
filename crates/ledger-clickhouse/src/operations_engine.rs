//! The engine of the table of operations, and the statement that makes it.

use blobaccess::{Error, Result};

use crate::operations_table::{OperationsField, OperationsTable};

/// The number of inserts that the server remembers, to know one that comes again.
const DEDUPLICATION_WINDOW: u32 = 10_000;

/// The engine of a table of operations that is made here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OperationsEngine {
    /// `MergeTree`, which remembers the latest 10,000 inserts: one of them that comes again changes nothing. Every read sees
    /// each row once.
    #[default]
    MergeTree,
    /// `ReplacingMergeTree`, which also merges rows with equal keys, whenever they come, and keeps the one that was ingested
    /// first. Read it with `FINAL`: a row that came twice can be seen twice until it is merged.
    ReplacingMergeTree,
}

impl OperationsTable {
    /// Returns the statement that makes the table if it is missing. A site with replicas or partitions takes it as a draft.
    ///
    /// # Errors
    ///
    /// Those of [`check`](Self::check). `InvalidArgument` also if a `ReplacingMergeTree` lacks a column of the key, or the one
    /// for the time of ingestion: rows that are not the same would replace each other, or the last would win.
    pub fn create_statement(&self, engine: OperationsEngine) -> Result<String> {
        self.check()?;
        let columns: Vec<_> = OperationsField::ALL
            .into_iter()
            .filter_map(|field| Some(format!("{} {}", self.quoted_column(field)?, self.type_of(field))))
            .collect();
        let ingested_at = self.quoted_column(OperationsField::IngestedAt);
        let (first, order, kind) = match engine {
            OperationsEngine::MergeTree => {
                let order = [self.quoted_column(OperationsField::Namespace), ingested_at];
                (String::new(), order.into_iter().flatten().collect(), "MergeTree".to_owned())
            }
            OperationsEngine::ReplacingMergeTree => {
                let key = [
                    OperationsField::Namespace,
                    OperationsField::Kind,
                    OperationsField::Status,
                    OperationsField::Reason,
                    OperationsField::Reporter,
                    OperationsField::Epoch,
                    OperationsField::Seq,
                ];
                let order: Option<Vec<_>> = key.into_iter().map(|field| self.quoted_column(field)).collect();
                let (Some(order), Some(ingested_at)) = (order, ingested_at) else {
                    let message = "a table that replaces rows needs all columns of their key and the time of ingestion";
                    return Err(Error::invalid_argument(message));
                };
                // The highest version is kept: the earliest time.
                let first = format!(
                    ", ingested_first UInt64 MATERIALIZED {} - toUInt64(toUnixTimestamp64Milli({ingested_at}))",
                    u64::MAX
                );
                (first, order, "ReplacingMergeTree(ingested_first)".to_owned())
            }
        };
        Ok(format!(
            "CREATE TABLE IF NOT EXISTS {} ({}{first}) ENGINE = {kind} ORDER BY ({}) \
             SETTINGS non_replicated_deduplication_window = {DEDUPLICATION_WINDOW}",
            self.qualified_name(),
            columns.join(", "),
            order.join(", "),
        ))
    }

    fn type_of(&self, field: OperationsField) -> &'static str {
        match field {
            OperationsField::Epoch | OperationsField::Namespace => "String",
            OperationsField::Reporter | OperationsField::Kind | OperationsField::Status | OperationsField::Reason => {
                "LowCardinality(String)"
            }
            OperationsField::StoredBytes if self.has_growth() => "Int64",
            OperationsField::Seq
            | OperationsField::Objects
            | OperationsField::StoredBytes
            | OperationsField::LogicalBytes
            | OperationsField::UnsizedBytes => "UInt64",
            OperationsField::CreatedAt => "DateTime",
            OperationsField::IngestedAt => "DateTime64(3) DEFAULT now64(3)",
        }
    }
}

#[cfg(test)]
mod tests {
    use blobaccess::ErrorKind;

    use super::*;

    #[test]
    fn a_table_has_the_columns_of_its_settings() {
        let table = OperationsTable::default().with_column(OperationsField::Namespace, "repository");
        let statement = table.create_statement(OperationsEngine::MergeTree).unwrap();
        assert!(statement.contains("`repository` String") && statement.contains("`bytes` UInt64"), "{statement}");
        assert!(statement.contains("ORDER BY (`repository`, `ingested_at`)"), "{statement}");
        let statement =
            table.with_growth_of_replaced("created").create_statement(OperationsEngine::ReplacingMergeTree).unwrap();
        assert!(statement.contains("`bytes` Int64") && statement.contains("ReplacingMergeTree(ingested_first)"));
    }

    #[test]
    fn rows_that_are_not_the_same_do_not_replace_each_other() {
        for field in [OperationsField::Seq, OperationsField::Epoch, OperationsField::Kind, OperationsField::IngestedAt]
        {
            let table = OperationsTable::default().without_column(field);
            table.create_statement(OperationsEngine::MergeTree).unwrap();
            let error = table.create_statement(OperationsEngine::ReplacingMergeTree).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{field:?}");
        }
    }
}
