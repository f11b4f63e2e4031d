//! A ledger in ClickHouse.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use blobaccess::{AccountName, Clock, Error, Result};
use blobaccess_accounting::{Account, Adjustment, InFlight, Ledger, Life, Report, Tally, Total};
use clickhouse::{Client, RowOwned, RowRead, RowWrite};

use crate::rows::{AdjustmentRow, InFlightRow, LifeRow, ReportedRow, TotalRow};
use crate::schema;
use crate::time_limit::TimeLimit;

/// A [`Ledger`] in ClickHouse.
///
/// # Weakens
///
/// A report of many rows is atomic only as far as the server inserts a block atomically. As reports are sent until they are
/// acknowledged, a partial report is completed later. Among adjustments with the same scan and account, the earliest counts.
///
/// # Errors
///
/// `Unavailable` with the message of the server, whatever it refuses, and if it does not answer within the
/// [time](Self::with_timeout) of a call; `DataLoss` if the tables have rows that no ledger
/// wrote.
#[derive(Clone)]
pub struct ClickHouseLedger {
    client: Client,
    time_limit: TimeLimit,
}

pub(crate) fn failed(error: clickhouse::error::Error) -> Error {
    Error::unavailable(format!("clickhouse: {error}")).with_source(error)
}

/// Inserts rows as one block.
pub(crate) async fn insert<T>(client: &Client, table: &str, rows: &[T]) -> Result<()>
where
    T: RowOwned + RowWrite + Sync,
{
    if rows.is_empty() {
        return Ok(());
    }
    let mut insert = client.insert::<T>(table).await.map_err(failed)?;
    for row in rows {
        insert.write(row).await.map_err(failed)?;
    }
    insert.end().await.map_err(failed)
}

impl ClickHouseLedger {
    /// Makes the ledger in the database of `client`, which has the address, name and password.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, time_limit: TimeLimit::default() }
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

    /// Makes the tables that are missing. Their names begin with `blobaccess_`.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the server cannot be reached or does not allow it.
    pub async fn create_tables(&self) -> Result<()> {
        for table in schema::TABLES {
            let create = self.client.query(table).execute();
            self.time_limit.keep(async { create.await.map_err(failed) }).await?;
        }
        Ok(())
    }

    async fn all<T: RowOwned + RowRead>(&self, sql: &str) -> Result<Vec<T>> {
        self.time_limit.keep(async { self.client.query(sql).fetch_all::<T>().await.map_err(failed) }).await
    }
}

#[async_trait]
impl Ledger for ClickHouseLedger {
    async fn apply(&self, reports: &[Report]) -> Result<()> {
        let reported: Vec<_> = reports.iter().flat_map(ReportedRow::from_report).collect();
        self.time_limit.keep(insert(&self.client, "blobaccess_reported", &reported)).await?;
        // The lives come last, so that a life in the ledger has its counts.
        let lives: Vec<_> = reports.iter().map(LifeRow::from_report).collect();
        self.time_limit.keep(insert(&self.client, "blobaccess_lives", &lives)).await
    }

    async fn adjust(&self, adjustments: &[Adjustment]) -> Result<()> {
        let rows: Vec<_> = adjustments.iter().map(AdjustmentRow::from_adjustment).collect();
        self.time_limit.keep(insert(&self.client, "blobaccess_adjustments", &rows)).await
    }

    async fn totals(&self, account_name: Option<&AccountName>) -> Result<Vec<Total>> {
        let query = self.client.query(schema::TOTALS).bind(account_name.is_none());
        let query = query.bind(account_name.map_or("", AccountName::as_str));
        let rows = self.time_limit.keep(async { query.fetch_all::<TotalRow>().await.map_err(failed) }).await?;
        let mut totals: BTreeMap<Account, (Tally, i64)> = BTreeMap::new();
        for row in rows {
            let (account, class, amounts) = row.counted()?;
            totals.entry(account).or_default().0.add(class, amounts);
        }
        for adjustment in self.adjustments().await? {
            if account_name.is_none_or(|account_name| adjustment.account.account_name() == account_name) {
                let adjusted = &mut totals.entry(adjustment.account).or_default().1;
                *adjusted = adjusted.saturating_add(adjustment.delta_bytes);
            }
        }
        Ok(totals.into_iter().map(|(account, (tally, adjusted))| Total::new(account, tally, adjusted)).collect())
    }

    async fn lives(&self) -> Result<Vec<Life>> {
        let mut lives =
            self.all::<LifeRow>(schema::LIVES).await?.iter().map(LifeRow::life).collect::<Result<Vec<_>>>()?;
        lives.sort();
        Ok(lives)
    }

    async fn retire(&self, lives: &[Life]) -> Result<()> {
        // A life without a number was never heard of, and a row of it would make it one.
        let rows: Vec<_> = lives.iter().filter(|life| life.seq > 0).map(LifeRow::retiring).collect();
        self.time_limit.keep(insert(&self.client, "blobaccess_lives", &rows)).await
    }

    async fn in_flight(&self) -> Result<Vec<InFlight>> {
        self.all::<InFlightRow>(schema::IN_FLIGHT).await?.iter().map(InFlightRow::in_flight).collect()
    }

    async fn adjustments(&self) -> Result<Vec<Adjustment>> {
        self.all::<AdjustmentRow>(schema::ADJUSTMENTS).await?.iter().map(AdjustmentRow::adjustment).collect()
    }
}

impl Debug for ClickHouseLedger {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClickHouseLedger").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
