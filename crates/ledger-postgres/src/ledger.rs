//! A ledger in PostgreSQL.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use blobaccess::{AccountName, Clock, Error, Result};
use blobaccess_accounting::{
    Account, Accumulator, Adjustment, Correction, InFlight, Ledger, Life, Movement, Report, Statement, Tally, Total,
    from_unix_millis, unix_millis,
};
use futures::FutureExt;
use tokio_postgres::{Client, Row, Transaction};

use crate::correcting;
use crate::options::PostgresOptions;
use crate::rows::{self, get, signed, unsigned};
use crate::schema;
use crate::session::Sessions;
use crate::tls::PostgresTls;

/// A [`Ledger`] in PostgreSQL, over one connection that is opened when it is needed.
///
/// Lives that are over are summed up when the ledger is consumed, so that the ledger grows with accounts, and by a single
/// row with each life.
///
/// # Clocks
///
/// The statements advance by at most a day with each call of [`consume`](Accumulator::consume), so that a clock that is
/// ahead once bills no more than that. After a longer pause, each call catches up by a day. With
/// [`server_time`](Self::server_time), all who consume have one clock. What a clock billed that was ahead again and again is
/// taken back by [`rewind`](Accumulator::rewind).
///
/// # Memory
///
/// In the database, some 200 bytes for each life that is not over, account and class with counts. Consuming reads what
/// changed, and one sum for each account that did.
///
/// # Cancel safety
///
/// A call that is dropped may still take effect, as a whole.
///
/// # Errors
///
/// `Unavailable` with the message of the server, whatever it refuses, and if it does not answer within the
/// [time](PostgresOptions::with_timeout) of a call; `DataLoss` if the tables have rows that no ledger wrote. A row of a
/// report that the server refuses for its contents fails no report: it is set aside, logged, and
/// [counted](PostgresSnapshot::rows_set_aside).
#[derive(Debug)]
pub struct PostgresLedger {
    sessions: Sessions,
    sql: Arc<Sql>,
    rows_set_aside: AtomicU64,
}

/// The state of a [`PostgresLedger`] of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PostgresSnapshot {
    /// The number of rows of reports that the server refused for what is in them, such as characters that the encoding of
    /// the database lacks. Their counts are in no total.
    pub rows_set_aside: u64,
}

/// The statements, for tables with a prefix.
#[derive(Debug)]
pub(crate) struct Sql {
    prefix: String,
}

impl Sql {
    pub(crate) fn of(&self, statement: &str) -> String {
        statement.replace("blobaccess_", &self.prefix)
    }
}

/// The rows of reports, by column.
#[derive(Default)]
struct Columns {
    storage_types: Vec<&'static str>,
    account_names: Vec<String>,
    classes: Vec<i16>,
    numbers: [Vec<i64>; 5],
}

impl PostgresLedger {
    /// Makes the ledger in the database that `config` describes, a connection string or URL of PostgreSQL. This does not
    /// connect yet.
    ///
    /// The connection is not encrypted unless [`with_tls`](Self::with_tls) is called.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if `config` describes no database.
    pub fn new(config: &str) -> Result<Self> {
        Self::with_options(config, PostgresOptions::new())
    }

    /// Makes the ledger as [`new`](Self::new) does, with other settings.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if `config` describes no database, or the prefix of the tables is none.
    pub fn with_options(config: &str, options: PostgresOptions) -> Result<Self> {
        let sessions = Sessions::new("ledger", config, options.timeout)?;
        options.check()?;
        Ok(Self { sessions, sql: Arc::new(Sql { prefix: options.table_prefix }), rows_set_aside: AtomicU64::new(0) })
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

    /// Returns the state of this process.
    #[must_use]
    pub fn snapshot(&self) -> PostgresSnapshot {
        PostgresSnapshot { rows_set_aside: self.rows_set_aside.load(Ordering::Relaxed) }
    }

    /// Returns the time of the server, for [`consume`](Accumulator::consume): one clock for all who consume.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the server cannot be reached.
    pub async fn server_time(&self) -> Result<SystemTime> {
        let rows = self.rows(schema::SERVER_TIME).await?;
        let millis = rows.first().map(|row| unsigned(row, 0)).transpose()?;
        millis.map(from_unix_millis).ok_or_else(|| Error::data_loss("the server of a ledger has no time"))
    }

    /// Makes the tables and columns that are missing. Their names begin with `blobaccess_`, or another
    /// [prefix](PostgresOptions::with_table_prefix). Several hosts may do so at once.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the server cannot be reached or does not allow it.
    pub async fn create_tables(&self) -> Result<()> {
        self.sessions.execute_together(self.sql.of(schema::SCHEMA)).await
    }

    async fn rows(&self, statement: &'static str) -> Result<Vec<Row>> {
        let sql = self.sql.of(statement);
        self.sessions.run(move |client| async move { client.query(&sql, &[]).await }.boxed()).await
    }

    /// Reads the rows of one account name, or of all.
    async fn rows_of(&self, statement: &'static str, account_name: Option<&AccountName>) -> Result<Vec<Row>> {
        let sql = self.sql.of(statement);
        let account_name = account_name.map(|account_name| account_name.as_str().to_owned());
        self.sessions.run(move |client| async move { client.query(&sql, &[&account_name]).await }.boxed()).await
    }

    /// Reads the rows of all account names.
    async fn all_rows(&self, statement: &'static str) -> Result<Vec<Row>> {
        let sql = self.sql.of(statement);
        self.sessions.run(move |client| async move { client.query(&sql, &[&None::<Vec<&str>>]).await }.boxed()).await
    }
}

impl Columns {
    /// Collects the rows of `report` in the order of the key, so that concurrent reports lock their rows in the same order.
    fn from_report(report: &Report) -> Self {
        let mut merged: BTreeMap<&Account, Tally> = BTreeMap::new();
        for (account, tally) in &report.accounts {
            merged.entry(account).or_default().raise(tally);
        }
        let mut columns = Self::default();
        for (account, tally) in merged {
            for (class, amounts) in tally.iter() {
                columns.storage_types.push(account.storage_type().name());
                columns.account_names.push(account.account_name().as_str().to_owned());
                columns.classes.push(class.code().into());
                for (column, number) in columns.numbers.iter_mut().zip(amounts.columns()) {
                    column.push(signed(number));
                }
            }
        }
        columns
    }

    /// Puts the rows of `range` into the table of a life.
    async fn upsert(
        &self,
        transaction: &Transaction<'_>,
        sql: &str,
        report: &Report,
        range: Range<usize>,
    ) -> Result<(), tokio_postgres::Error> {
        let (reporter, epoch) = (report.reporter.as_str(), report.epoch.as_bytes().as_slice());
        let storage_types = self.storage_types.get(range.clone()).unwrap_or_default();
        let account_names = self.account_names.get(range.clone()).unwrap_or_default();
        let classes = self.classes.get(range.clone()).unwrap_or_default();
        let [objects, stored, logical, unsize, old] =
            self.numbers.each_ref().map(|column| column.get(range.clone()).unwrap_or_default());
        transaction
            .execute(
                sql,
                &[
                    &reporter,
                    &epoch,
                    &storage_types,
                    &account_names,
                    &classes,
                    &objects,
                    &stored,
                    &logical,
                    &unsize,
                    &old,
                ],
            )
            .await?;
        Ok(())
    }
}

/// Returns whether the server refuses what is in a row, so that the row would be refused again.
pub(crate) fn refuses_contents(error: &tokio_postgres::Error) -> bool {
    // Data exceptions, violated constraints, exceeded limits.
    error.code().is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.code().starts_with(class)))
}

/// Applies reports, and returns the number of rows that were set aside.
async fn apply(client: &mut Client, reports: &[Report], sql: &Sql) -> Result<u64, tokio_postgres::Error> {
    let (upsert_life, upsert_reported) = (sql.of(schema::UPSERT_LIFE), sql.of(schema::UPSERT_REPORTED));
    let mut set_aside = 0;
    let mut transaction = client.transaction().await?;
    for report in reports {
        let (reporter, epoch) = (report.reporter.as_str(), report.epoch.as_bytes().as_slice());
        let (seq, taken_at) = (signed(report.seq), signed(unix_millis(report.taken_at)));
        let columns = Columns::from_report(report);
        let mut open = std::iter::once(0..columns.classes.len()).collect::<Vec<_>>();
        let savepoint = transaction.transaction().await?;
        match savepoint.query_one(&upsert_life, &[&reporter, &epoch, &seq, &taken_at, &report.closed]).await {
            Ok(row) => {
                savepoint.commit().await?;
                if row.try_get(1)? {
                    let epoch = report.epoch;
                    tracing::warn!(%reporter, %epoch, "a life that was retired has reported again: it is open again");
                }
                // A life that is summed up has reported everything.
                if row.try_get(0)? {
                    continue;
                }
            }
            Err(error) if refuses_contents(&error) => {
                tracing::error!(%error, %reporter, "a report was set aside: the ledger refuses its reporter");
                set_aside += 1;
                savepoint.rollback().await?;
                continue;
            }
            Err(error) => return Err(error),
        }
        // The rows that are refused are found by halves.
        while let Some(range) = open.pop().filter(|range| !range.is_empty()) {
            let savepoint = transaction.transaction().await?;
            match columns.upsert(&savepoint, &upsert_reported, report, range.clone()).await {
                Ok(()) => savepoint.commit().await?,
                Err(error) if refuses_contents(&error) => {
                    savepoint.rollback().await?;
                    if range.len() == 1 {
                        let account_name = columns.account_names.get(range.start).map(String::as_str);
                        tracing::error!(%error, account_name, "a row of a report was set aside: the ledger refuses it");
                        set_aside += 1;
                    } else {
                        let middle = range.start.midpoint(range.end);
                        open.extend([middle..range.end, range.start..middle]);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
    transaction.commit().await?;
    Ok(set_aside)
}

/// The longest time by which statements advance at once.
const MAX_STEP: Duration = Duration::from_hours(24);

/// The rows that were read before consuming, and the rows to be consumed.
struct Unconsumed {
    /// The time until which statements were consumed.
    as_of: Option<SystemTime>,
    rows: Vec<Row>,
    adjustments: Vec<Row>,
    /// The rows of the accounts that have moved.
    consumed: Vec<Row>,
    consumed_adjustments: Vec<Row>,
    statements: Vec<Row>,
}

pub(crate) fn time(row: &Row) -> Result<Option<SystemTime>, tokio_postgres::Error> {
    let millis = row.try_get::<_, Option<i64>>(0)?;
    Ok(millis.map(|millis| from_unix_millis(u64::try_from(millis).unwrap_or(0))))
}

async fn read_unconsumed(transaction: &Transaction<'_>, sql: &Sql) -> Result<Unconsumed, tokio_postgres::Error> {
    transaction.query_one(&sql.of(schema::LOCK), &[]).await?;
    let as_of = time(&transaction.query_one(&sql.of(schema::AS_OF), &[]).await?)?;
    // What was consumed of adjustments is read before they are marked.
    let rows = transaction.query(&sql.of(schema::UNCONSUMED), &[]).await?;
    let names = rows.iter().map(|row| row.try_get::<_, String>(3)).collect::<Result<BTreeSet<_>, _>>()?;
    let fresh = transaction.query(&sql.of(schema::UNCONSUMED_ADJUSTMENTS), &[]).await?;
    let adjusted = fresh.iter().map(|row| row.try_get::<_, String>(1)).collect::<Result<BTreeSet<_>, _>>()?;
    let names: Vec<_> = names.union(&adjusted).cloned().collect();
    let consumed = transaction.query(&sql.of(schema::CONSUMED), &[&names]).await?;
    let consumed_adjustments = transaction.query(&sql.of(schema::CONSUMED_ADJUSTMENTS), &[&names]).await?;
    let statements = transaction.query(&sql.of(schema::STATEMENTS), &[&names]).await?;
    let adjustments = transaction.query(&sql.of(schema::CONSUME_ADJUSTMENTS), &[&names]).await?;
    Ok(Unconsumed { as_of, rows, adjustments, consumed, consumed_adjustments, statements })
}

async fn write_consumed(
    transaction: Transaction<'_>,
    unconsumed: &[Row],
    statements: &BTreeMap<Account, Statement>,
    as_of: SystemTime,
    sql: &Sql,
) -> Result<(), tokio_postgres::Error> {
    let (mut reporters, mut epochs, mut classes) = (Vec::new(), Vec::new(), Vec::new());
    let (mut storage_types, mut account_names) = (Vec::new(), Vec::new());
    for row in unconsumed {
        reporters.push(row.try_get::<_, &str>(0)?);
        epochs.push(row.try_get::<_, &[u8]>(1)?);
        storage_types.push(row.try_get::<_, &str>(2)?);
        account_names.push(row.try_get::<_, &str>(3)?);
        classes.push(row.try_get::<_, i16>(4)?);
    }
    transaction
        .execute(&sql.of(schema::MARK_CONSUMED), &[&reporters, &epochs, &storage_types, &account_names, &classes])
        .await?;
    let accounts = statements.keys();
    let storage_types: Vec<_> = accounts.clone().map(|account| account.storage_type().name()).collect();
    let account_names: Vec<_> = accounts.map(|account| account.account_name().as_str()).collect();
    let integrals: Vec<_> = statements.values().map(|statement| statement.byte_millis.to_string()).collect();
    let times: Vec<_> = statements.values().map(|statement| signed(unix_millis(statement.as_of))).collect();
    transaction
        .execute(&sql.of(schema::UPSERT_STATEMENT), &[&storage_types, &account_names, &integrals, &times])
        .await?;
    transaction.execute(&sql.of(schema::SET_AS_OF), &[&signed(unix_millis(as_of))]).await?;
    transaction.execute(&sql.of(schema::FOLD), &[]).await?;
    transaction.commit().await
}

/// Collects tallies by account from rows that have an account, a class and amounts.
pub(crate) fn tallies(rows: &[Row]) -> Result<BTreeMap<Account, Tally>> {
    let mut tallies: BTreeMap<Account, Tally> = BTreeMap::new();
    for row in rows {
        let tally = tallies.entry(rows::account(row, 0)?).or_default();
        tally.add(rows::class(row, 2)?, rows::amounts(row, 3)?);
    }
    Ok(tallies)
}

/// Sums up by account rows that have an account and a number.
pub(crate) fn adjusted(rows: &[Row]) -> Result<BTreeMap<Account, i64>> {
    let mut sums: BTreeMap<Account, i64> = BTreeMap::new();
    for row in rows {
        let sum = sums.entry(rows::account(row, 0)?).or_default();
        *sum = sum.saturating_add(get(row, 2)?);
    }
    Ok(sums)
}

/// Makes statements of the consumed tallies and of rows that have an account, an integral and a time.
pub(crate) fn statements(
    rows: &[Row],
    tallies: &BTreeMap<Account, Tally>,
    adjusted: &BTreeMap<Account, i64>,
) -> Result<BTreeMap<Account, Statement>> {
    let mut statements = BTreeMap::new();
    for row in rows {
        let account = rows::account(row, 0)?;
        let byte_millis = rows::byte_millis(row, 2)?;
        let as_of = from_unix_millis(unsigned(row, 3)?);
        let mut statement = Statement::new(account.clone(), as_of).with_byte_millis(byte_millis);
        statement.tally = tallies.get(&account).cloned().unwrap_or_default();
        statement.adjusted_bytes = adjusted.get(&account).copied().unwrap_or(0);
        statements.insert(account, statement);
    }
    Ok(statements)
}

impl Unconsumed {
    /// Returns the time to which statements advance at `now`: not back, and not far ahead at once.
    fn advanced_to(&self, now: SystemTime) -> SystemTime {
        let Some(as_of) = self.as_of else { return now };
        now.clamp(as_of, as_of.checked_add(MAX_STEP).unwrap_or(as_of))
    }

    /// Returns the movements, and the statements of their accounts at `now`.
    fn advance(&self, now: SystemTime) -> Result<(Vec<Movement>, BTreeMap<Account, Statement>)> {
        let consumed = tallies(&self.consumed)?;
        let mut known = statements(&self.statements, &consumed, &adjusted(&self.consumed_adjustments)?)?;
        let mut moved: BTreeMap<Account, Tally> = BTreeMap::new();
        for row in &self.rows {
            let beyond = rows::amounts(row, 5)?.beyond(rows::amounts(row, 10)?);
            moved.entry(rows::account(row, 2)?).or_default().add(rows::class(row, 4)?, beyond);
        }
        let adjusted = adjusted(&self.adjustments)?;
        for account in adjusted.keys() {
            moved.entry(account.clone()).or_default();
        }
        let (mut movements, mut changed) = (Vec::new(), BTreeMap::new());
        for (account, tally) in moved {
            let adjusted = adjusted.get(&account).copied().unwrap_or(0);
            let movement = Movement::new(account.clone(), tally, adjusted);
            let mut statement = known.remove(&account).unwrap_or_else(|| Statement::new(account.clone(), now));
            statement.advance(now, &movement);
            changed.insert(account, statement);
            if !movement.tally.is_zero() || movement.adjusted_bytes != 0 {
                movements.push(movement);
            }
        }
        Ok((movements, changed))
    }
}

#[async_trait]
impl Ledger for PostgresLedger {
    async fn apply(&self, reports: &[Report]) -> Result<()> {
        let (reports, sql) = (reports.to_vec(), Arc::clone(&self.sql));
        let applied = self.sessions.run(move |client| async move { apply(client, &reports, &sql).await }.boxed());
        let set_aside = applied.await?;
        self.rows_set_aside.fetch_add(set_aside, Ordering::Relaxed);
        Ok(())
    }

    async fn adjust(&self, adjustments: &[Adjustment]) -> Result<()> {
        let adjustments = adjustments.to_vec();
        let sql = self.sql.of(schema::INSERT_ADJUSTMENT);
        self.sessions
            .run(move |client| {
                async move {
                    let transaction = client.transaction().await?;
                    for adjustment in &adjustments {
                        let account = &adjustment.account;
                        let made_at = signed(unix_millis(adjustment.made_at));
                        let (storage_type, account_name) =
                            (account.storage_type().name(), account.account_name().as_str());
                        let Adjustment { scan_id, delta_bytes, drift_low_bytes, drift_high_bytes, .. } = adjustment;
                        transaction
                            .execute(
                                &sql,
                                &[
                                    scan_id,
                                    &storage_type,
                                    &account_name,
                                    delta_bytes,
                                    drift_low_bytes,
                                    drift_high_bytes,
                                    &made_at,
                                ],
                            )
                            .await?;
                    }
                    transaction.commit().await
                }
                .boxed()
            })
            .await
    }

    async fn totals(&self, account_name: Option<&AccountName>) -> Result<Vec<Total>> {
        let mut tallies = tallies(&self.rows_of(schema::TOTALS, account_name).await?)?;
        let adjusted = adjusted(&self.rows_of(schema::ADJUSTED, account_name).await?)?;
        for account in adjusted.keys() {
            tallies.entry(account.clone()).or_default();
        }
        let total = |(account, tally)| {
            let adjusted = adjusted.get(&account).copied().unwrap_or(0);
            Total::new(account, tally, adjusted)
        };
        Ok(tallies.into_iter().map(total).collect())
    }

    async fn lives(&self) -> Result<Vec<Life>> {
        let mut lives = self.rows(schema::LIVES).await?.iter().map(rows::life).collect::<Result<Vec<_>>>()?;
        lives.sort();
        Ok(lives)
    }

    async fn retire(&self, lives: &[Life]) -> Result<()> {
        let lives = lives.to_vec();
        let sql = self.sql.of(schema::RETIRE);
        self.sessions
            .run(move |client| {
                async move {
                    let reporters: Vec<_> = lives.iter().map(|life| life.reporter.as_str()).collect();
                    let epochs: Vec<_> = lives.iter().map(|life| life.epoch.as_bytes().as_slice()).collect();
                    let numbers: Vec<_> = lives.iter().map(|life| signed(life.seq)).collect();
                    client.execute(&sql, &[&reporters, &epochs, &numbers]).await
                }
                .boxed()
            })
            .await
            .map(drop)
    }

    async fn in_flight(&self) -> Result<Vec<InFlight>> {
        self.rows(schema::IN_FLIGHT).await?.iter().map(rows::in_flight).collect()
    }

    async fn adjustments(&self) -> Result<Vec<Adjustment>> {
        self.rows(schema::ADJUSTMENTS).await?.iter().map(rows::adjustment).collect()
    }
}

#[async_trait]
impl Accumulator for PostgresLedger {
    async fn consume(&self, now: SystemTime) -> Result<Vec<Movement>> {
        let sql = Arc::clone(&self.sql);
        self.sessions
            .run(move |client| {
                async move {
                    let transaction = client.transaction().await?;
                    let read = read_unconsumed(&transaction, &sql).await?;
                    let as_of = read.advanced_to(now);
                    match read.advance(as_of) {
                        Ok((movements, statements)) => {
                            write_consumed(transaction, &read.rows, &statements, as_of, &sql).await?;
                            Ok(Ok(movements))
                        }
                        Err(error) => {
                            transaction.rollback().await?;
                            Ok(Err(error))
                        }
                    }
                }
                .boxed()
            })
            .await?
    }

    async fn statements(&self) -> Result<Vec<Statement>> {
        let as_of = self.rows(schema::AS_OF).await?;
        let as_of = as_of.first().map(|row| get::<Option<i64>>(row, 0)).transpose()?.flatten();
        let consumed = tallies(&self.all_rows(schema::CONSUMED).await?)?;
        let adjusted = adjusted(&self.all_rows(schema::CONSUMED_ADJUSTMENTS).await?)?;
        let rows = self.all_rows(schema::STATEMENTS).await?;
        let mut statements: Vec<_> = statements(&rows, &consumed, &adjusted)?.into_values().collect();
        if let Some(as_of) = as_of {
            // A statement that did not move was not written.
            let as_of = from_unix_millis(u64::try_from(as_of).unwrap_or(0));
            for statement in &mut statements {
                let nothing = Movement::new(statement.account.clone(), Tally::new(), 0);
                statement.advance(as_of, &nothing);
            }
        }
        Correction::add_all(&self.corrections().await?, &mut statements);
        Ok(statements)
    }

    async fn correct(&self, corrections: &[Correction]) -> Result<()> {
        let (corrections, sql) = (corrections.to_vec(), Arc::clone(&self.sql));
        self.sessions
            .run(move |client| async move { correcting::correct(client, &corrections, &sql).await }.boxed())
            .await
    }

    async fn corrections(&self) -> Result<Vec<Correction>> {
        self.rows(schema::CORRECTIONS).await?.iter().map(rows::correction).collect()
    }

    async fn rewind(&self, to: SystemTime) -> Result<()> {
        let sql = Arc::clone(&self.sql);
        self.sessions.run(move |client| async move { correcting::rewind(client, to, &sql).await }.boxed()).await?
    }
}
