//! A table of footprints in PostgreSQL: a site's own, by the names of its columns.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use blobaccess::{Clock, Error, Result};
use blobaccess_accounting::{
    Counted, FootprintAddition, FootprintMark, FootprintRow, FootprintShard, FootprintTable, IngestionTime,
};
use futures::FutureExt;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Row, Transaction};

use crate::footprint_columns::{FootprintColumns, FootprintSql};
use crate::footprint_page::{FootprintPage, PageDone, count_of};
use crate::ledger::refuses_contents;
use crate::rows::{get, signed};
use crate::session::Sessions;
use crate::tls::PostgresTls;

/// A [`FootprintTable`] over a site's own table in PostgreSQL, and one connection that is opened when it is needed.
///
/// Cursor and footprint are columns of the site's table. The count of what was counted lately is in a table beside it, with
/// the cursor that it was made for: if somebody else advances the cursor, the count begins anew there.
///
/// # Types
///
/// A cursor in a column of type `timestamp`, which knows no time zone, is in UTC. A column whose precision would round a cursor refuses
/// it; those that accumulators make are whole seconds, which every precision keeps. A footprint that does not fit into its
/// column fails, and is never wrapped or cut.
///
/// # Errors
///
/// `Unavailable` with the message of the server, whatever it refuses, and if it does not answer within the
/// [time](Self::with_timeout) of a call. `FailedPrecondition` if two active rows have the name of one; `NotFound` if none
/// has.
///
/// # Cancel safety
///
/// A call that is dropped may still take effect, as a whole.
///
/// # Examples
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use std::sync::Arc;
///
/// use blobaccess::Background;
/// use blobaccess_accounting::{FootprintAccumulator, FootprintOptions};
/// use blobaccess_ledger_postgres::{FootprintColumns, PostgresFootprints, PostgresRows, PostgresTls};
///
/// let (site, telemetry) = ("host=db.example dbname=web user=accounting", "host=db.example dbname=telemetry");
/// let tls = PostgresTls::with_system_roots()?;
/// let columns = FootprintColumns::default().with_namespace("cache_name").with_active("state", "enabled");
/// let table = PostgresFootprints::new(site, &columns)?.with_tls(tls.clone());
/// table.create_tables().await?;
/// let source = PostgresRows::new(telemetry, "remote_build_cache_operations")?.with_tls(tls);
/// let accumulator = FootprintAccumulator::new(Arc::new(source), Arc::new(table), FootprintOptions::new());
/// Background::new().with(Arc::new(accumulator)).run().await.ok();
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct PostgresFootprints {
    sessions: Sessions,
    sql: Arc<FootprintSql>,
    active_value: Option<String>,
    keeps_counts: bool,
}

/// A change of a row.
#[derive(Clone, Debug)]
struct Change {
    name: String,
    active_value: Option<String>,
    kind: ChangeKind,
    next: FootprintMark,
}

#[derive(Clone, Copy, Debug)]
enum ChangeKind {
    Add { expected: Option<FootprintMark>, delta_bytes: i64 },
    Import { footprint_bytes: Option<i64> },
}

/// The failure of a transaction: of the connection or server, or of what was asked for.
pub(crate) enum Fault {
    Database(tokio_postgres::Error),
    Refused(Error),
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Database(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl PostgresFootprints {
    /// The time of a call, unless it is set.
    const TIMEOUT: Duration = Duration::from_secs(30);

    /// Makes the table in the database that `config` describes, a connection string or URL of PostgreSQL. This does not
    /// connect yet.
    ///
    /// The connection is not encrypted unless [`with_tls`](Self::with_tls) is called.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if `config` describes no database, or a name of `columns` is no identifier.
    pub fn new(config: &str, columns: &FootprintColumns) -> Result<Self> {
        columns.check()?;
        Ok(Self {
            sessions: Sessions::new("footprints", config, Self::TIMEOUT)?,
            sql: Arc::new(FootprintSql::new(columns)),
            active_value: columns.active_value().map(str::to_owned),
            keeps_counts: columns.keeps_counts(),
        })
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

    /// Makes the table of counts, if it is missing and counts are kept. Several hosts may do so at once. The site's own table
    /// is never made, nor altered.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the server cannot be reached or does not allow it.
    pub async fn create_tables(&self) -> Result<()> {
        self.sessions.execute_together(self.sql.create.clone()).await
    }

    /// Makes the additions in one transaction; `None` if they have to be made one by one.
    async fn add_page(&self, additions: &[FootprintAddition]) -> Result<Option<PageDone>> {
        let by_name = additions.iter().map(|addition| (addition.name.clone(), addition.clone())).collect();
        let page = FootprintPage { active_value: self.active_value.clone(), additions: by_name };
        if page.additions.len() < additions.len() || additions.len() == 1 {
            return Ok(None);
        }
        let sql = Arc::clone(&self.sql);
        self.sessions
            .run(move |client| {
                async move {
                    match page.make(client, &sql).await {
                        Ok(done) => Ok(Ok(done)),
                        Err(Fault::Refused(error)) => Ok(Err(error)),
                        Err(Fault::Database(error)) if refuses_contents(&error) => Ok(Ok(None)),
                        Err(Fault::Database(error)) => Err(error),
                    }
                }
                .boxed()
            })
            .await?
    }

    async fn change(&self, name: &str, kind: ChangeKind, next: &FootprintMark) -> Result<bool> {
        let change = Change { name: name.to_owned(), active_value: self.active_value.clone(), kind, next: *next };
        let sql = Arc::clone(&self.sql);
        self.sessions
            .run(move |client| {
                async move {
                    match change.make(client, &sql).await {
                        Ok(changed) => Ok(Ok(changed)),
                        Err(Fault::Refused(error)) => Ok(Err(error)),
                        Err(Fault::Database(error)) => change.refused(error).map(Err),
                    }
                }
                .boxed()
            })
            .await?
    }
}

/// Reads the time in this column of microseconds; times before the epoch are the epoch.
pub(crate) fn time(row: &Row, column: usize) -> Result<Option<IngestionTime>> {
    let micros = get::<Option<i64>>(row, column)?;
    Ok(micros.map(|micros| IngestionTime::from_micros(u64::try_from(micros).unwrap_or(0))))
}

/// Reads the count in this column and the next three, if it was made for `cursor`.
pub(crate) fn counted(row: &Row, column: usize, cursor: IngestionTime) -> Result<Option<Counted>> {
    if get::<Option<i64>>(row, column)? != Some(signed(cursor.micros())) {
        return Ok(None);
    }
    let since = time(row, column + 1)?.unwrap_or_default();
    Ok(Some(Counted::new(since, get(row, column + 2)?, get(row, column + 3)?)))
}

pub(crate) fn mark(cursor: Option<IngestionTime>, counted: Option<Counted>) -> Option<FootprintMark> {
    let mark = FootprintMark::new(cursor?);
    Some(match counted {
        Some(counted) => mark.with_counted(counted),
        None => mark,
    })
}

impl Change {
    /// Makes the change, and returns whether the row was as it was expected to be.
    async fn make(&self, client: &mut Client, sql: &FootprintSql) -> Result<bool, Fault> {
        let transaction = client.transaction().await?;
        // A cursor may be a column without a time zone.
        transaction.batch_execute("SET LOCAL TIME ZONE 'UTC'").await?;
        let current = self.lock(&transaction, sql).await?;
        let (statement, bytes) = match self.kind {
            ChangeKind::Add { expected, delta_bytes } if current == expected => (&sql.add, Some(delta_bytes)),
            ChangeKind::Import { footprint_bytes } if current.is_none() => (&sql.import, footprint_bytes),
            ChangeKind::Add { .. } | ChangeKind::Import { .. } => {
                transaction.rollback().await?;
                return Ok(false);
            }
        };
        let cursor = signed(self.next.cursor.micros());
        let written = transaction.query_one(statement, &[&self.active_value, &self.name, &bytes, &cursor]).await?;
        let written = get::<Option<i64>>(&written, 0)?;
        if written != Some(cursor) {
            transaction.rollback().await?;
            let cursor = self.next.cursor;
            return Err(Fault::Refused(Error::failed_precondition(format!(
                "the column of the cursor does not keep the time {cursor}: it makes {written:?} microseconds of it"
            ))));
        }
        if let Some(statement) = &sql.set_count {
            let (of, counted) = count_of(&self.next);
            let since = signed(counted.since.micros());
            transaction.execute(statement, &[&self.name, &of, &since, &counted.rows, &counted.bytes]).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// Locks the row, and returns its mark.
    async fn lock(&self, transaction: &Transaction<'_>, sql: &FootprintSql) -> Result<Option<FootprintMark>, Fault> {
        let name = &self.name;
        let rows = transaction.query(&sql.lock, &[&self.active_value, name]).await?;
        let row = match rows.as_slice() {
            [] => return Err(Fault::Refused(Error::not_found(format!("there is no active row of {name:?}")))),
            [row] => row,
            several => {
                let several = several.len();
                let error = format!("there are {several} active rows of {name:?}, where there must be one");
                return Err(Fault::Refused(Error::failed_precondition(error)));
            }
        };
        let Some(cursor) = time(row, 1)? else { return Ok(None) };
        // Read after the lock, by a statement of its own: the one that waited for the lock would not see what came first.
        let count = match &sql.count {
            Some(statement) => transaction.query_opt(statement, &[name]).await?,
            None => None,
        };
        let counted = count.map(|count| counted(&count, 0, cursor)).transpose()?.flatten();
        Ok(mark(Some(cursor), counted))
    }

    /// Returns the error of what the server refuses because of the numbers or names in it; otherwise `error`.
    fn refused(&self, error: tokio_postgres::Error) -> Result<Error, tokio_postgres::Error> {
        let name = &self.name;
        match error.as_db_error() {
            Some(told) if *told.code() == SqlState::NUMERIC_VALUE_OUT_OF_RANGE => {
                Ok(Error::out_of_range(format!("the footprint of {name:?} does not fit into its column: {told}")))
            }
            Some(told) if refuses_contents(&error) => {
                Ok(Error::invalid_argument(format!("the footprint of {name:?} is refused: {told}")))
            }
            _ => Err(error),
        }
    }
}

#[async_trait]
impl FootprintTable for PostgresFootprints {
    async fn active(&self, shard: FootprintShard, after: Option<&str>, limit: usize) -> Result<Vec<FootprintRow>> {
        let (active_value, sql, after) = (self.active_value.clone(), Arc::clone(&self.sql), after.map(str::to_owned));
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let (index, count) = (i32::from(shard.index()), i32::from(shard.count()));
        let rows = self.sessions.run(move |client| {
            async move {
                match &after {
                    None => client.query(&sql.first_page, &[&active_value, &limit, &index, &count]).await,
                    Some(after) => client.query(&sql.next_page, &[&active_value, &limit, &index, &count, after]).await,
                }
            }
            .boxed()
        });
        let read = |row: &Row| {
            let cursor = time(row, 2)?;
            let counted = cursor.map(|cursor| counted(row, 3, cursor)).transpose()?.flatten();
            Ok(FootprintRow::new(get::<&str>(row, 0)?, get(row, 1)?, mark(cursor, counted)))
        };
        rows.await?.iter().map(read).collect()
    }

    async fn add(
        &self,
        name: &str,
        expected: Option<&FootprintMark>,
        delta_bytes: i64,
        next: &FootprintMark,
    ) -> Result<bool> {
        self.change(name, ChangeKind::Add { expected: expected.copied(), delta_bytes }, next).await
    }

    /// Makes the additions of different names in one transaction; those that are left out there, and all of them if the server
    /// refuses one, in transactions of their own.
    async fn add_all(&self, additions: &[FootprintAddition]) -> Vec<Result<bool>> {
        let page = match self.add_page(additions).await {
            Ok(page) => page,
            Err(error) => return vec![Err(error); additions.len()],
        };
        let mut added = Vec::with_capacity(additions.len());
        for addition in additions {
            added.push(match page.as_ref().and_then(|page| page.added.get(&addition.name)) {
                Some(added) => Ok(*added),
                None => {
                    self.add(&addition.name, addition.expected.as_ref(), addition.delta_bytes, &addition.next).await
                }
            });
        }
        added
    }

    async fn import(&self, name: &str, footprint_bytes: Option<i64>, mark: &FootprintMark) -> Result<bool> {
        self.change(name, ChangeKind::Import { footprint_bytes }, mark).await
    }

    fn keeps_counts(&self) -> bool {
        self.keeps_counts
    }
}
