//! Rows of operations in ClickHouse, as the source of footprints.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use blobaccess::{Clock, Error, Result};
use blobaccess_accounting::{Class, IngestionTime, RowSource, RowSum};
use clickhouse::{Client, Row};
use serde::Deserialize;

use crate::ledger::failed;
use crate::operations_table::{OperationsField, OperationsTable};
use crate::time_limit::TimeLimit;

/// The classes whose bytes are taken from a footprint, if the table has rows of them.
const DELETIONS: [Class; 3] = [Class::DeletedByRotation, Class::DeletedOnRequest, Class::DeletedByCollection];

/// A [`RowSource`] over a table of operations in ClickHouse, by default the `remote_build_cache_operations` of
/// [`OperationsTable`].
///
/// Bytes of the status of [`Class::Created`] are added, and those of [`Class::Replaced`] if the table has its growth. Bytes of
/// deletions are subtracted, if the table has a status of theirs.
///
/// # Rows that come twice
///
/// Rows with equal keys are one row, with the earliest of their times, whatever the engine has merged so far. A
/// `ReplacingMergeTree` must have a version by which the earliest row is kept, as one that is made here has: with none, it
/// keeps the latest, which then looks new. A table without columns for reporter, epoch and number has no keys, and each of its
/// rows counts.
///
/// # Lag
///
/// `now()`, the default of a column, is the time at which the insert began. So the lag of an accumulator must be longer than
/// the longest insert and, where replicas are read, than their lag.
///
/// The type of the column may be `DateTime` or `DateTime64`. Its time zone does not matter.
///
/// # Cost
///
/// A question reads the window of the namespaces, and the rows of the batches in it. A table that is ordered by namespace and
/// time finds the window; for the batches, it reads two columns of the namespaces.
///
/// # Errors
///
/// `Unavailable` with the message of the server, whatever it refuses, and if it does not answer within the
/// [time](Self::with_timeout) of a call.
///
/// # Examples
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use std::sync::Arc;
///
/// use blobaccess_accounting::{FootprintAccumulator, FootprintOptions, RedbFootprints};
/// use blobaccess_ledger_clickhouse::{ClickHouseRows, OperationsTable};
///
/// let client = clickhouse::Client::default().with_url("http://localhost:8123").with_database("telemetry");
/// let source = ClickHouseRows::new(client, &OperationsTable::default())?;
/// let table = RedbFootprints::open("/var/lib/accounting/footprints.redb")?;
/// table.insert(["acme"]).await?;
/// let accumulator = FootprintAccumulator::new(Arc::new(source), Arc::new(table), FootprintOptions::new());
/// println!("{}", accumulator.run_once().await);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ClickHouseRows {
    client: Client,
    query: String,
    statuses: Vec<String>,
    deletions: Vec<String>,
    has_keys: bool,
    time_limit: TimeLimit,
}

#[derive(Debug, Row, Deserialize)]
struct SumRow {
    namespace: String,
    row_count: u64,
    byte_sum: String,
}

#[derive(Debug, Row, Deserialize)]
struct NowRow {
    now_micros: i64,
}

impl ClickHouseRows {
    /// Reads the rows of `table` with `client`, which has the address, name and password.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` as [`OperationsTable::check`], and if the table has no column for the bytes or the time of ingestion,
    /// has no status of created rows, or has one status for created and deleted rows.
    pub fn new(client: Client, table: &OperationsTable) -> Result<Self> {
        table.check()?;
        let needed = |field: OperationsField| {
            table.quoted_column(field).ok_or_else(|| {
                let column = field.default_column();
                Error::invalid_argument(format!("footprints need a column for {column} in the table of operations"))
            })
        };
        let status = |class| table.written(class).map(|written| written.status.clone());
        let statuses: BTreeSet<String> = [Class::Created, Class::Replaced].into_iter().filter_map(status).collect();
        let deletions: BTreeSet<String> = DELETIONS.into_iter().filter_map(status).collect();
        if status(Class::Created).is_none() || !statuses.is_disjoint(&deletions) {
            return Err(Error::invalid_argument(
                "footprints need a status of created rows in the table of operations, which deleted rows do not have",
            ));
        }
        let batch = [OperationsField::Reporter, OperationsField::Epoch, OperationsField::Seq];
        let batch: Option<Vec<_>> = batch.into_iter().map(|field| table.quoted_column(field)).collect();
        let key: Vec<_> = OperationsField::KEY.into_iter().filter_map(|field| table.quoted_column(field)).collect();
        let names = Names {
            table: table.qualified_name(),
            namespace: needed(OperationsField::Namespace)?,
            status: needed(OperationsField::Status)?,
            bytes: needed(OperationsField::StoredBytes)?,
            time: needed(OperationsField::IngestedAt)?,
        };
        let query = match &batch {
            Some(batch) => names.sum_by_key(&batch.join(", "), &key.join(", ")),
            None => names.sum_of_all(),
        };
        Ok(Self {
            client,
            query,
            statuses: statuses.union(&deletions).cloned().collect(),
            deletions: deletions.into_iter().collect(),
            has_keys: batch.is_some(),
            time_limit: TimeLimit::default(),
        })
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
}

/// The names of a table and its columns, quoted.
struct Names {
    table: String,
    namespace: String,
    status: String,
    bytes: String,
    time: String,
}

/// Returns the condition that a time is after one and not after another.
fn within(time: &str) -> String {
    format!("{time} > fromUnixTimestamp64Micro(?) AND {time} <= fromUnixTimestamp64Micro(?)")
}

impl Names {
    /// Returns the query for sums of rows by key. Parameters: the statuses of deletions; namespaces and statuses; these again,
    /// after and until; after and until again.
    fn sum_by_key(&self, batch: &str, key: &str) -> String {
        let Self { table, namespace, status, bytes, time } = self;
        // The names within cannot be those of columns of the table.
        let (first, again) = (within("first_at_"), within(time));
        format!(
            "SELECT namespace_ AS namespace, count() AS row_count, toString(sum(bytes_)) AS byte_sum FROM (
                SELECT toString({namespace}) AS namespace_, min({time}) AS first_at_,
                    argMin(if(has(?, toString({status})), -toInt128({bytes}), toInt128({bytes})), {time}) AS bytes_
                FROM {table}
                WHERE {namespace} IN ? AND {status} IN ? AND ({batch}) IN (
                    SELECT {batch} FROM {table} WHERE {namespace} IN ? AND {status} IN ? AND {again}
                )
                GROUP BY {key}
            ) WHERE {first} GROUP BY namespace_"
        )
    }

    /// Returns the query for sums of rows that have no key. Parameters: the statuses of deletions; namespaces and statuses;
    /// after and until.
    fn sum_of_all(&self) -> String {
        let Self { table, namespace, status, bytes, time } = self;
        let span = within(time);
        format!(
            "SELECT toString({namespace}) AS namespace, count() AS row_count,
                toString(sum(if(has(?, toString({status})), -toInt128({bytes}), toInt128({bytes})))) AS byte_sum
            FROM {table} AS operations
            WHERE operations.{namespace} IN ? AND {status} IN ? AND {span} GROUP BY operations.{namespace}"
        )
    }
}

#[async_trait]
impl RowSource for ClickHouseRows {
    async fn watermark(&self, lag: Duration) -> Result<IngestionTime> {
        let query = self.client.query("SELECT toUnixTimestamp64Micro(now64(6)) AS now_micros");
        let now = self.time_limit.keep(async { query.fetch_one::<NowRow>().await.map_err(failed) }).await?;
        Ok(IngestionTime::from_micros(u64::try_from(now.now_micros).unwrap_or(0)).settled(lag))
    }

    async fn sum(
        &self,
        namespaces: &[String],
        after: IngestionTime,
        until: IngestionTime,
    ) -> Result<BTreeMap<String, RowSum>> {
        if namespaces.is_empty() {
            return Ok(BTreeMap::new());
        }
        let micros = |time: IngestionTime| i64::try_from(time.micros()).unwrap_or(i64::MAX);
        let (after, until) = (micros(after), micros(until));
        let query = self.client.query(&self.query).bind(&self.deletions).bind(namespaces).bind(&self.statuses);
        let query =
            if self.has_keys { query.bind(namespaces).bind(&self.statuses).bind(after).bind(until) } else { query };
        let query = query.bind(after).bind(until);
        let rows = self.time_limit.keep(async { query.fetch_all::<SumRow>().await.map_err(failed) }).await?;
        let mut sums = BTreeMap::new();
        for row in rows {
            let bytes = row.byte_sum.parse().map_err(|error| {
                Error::data_loss(format!("a sum in clickhouse is {:?}, no whole number: {error}", row.byte_sum))
            })?;
            sums.insert(row.namespace, RowSum::new(row.row_count, bytes));
        }
        Ok(sums)
    }
}

impl Debug for ClickHouseRows {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClickHouseRows").field("query", &self.query).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use blobaccess::ErrorKind;

    use super::*;

    #[test]
    fn a_table_without_what_a_footprint_needs_is_refused() {
        let table = OperationsTable::default;
        for table in [
            table().without_column(OperationsField::IngestedAt),
            table().without_column(OperationsField::StoredBytes),
            table().without_class(Class::Created),
            table().with_status(Class::DeletedOnRequest, "created"),
            table().with_table("a`b"),
        ] {
            let error = ClickHouseRows::new(Client::default(), &table).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{table:?}");
        }
    }

    #[test]
    fn what_a_table_writes_is_what_is_read() {
        let table = OperationsTable::default()
            .with_growth_of_replaced("grown")
            .with_status(Class::DeletedOnRequest, "deleted")
            .with_status(Class::DeletedByCollection, "collected");
        let source = ClickHouseRows::new(Client::default(), &table).unwrap();
        assert_eq!(source.statuses, ["collected", "created", "deleted", "grown"]);
        assert_eq!(source.deletions, ["collected", "deleted"]);
        let plain = ClickHouseRows::new(Client::default(), &OperationsTable::default()).unwrap();
        assert_eq!((plain.statuses.len(), plain.deletions.len(), plain.has_keys), (1, 0, true));
    }
}
