//! The sink of rows: a table of operations in ClickHouse.

use std::collections::{BTreeMap, HashSet};
use std::fmt::{self, Debug, Formatter};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use blobaccess::{Clock, Error, Result};
use blobaccess_accounting::{RowBatch, RowSink, RowsWritten};
use bytes::Bytes;
use clickhouse::{Client, Row};
use serde::Deserialize;

use crate::ledger::failed;
use crate::operations_engine::OperationsEngine;
use crate::operations_row::{JsonRow, RowKey};
use crate::operations_table::{OperationsField, OperationsTable};
use crate::time_limit::TimeLimit;

/// The codes of the server's exceptions about what is in a row, such as a name that is no `UUID` or breaks a constraint.
const REFUSALS: [u16; 19] = [6, 25, 26, 27, 38, 41, 53, 69, 70, 72, 117, 131, 321, 349, 376, 441, 469, 675, 691];

/// The number of rows that may be refused one by one before the table itself is to blame, if it has taken none so far.
const MAX_REFUSED_AT_FIRST: usize = 16;

/// The number of batches whose refused rows are remembered for the next attempt.
const MAX_REMEMBERED: usize = 16;

/// A [`RowSink`] that writes into a table of operations, by default the `remote_build_cache_operations` of
/// [`OperationsTable`].
///
/// # Promises
///
/// Each row comes once, and keeps its first time of ingestion, though its batch be sent again because an acknowledgement was
/// lost. Three things see to that:
///
/// * A batch that may have been sent before is looked for by its key, and what is there is not sent again.
/// * Each insert has a token, which is the key of the batch. An engine that remembers tokens passes over an insert that it
///   has, also one that arrives late: `MergeTree` with `non_replicated_deduplication_window`, and every `Replicated` engine.
/// * `ReplacingMergeTree` with a version that falls with time keeps the first of rows with equal keys, whenever they come.
///
/// | engine | each row comes once |
/// |---|---|
/// | [`MergeTree`](OperationsEngine::MergeTree), as [`create_table`](Self::create_table) makes it | in every read |
/// | `ReplicatedMergeTree`, with its settings by default | in every read; an answer from a replica that lags is corrected by the token |
/// | [`ReplacingMergeTree`](OperationsEngine::ReplacingMergeTree), as made here | with `FINAL`, or once merged, for ever; else as `MergeTree` |
/// | `MergeTree` without a window | unless an insert that was given up arrives after its batch was looked for again |
/// | any, without columns for reporter, epoch and number | only as long as the engine remembers the token |
///
/// A table that the site has already needs no other columns than [`OperationsTable`] names: values are written by name, times
/// as seconds of Unix time, numbers of up to 64 bits; what is not named has its default. A column that is too narrow for a
/// number is not noticed by the server. Inserts are never asynchronous, as those lose their token.
///
/// # Rows that are refused
///
/// A row that the server refuses for what is in it keeps no other: it is set aside, written to the log with all its columns,
/// and [counted](Self::snapshot). While the table is empty and refuses all, it is the table that is wrong: then the batch
/// fails, and is kept.
///
/// # Errors
///
/// `Unavailable` with the message of the server, and if it does not answer within the [time](Self::with_timeout) of a call;
/// `FailedPrecondition` if an empty table refuses every row.
///
/// # Examples
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use std::sync::Arc;
///
/// use blobaccess_accounting::{Accounts, AccountsOptions, Reporter, Reporting, RowsOptions};
/// use blobaccess_ledger_clickhouse::{ClickHouseOperations, OperationsEngine, OperationsTable};
///
/// let client = clickhouse::Client::default().with_url("http://localhost:8123").with_database("telemetry");
/// let operations = ClickHouseOperations::new(client, OperationsTable::default())?;
/// operations.create_table(OperationsEngine::MergeTree).await?;
/// let accounts = Accounts::open(AccountsOptions::new(Reporter::new("host-7")).with_journal("/var/lib/cache/journal"))?;
/// let reporting = Reporting::without_ledger(accounts).with_rows(Arc::new(operations), RowsOptions::default());
/// reporting.run().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ClickHouseOperations {
    client: Client,
    table: OperationsTable,
    time_limit: TimeLimit,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    /// Whether the table is known to have taken a row.
    has_taken: AtomicBool,
    inserts: AtomicU64,
    rows_inserted: AtomicU64,
    rows_found: AtomicU64,
    rows_set_aside: AtomicU64,
    /// The refused rows of batches whose attempt was cut short, by key, so that it was not in vain.
    refused: Mutex<BTreeMap<String, Refused>>,
}

/// The rows of a batch that were refused, by their place, and the reason of the server.
type Refused = BTreeMap<usize, String>;

/// The rows that were written so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OperationsSnapshot {
    /// The number of inserts that were acknowledged.
    pub inserts: u64,
    /// The number of rows in them.
    pub rows_inserted: u64,
    /// The number of rows that were there already when their batch was to be sent again.
    pub rows_found: u64,
    /// The number of rows that the server refused for what is in them, and that are in the log only.
    pub rows_set_aside: u64,
}

#[derive(Debug, Row, Deserialize)]
struct FoundRow {
    /// Namespace, kind, status and reason.
    words: Vec<String>,
}

#[derive(Debug, Row, Deserialize)]
struct Counted {
    counted: u64,
}

/// The end of an insert.
enum Inserted {
    Taken,
    /// The server refuses what is in a row.
    Refused(Error),
}

impl ClickHouseOperations {
    /// Writes to `table` with `client`, which has the address, name and password.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` as [`OperationsTable::check`].
    pub fn new(client: Client, table: OperationsTable) -> Result<Self> {
        table.check()?;
        Ok(Self { client, table, time_limit: TimeLimit::default(), counters: Arc::default() })
    }

    /// Sets the time after which a call fails: 30 s by default. A server that is silent holds up nobody for longer.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.time_limit.timeout = timeout;
        self
    }

    /// Takes the time of time-outs from `clock`, by default from that of the system.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.time_limit.clock = clock;
        self
    }

    /// Makes the table with this engine, if it is missing.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` as [`OperationsTable::create_statement`]; `Unavailable` if the server cannot be reached or does not
    /// allow it.
    pub async fn create_table(&self, engine: OperationsEngine) -> Result<()> {
        let statement = self.table.create_statement(engine)?;
        self.time_limit.keep(async { self.client.query_raw(&statement).execute().await.map_err(failed) }).await
    }

    /// Checks that the table is there with all columns, for a site that made it itself.
    ///
    /// # Errors
    ///
    /// `Unavailable` with the message of the server, which names what is missing.
    pub async fn check_table(&self) -> Result<()> {
        let columns: Vec<_> =
            OperationsField::ALL.into_iter().filter_map(|field| self.table.quoted_column(field)).collect();
        let query = format!("SELECT {} FROM {} LIMIT 0", columns.join(", "), self.table.qualified_name());
        self.time_limit.keep(async { self.client.query_raw(&query).execute().await.map_err(failed) }).await
    }

    /// Returns what was written so far.
    #[must_use]
    pub fn snapshot(&self) -> OperationsSnapshot {
        OperationsSnapshot {
            inserts: self.counters.inserts.load(Ordering::Relaxed),
            rows_inserted: self.counters.rows_inserted.load(Ordering::Relaxed),
            rows_found: self.counters.rows_found.load(Ordering::Relaxed),
            rows_set_aside: self.counters.rows_set_aside.load(Ordering::Relaxed),
        }
    }

    fn refused(&self) -> MutexGuard<'_, BTreeMap<String, Refused>> {
        // Nothing that panics is called while it is half changed.
        self.counters.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the rows that are left to insert: without those that are there, if they may be, and without those that were
    /// `refused`.
    async fn missing(&self, batch: &RowBatch, rows: &[JsonRow], refused: &Refused) -> Result<Vec<(usize, JsonRow)>> {
        let found = if batch.is_repeated { self.found(batch).await? } else { HashSet::new() };
        // A column of another type may print a name in other words.
        let all = rows.len();
        let missing: Vec<_> = if found.len() >= all {
            Vec::new()
        } else {
            rows.iter().cloned().enumerate().filter(|(_, row)| !found.contains(&row.key)).collect()
        };
        let there = u64::try_from(all.saturating_sub(missing.len())).unwrap_or(u64::MAX);
        self.counters.rows_found.fetch_add(there, Ordering::Relaxed);
        Ok(missing.into_iter().filter(|(index, _)| !refused.contains_key(index)).collect())
    }

    /// Asks for the rows of a batch that are there. Without the columns that tell batches apart, none is found.
    async fn found(&self, batch: &RowBatch) -> Result<HashSet<RowKey>> {
        let column = |field| self.table.quoted_column(field);
        let (Some(reporter), Some(epoch), Some(seq)) =
            (column(OperationsField::Reporter), column(OperationsField::Epoch), column(OperationsField::Seq))
        else {
            return Ok(HashSet::new());
        };
        let text = |field| column(field).map_or_else(|| "''".to_owned(), |column| format!("CAST({column} AS String)"));
        let words =
            [OperationsField::Namespace, OperationsField::Kind, OperationsField::Status, OperationsField::Reason];
        let query = format!(
            "SELECT [{}] AS words FROM {} WHERE {reporter} = ? AND {epoch} = ? AND {seq} = ?",
            words.map(text).join(", "),
            self.table.qualified_name(),
        );
        let query = self.client.query(&query);
        let query = query.bind(batch.reporter.as_str()).bind(batch.epoch.to_string()).bind(batch.number);
        let found = async { query.fetch_all::<FoundRow>().await.map_err(failed) };
        let found = self.time_limit.keep(found).await?;
        Ok(found.into_iter().filter_map(|row| RowKey::try_from(row.words).ok()).collect())
    }

    /// Inserts rows as one block, under a token by which the server knows them again.
    async fn insert(&self, rows: &[(usize, JsonRow)], token: String) -> Result<Inserted> {
        let columns: Vec<_> = OperationsField::ALL
            .into_iter()
            .filter(|field| *field != OperationsField::IngestedAt)
            .filter_map(|field| self.table.quoted_column(field))
            .collect();
        let name = self.table.qualified_name();
        let statement = format!("INSERT INTO {name} ({}) FORMAT JSONEachRow", columns.join(", "));
        let lines: String = rows.iter().flat_map(|(_, row)| [row.line.as_str(), "\n"]).collect();
        let mut insert = self
            .client
            .insert_formatted_with(statement)
            .with_setting("insert_deduplication_token", token)
            .with_setting("insert_deduplicate", "1")
            .with_setting("async_insert", "0")
            .with_setting("date_time_input_format", "best_effort");
        let inserting = async move {
            let sent = insert.send(Bytes::from(lines)).await;
            // The answer says more than that sending failed.
            insert.end().await.and(sent).map_or_else(
                |error| {
                    if refuses_contents(&error) { Ok(Inserted::Refused(failed(error))) } else { Err(failed(error)) }
                },
                |()| Ok(Inserted::Taken),
            )
        };
        let inserted = self.time_limit.keep(inserting).await?;
        if matches!(inserted, Inserted::Taken) {
            self.counters.has_taken.store(true, Ordering::Relaxed);
            self.counters.inserts.fetch_add(1, Ordering::Relaxed);
            self.counters.rows_inserted.fetch_add(u64::try_from(rows.len()).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
        Ok(inserted)
    }

    /// Returns whether the table has ever taken a row.
    async fn has_taken(&self) -> Result<bool> {
        if !self.counters.has_taken.load(Ordering::Relaxed) {
            let query =
                format!("SELECT count() AS counted FROM (SELECT 1 FROM {} LIMIT 1)", self.table.qualified_name());
            let query = self.client.query_raw(&query);
            let counted = async { query.fetch_one::<Counted>().await.map_err(failed) };
            let counted = self.time_limit.keep(counted).await?.counted;
            self.counters.has_taken.store(counted > 0, Ordering::Relaxed);
        }
        Ok(self.counters.has_taken.load(Ordering::Relaxed))
    }

    /// Notes a row that the server refuses, for this attempt and for the next.
    fn note_refused(&self, batch: &RowBatch, refused: &mut Refused, index: usize, error: &Error) {
        refused.insert(index, error.to_string());
        let mut memory = self.refused();
        if memory.len() >= MAX_REMEMBERED && !memory.contains_key(&batch.key()) {
            memory.pop_first();
        }
        memory.entry(batch.key()).or_default().insert(index, error.to_string());
    }

    /// Forgets the refused rows of a batch, and returns the error of a table that takes none.
    fn refuse_batch(&self, batch: &RowBatch, error: &str) -> Error {
        self.refused().remove(&batch.key());
        Error::failed_precondition(format!("the table of operations is empty and refuses every row: {error}"))
    }

    /// Inserts rows, and notes those that the server refuses for what is in them. They are found by halves.
    ///
    /// # Errors
    ///
    /// `FailedPrecondition` if the table is empty and refuses many, before all were sent.
    async fn insert_by_halves(
        &self,
        batch: &RowBatch,
        count: usize,
        rows: &[(usize, JsonRow)],
        refused: &mut Refused,
    ) -> Result<()> {
        let mut ranges = vec![(0, count)];
        while let Some((start, end)) = ranges.pop() {
            // The ranges are those of the whole batch, so that their tokens are the same each time.
            let place = |bound| rows.partition_point(|(index, _)| *index < bound);
            let Some(part) = rows.get(place(start)..place(end)).filter(|part| !part.is_empty()) else { continue };
            let is_whole = end - start == count;
            let token = if is_whole { batch.key() } else { format!("{}/{start}-{end}", batch.key()) };
            match self.insert(part, token).await? {
                Inserted::Taken => {}
                Inserted::Refused(error) => {
                    if let [(index, _)] = part {
                        self.note_refused(batch, refused, *index, &error);
                        if refused.len() >= MAX_REFUSED_AT_FIRST && !self.has_taken().await? {
                            // The rest was not sent, so the batch fails whatever the table takes from now on.
                            return Err(self.refuse_batch(batch, &error.to_string()));
                        }
                    } else {
                        let middle = usize::midpoint(start, end);
                        ranges.extend([(middle, end), (start, middle)]);
                    }
                }
            }
        }
        Ok(())
    }
}

/// Returns whether the server refuses what is in a row, so that the row would be refused again.
fn refuses_contents(error: &clickhouse::error::Error) -> bool {
    let clickhouse::error::Error::BadResponse(message) = error else { return false };
    let Some((_, code)) = message.split_once("Code: ") else { return false };
    let digits: String = code.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().is_ok_and(|code: u16| REFUSALS.contains(&code))
}

#[async_trait]
impl RowSink for ClickHouseOperations {
    async fn write(&self, batch: &RowBatch) -> Result<RowsWritten> {
        let rows = JsonRow::from_batch(batch, &self.table);
        let count = rows.len();
        if count == 0 {
            return Ok(RowsWritten::ALL);
        }
        let mut refused = self.refused().get(&batch.key()).cloned().unwrap_or_default();
        let missing = self.missing(batch, &rows, &refused).await?;
        self.insert_by_halves(batch, count, &missing, &mut refused).await?;
        if let Some(error) = refused.values().next() {
            if !self.has_taken().await? {
                return Err(self.refuse_batch(batch, error));
            }
            self.refused().remove(&batch.key());
        }
        for (index, error) in &refused {
            let row = rows.get(*index).map_or("", |row| row.line.as_str());
            tracing::error!(error, row, "a row of operations was set aside: the table refuses it");
        }
        let set_aside = u64::try_from(refused.len()).unwrap_or(u64::MAX);
        self.counters.rows_set_aside.fetch_add(set_aside, Ordering::Relaxed);
        Ok(RowsWritten::ALL.with_set_aside(set_aside))
    }
}

impl Debug for ClickHouseOperations {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClickHouseOperations").field("table", &self.table).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use blobaccess::{AccountName, ErrorKind, StorageType};
    use blobaccess_accounting::{Account, Amounts, Class, Epoch, OperationRow, Outcome, Reporter};
    use clickhouse::test::{Mock, handlers};
    use serde::Serialize;

    use super::*;

    #[derive(Row, Serialize)]
    struct Count {
        counted: u64,
    }

    #[tokio::test]
    async fn rows_that_were_never_sent_are_not_acknowledged_though_another_host_fills_the_table() {
        let mut mock = Mock::new();
        // The batch as a whole, and its first half by halves down to the sixteenth row.
        for _ in 0..32 {
            mock.add(handlers::exception(117));
        }
        for counted in [0, 1] {
            mock.add(handlers::provide([Count { counted }]));
        }
        // Whoever asks again learns that the table takes rows.
        mock.non_exhaustive();
        let row = |number: usize| {
            let account = Account::new(AccountName::new(format!("{number:02}")), StorageType::Cas);
            let amounts = Amounts::ended(Outcome::Created { stored_bytes: 3 }, 7);
            OperationRow::new(account, Class::Created, amounts)
        };
        let rows = (0..32).map(row).collect();
        let batch = RowBatch::new(Reporter::new("host"), Epoch::from_bytes([7; 16]), 1, SystemTime::UNIX_EPOCH, rows);
        let operations =
            ClickHouseOperations::new(Client::default().with_mock(&mock), OperationsTable::default()).unwrap();
        let error = operations.write(&batch).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{error}");
        assert_eq!((operations.snapshot().rows_set_aside, operations.refused().len()), (0, 0));
    }
}
