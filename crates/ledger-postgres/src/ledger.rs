//! A ledger in PostgreSQL.

use std::collections::BTreeMap;
use std::time::SystemTime;

use async_trait::async_trait;
use blobaccess::{AccountName, Error, Result};
use blobaccess_accounting::{
    Account, Accumulator, Adjustment, Ledger, Life, Movement, Report, Statement, Tally, Total, from_unix_millis,
    unix_millis,
};
use futures::FutureExt;
use tokio_postgres::{Client, Row, Transaction};

use crate::rows::{self, get, signed, unsigned};
use crate::schema;
use crate::session::Sessions;

/// A [`Ledger`] in PostgreSQL, over one connection that is opened when it is needed.
///
/// # Memory
///
/// In the database, some 200 bytes for each life, account and class with counts. Consuming reads one sum for each account.
///
/// # Cancel safety
///
/// A call that is dropped may still take effect, as a whole.
///
/// # Errors
///
/// `Unavailable` with the message of the server, whatever it refuses; `DataLoss` if the tables have rows that no ledger
/// wrote.
#[derive(Debug)]
pub struct PostgresLedger {
    sessions: Sessions,
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
    /// The connection is not encrypted: reach a distant server through an encrypted tunnel.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if `config` describes no database.
    pub fn new(config: &str) -> Result<Self> {
        let config = config.parse().map_err(|error: tokio_postgres::Error| {
            Error::invalid_argument(format!("ledger in postgresql: {error}"))
        })?;
        Ok(Self { sessions: Sessions::new(config) })
    }

    /// Makes the tables that are missing. Their names begin with `blobaccess_`.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the server cannot be reached or does not allow it.
    pub async fn create_tables(&self) -> Result<()> {
        self.sessions.run(|client| client.batch_execute(schema::SCHEMA).boxed()).await
    }

    async fn rows(&self, sql: &'static str) -> Result<Vec<Row>> {
        self.sessions.run(move |client| async move { client.query(sql, &[]).await }.boxed()).await
    }

    /// Reads the rows of one account name, or of all.
    async fn rows_of(&self, sql: &'static str, account_name: Option<&AccountName>) -> Result<Vec<Row>> {
        let account_name = account_name.map(|account_name| account_name.as_str().to_owned());
        self.sessions.run(move |client| async move { client.query(sql, &[&account_name]).await }.boxed()).await
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
}

async fn apply(client: &mut Client, reports: &[Report]) -> Result<(), tokio_postgres::Error> {
    let transaction = client.transaction().await?;
    for report in reports {
        let (reporter, epoch) = (report.reporter.as_str(), report.epoch.as_bytes().as_slice());
        let (seq, taken_at) = (signed(report.seq), signed(unix_millis(report.taken_at)));
        transaction.execute(schema::UPSERT_LIFE, &[&reporter, &epoch, &seq, &taken_at, &report.closed]).await?;
        let Columns { storage_types, account_names, classes, numbers: [objects, stored, logical, unsize, old] } =
            Columns::from_report(report);
        if !classes.is_empty() {
            transaction
                .execute(
                    schema::UPSERT_REPORTED,
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
        }
    }
    transaction.commit().await
}

/// The rows that were read before consuming, and the rows to be consumed.
struct Unconsumed {
    consumed: Vec<Row>,
    consumed_adjustments: Vec<Row>,
    statements: Vec<Row>,
    rows: Vec<Row>,
    adjustments: Vec<Row>,
}

async fn read_unconsumed(transaction: &Transaction<'_>) -> Result<Unconsumed, tokio_postgres::Error> {
    transaction.query_one(schema::LOCK, &[]).await?;
    Ok(Unconsumed {
        consumed: transaction.query(schema::CONSUMED, &[]).await?,
        consumed_adjustments: transaction.query(schema::CONSUMED_ADJUSTMENTS, &[]).await?,
        statements: transaction.query(schema::STATEMENTS, &[]).await?,
        rows: transaction.query(schema::UNCONSUMED, &[]).await?,
        adjustments: transaction.query(schema::CONSUME_ADJUSTMENTS, &[]).await?,
    })
}

async fn write_consumed(
    transaction: Transaction<'_>,
    unconsumed: &[Row],
    statements: &BTreeMap<Account, Statement>,
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
        .execute(schema::MARK_CONSUMED, &[&reporters, &epochs, &storage_types, &account_names, &classes])
        .await?;
    let accounts = statements.keys();
    let storage_types: Vec<_> = accounts.clone().map(|account| account.storage_type().name()).collect();
    let account_names: Vec<_> = accounts.map(|account| account.account_name().as_str()).collect();
    let integrals: Vec<_> = statements.values().map(|statement| statement.byte_millis.to_string()).collect();
    let times: Vec<_> = statements.values().map(|statement| signed(unix_millis(statement.as_of))).collect();
    transaction.execute(schema::UPSERT_STATEMENT, &[&storage_types, &account_names, &integrals, &times]).await?;
    transaction.commit().await
}

/// Collects tallies by account from rows that have an account, a class and amounts.
fn tallies(rows: &[Row]) -> Result<BTreeMap<Account, Tally>> {
    let mut tallies: BTreeMap<Account, Tally> = BTreeMap::new();
    for row in rows {
        let tally = tallies.entry(rows::account(row, 0)?).or_default();
        tally.add(rows::class(row, 2)?, rows::amounts(row, 3)?);
    }
    Ok(tallies)
}

/// Sums up by account rows that have an account and a number.
fn adjusted(rows: &[Row]) -> Result<BTreeMap<Account, i64>> {
    let mut sums: BTreeMap<Account, i64> = BTreeMap::new();
    for row in rows {
        let sum = sums.entry(rows::account(row, 0)?).or_default();
        *sum = sum.saturating_add(get(row, 2)?);
    }
    Ok(sums)
}

/// Makes statements of the consumed tallies and of rows that have an account, an integral and a time.
fn statements(
    rows: &[Row],
    tallies: &BTreeMap<Account, Tally>,
    adjusted: &BTreeMap<Account, i64>,
) -> Result<BTreeMap<Account, Statement>> {
    let mut statements = BTreeMap::new();
    for row in rows {
        let account = rows::account(row, 0)?;
        let byte_millis = get::<&str>(row, 2)?
            .parse()
            .map_err(|error| Error::data_loss(format!("the ledger in postgresql has a bad integral: {error}")))?;
        let as_of = from_unix_millis(unsigned(row, 3)?);
        let mut statement = Statement::new(account.clone(), as_of).with_byte_millis(byte_millis);
        statement.tally = tallies.get(&account).cloned().unwrap_or_default();
        statement.adjusted_bytes = adjusted.get(&account).copied().unwrap_or(0);
        statements.insert(account, statement);
    }
    Ok(statements)
}

impl Unconsumed {
    /// Returns the movements, and the statements at `now`.
    fn advance(&self, now: SystemTime) -> Result<(Vec<Movement>, BTreeMap<Account, Statement>)> {
        let consumed = tallies(&self.consumed)?;
        let mut statements = statements(&self.statements, &consumed, &adjusted(&self.consumed_adjustments)?)?;
        let mut moved: BTreeMap<Account, Tally> = BTreeMap::new();
        for row in &self.rows {
            let beyond = rows::amounts(row, 5)?.beyond(rows::amounts(row, 10)?);
            moved.entry(rows::account(row, 2)?).or_default().add(rows::class(row, 4)?, beyond);
        }
        let adjusted = adjusted(&self.adjustments)?;
        // Statements without movements still advance in time.
        let known = consumed.into_keys().chain(statements.keys().cloned()).chain(adjusted.keys().cloned());
        for account in known.collect::<Vec<_>>() {
            moved.entry(account).or_default();
        }
        let mut movements = Vec::new();
        for (account, tally) in moved {
            let adjusted = adjusted.get(&account).copied().unwrap_or(0);
            let movement = Movement::new(account.clone(), tally, adjusted);
            let new = || Statement::new(account.clone(), now);
            statements.entry(account.clone()).or_insert_with(new).advance(now, &movement);
            if !movement.tally.is_zero() || movement.adjusted_bytes != 0 {
                movements.push(movement);
            }
        }
        Ok((movements, statements))
    }
}

#[async_trait]
impl Ledger for PostgresLedger {
    async fn apply(&self, reports: &[Report]) -> Result<()> {
        let reports = reports.to_vec();
        self.sessions.run(move |client| async move { apply(client, &reports).await }.boxed()).await
    }

    async fn adjust(&self, adjustments: &[Adjustment]) -> Result<()> {
        let adjustments = adjustments.to_vec();
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
                                schema::INSERT_ADJUSTMENT,
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

    async fn adjustments(&self) -> Result<Vec<Adjustment>> {
        self.rows(schema::ADJUSTMENTS).await?.iter().map(rows::adjustment).collect()
    }
}

#[async_trait]
impl Accumulator for PostgresLedger {
    async fn consume(&self, now: SystemTime) -> Result<Vec<Movement>> {
        self.sessions
            .run(move |client| {
                async move {
                    let transaction = client.transaction().await?;
                    let read = read_unconsumed(&transaction).await?;
                    match read.advance(now) {
                        Ok((movements, statements)) => {
                            write_consumed(transaction, &read.rows, &statements).await?;
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
        let consumed = tallies(&self.rows(schema::CONSUMED).await?)?;
        let adjusted = adjusted(&self.rows(schema::CONSUMED_ADJUSTMENTS).await?)?;
        let rows = self.rows(schema::STATEMENTS).await?;
        Ok(statements(&rows, &consumed, &adjusted)?.into_values().collect())
    }
}
