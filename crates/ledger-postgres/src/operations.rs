//! Rows of operations in PostgreSQL, for a site without ClickHouse.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use blobaccess::{Clock, Error, Result};
use blobaccess_accounting::{IngestionTime, RowBatch, RowSink, RowSource, RowSum, RowsWritten};
use futures::FutureExt;

use crate::identifier::{check, quote};
use crate::ledger::refuses_contents;
use crate::operations_refusals::Refusals;
use crate::operations_sink::{BatchRows, InsertSql, MoreClasses};
use crate::rows::{get, signed, unsigned};
use crate::session::Sessions;
use crate::tls::PostgresTls;

/// Rows of operations in a table in PostgreSQL, over one connection that is opened when it is needed.
///
/// It is the [`RowSource`] of an accumulator, and the [`RowSink`] of those who report. [`create_table`](Self::create_table)
/// makes the table. Its primary key is that of a row, and `ingested_at` is set by the server, so a row that is written again
/// changes nothing and keeps its first time.
///
/// The statuses are `created`, `already_exists`, `error`, `rejected` and `dropped`, and `deleted` if
/// [that is wanted](Self::with_deletions). A sum adds the bytes of `created`, and subtracts those of `deleted`.
///
/// Another table, or a view, can be read if it has the columns `namespace`, `status`, `bytes` and `ingested_at`, and each row
/// once.
///
/// # Lag
///
/// `ingested_at` is the time of the insert, and the row is visible when the transaction is committed. So the lag of an
/// accumulator must be longer than the longest transaction that inserts and, where a replica is read, than its lag.
///
/// # Errors
///
/// `Unavailable` with the message of the server, whatever it refuses, and if it does not answer within the
/// [time](Self::with_timeout) of a call; `InvalidArgument` if it refuses a name of the question. A row of a batch that is
/// refused for what is in it is set aside, written to the log and counted.
///
/// `FailedPrecondition` if it is the table that refuses, so that the batch is kept: none of its rows is taken, and the table
/// is empty, or a column that is not written has no value, or sixteen rows break a constraint.
///
/// # Cancel safety
///
/// A call that is dropped may still take effect: rows in part, of which the batch that is written again adds the rest, all
/// else as a whole.
#[derive(Debug)]
pub struct PostgresRows {
    sessions: Sessions,
    sql: Arc<Sql>,
    more: MoreClasses,
    refusals: Arc<Refusals>,
}

#[derive(Debug)]
struct Sql {
    create: String,
    insert: String,
    has_rows: String,
    sum: String,
}

const NOW: &str = "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint";

impl Sql {
    fn new(table: &str) -> Self {
        let quoted = quote(table);
        let index = quote(&format!("{table}_by_time"));
        Self {
            create: format!(
                "SELECT pg_advisory_xact_lock(hashtext('blobaccess_tables'));
                CREATE TABLE IF NOT EXISTS {quoted} (
                    reporter text NOT NULL,
                    epoch text NOT NULL,
                    seq bigint NOT NULL,
                    namespace text NOT NULL,
                    kind text NOT NULL,
                    status text NOT NULL,
                    reason text NOT NULL,
                    objects bigint NOT NULL,
                    bytes bigint NOT NULL,
                    logical_bytes bigint NOT NULL,
                    unsized_bytes bigint NOT NULL,
                    created_at timestamptz NOT NULL,
                    ingested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
                    PRIMARY KEY (reporter, epoch, seq, namespace, kind, status, reason)
                );
                CREATE INDEX IF NOT EXISTS {index} ON {quoted} (namespace, ingested_at)
                    WHERE status IN ('created', 'deleted');"
            ),
            insert: format!(
                "INSERT INTO {quoted} (reporter, epoch, seq, created_at, namespace, kind, status, reason, objects, bytes,
                    logical_bytes, unsized_bytes)
                SELECT $1::text, $2::text, $3::bigint, TIMESTAMPTZ 'epoch' + $4::bigint * INTERVAL '1 microsecond', w.*
                FROM UNNEST($5::text[], $6::text[], $7::text[], $8::text[], $9::bigint[], $10::bigint[], $11::bigint[],
                    $12::bigint[]) AS w
                ON CONFLICT DO NOTHING"
            ),
            has_rows: format!("SELECT EXISTS (SELECT 1 FROM {quoted})"),
            sum: format!(
                "SELECT namespace::text, COUNT(*), COALESCE(SUM(CASE status WHEN 'deleted' THEN -bytes::numeric ELSE
                    bytes END), 0)::text FROM {quoted}
                WHERE status IN ('created', 'deleted') AND namespace = ANY ($1)
                    AND ingested_at > TIMESTAMPTZ 'epoch' + $2::bigint * INTERVAL '1 microsecond'
                    AND ingested_at <= TIMESTAMPTZ 'epoch' + $3::bigint * INTERVAL '1 microsecond'
                GROUP BY namespace"
            ),
        }
    }
}

impl PostgresRows {
    /// The time of a call, unless it is set.
    const TIMEOUT: Duration = Duration::from_secs(30);

    /// The length of the longest name of a table, in bytes: that of its index has more.
    pub const MAX_TABLE_BYTES: usize = 54;

    /// Reads the rows of `table` in the database that `config` describes, a connection string or URL of PostgreSQL. This does
    /// not connect yet.
    ///
    /// The connection is not encrypted unless [`with_tls`](Self::with_tls) is called.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if `config` describes no database, or `table` is no identifier.
    pub fn new(config: &str, table: &str) -> Result<Self> {
        check("a table", table)?;
        if table.len() > Self::MAX_TABLE_BYTES {
            let most = Self::MAX_TABLE_BYTES;
            return Err(Error::invalid_argument(format!("the name of the table {table} has more than {most} bytes")));
        }
        let sessions = Sessions::new("operations", config, Self::TIMEOUT)?;
        Ok(Self { sessions, sql: Arc::new(Sql::new(table)), more: MoreClasses::default(), refusals: Arc::default() })
    }

    /// Encrypts connections, and refuses servers that do not.
    #[must_use]
    pub fn with_tls(mut self, tls: PostgresTls) -> Self {
        self.sessions = self.sessions.with_tls(tls);
        self
    }

    /// Takes the time of time-outs from `clock`, by default from that of the system.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.sessions = self.sessions.with_clock(clock);
        self
    }

    /// Sets the time after which a call fails, its connection included: 30 s by default.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.sessions = self.sessions.with_timeout(timeout);
        self
    }

    /// Writes the growth of replaced values as `created`: their bytes beyond those of the values before, which may be fewer.
    #[must_use]
    pub const fn with_growth_of_replaced(mut self) -> Self {
        self.more.growth_of_replaced = true;
        self
    }

    /// Writes deletions, as `deleted`.
    #[must_use]
    pub const fn with_deletions(mut self) -> Self {
        self.more.deletions = true;
        self
    }

    /// Makes the table, if it is missing. Several hosts may do so at once.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the server cannot be reached or does not allow it.
    pub async fn create_table(&self) -> Result<()> {
        self.sessions.execute_together(self.sql.create.clone()).await
    }
}

#[async_trait]
impl RowSink for PostgresRows {
    async fn write(&self, batch: &RowBatch) -> Result<RowsWritten> {
        let rows = BatchRows::new(batch, self.more);
        if rows.is_empty() {
            return Ok(RowsWritten::ALL);
        }
        let (sql, refusals) = (Arc::clone(&self.sql), Arc::clone(&self.refusals));
        let set_aside = self.sessions.run(move |client| {
            async move {
                let sql = InsertSql { insert: &sql.insert, has_rows: &sql.has_rows };
                rows.insert(client, &sql, &refusals).await
            }
            .boxed()
        });
        Ok(RowsWritten::ALL.with_set_aside(set_aside.await??))
    }
}

#[async_trait]
impl RowSource for PostgresRows {
    async fn watermark(&self, lag: Duration) -> Result<IngestionTime> {
        let row = self.sessions.run(|client| async move { client.query_one(NOW, &[]).await }.boxed()).await?;
        Ok(IngestionTime::from_micros(unsigned(&row, 0)?).settled(lag))
    }

    async fn sum(
        &self,
        namespaces: &[String],
        after: IngestionTime,
        until: IngestionTime,
    ) -> Result<BTreeMap<String, RowSum>> {
        let (namespaces, sql) = (namespaces.to_vec(), Arc::clone(&self.sql));
        let (after, until) = (signed(after.micros()), signed(until.micros()));
        let rows = self.sessions.run(move |client| {
            async move {
                match client.query(&sql.sum, &[&namespaces, &after, &until]).await {
                    Ok(rows) => Ok(Ok(rows)),
                    Err(error) if refuses_contents(&error) => {
                        Ok(Err(Error::invalid_argument(format!("operations in postgresql: {error}"))))
                    }
                    Err(error) => Err(error),
                }
            }
            .boxed()
        });
        let mut sums = BTreeMap::new();
        for row in &rows.await?? {
            let bytes = get::<&str>(row, 2)?.parse().map_err(|error| {
                Error::data_loss(format!("operations in postgresql: a sum of bytes is no whole number: {error}"))
            })?;
            sums.insert(get(row, 0)?, RowSum::new(unsigned(row, 1)?, bytes));
        }
        Ok(sums)
    }
}
