//! Delta rows in ClickHouse, for consumers that add rows up.

use std::fmt::{self, Debug, Formatter};

use async_trait::async_trait;
use blobaccess::Result;
use blobaccess_accounting::{DeltaRow, DeltaSink};
use clickhouse::{Client, Row};
use serde::{Deserialize, Serialize};

use crate::ledger::{failed, insert};
use crate::schema;
use crate::time_limit::TimeLimit;

/// A sink of delta rows in the table `blobaccess_delta_rows`: the counts of each reporter since its previous report.
///
/// `status` has the words that consumers know: `created`, `already_exists`, `error`, `dropped`. `ingested_at` is set by
/// the server. A write that takes more than 30 s fails. A row may come twice, with the same key; read the table with `FINAL`, or by distinct keys.
#[derive(Clone)]
pub struct ClickHouseDeltaRows {
    client: Client,
    time_limit: TimeLimit,
}

#[derive(Clone, Debug, PartialEq, Eq, Row, Serialize, Deserialize)]
pub(crate) struct Delta {
    reporter: String,
    epoch: String,
    seq: u64,
    account_name: String,
    kind: String,
    status: String,
    reason: String,
    objects: u64,
    stored_bytes: u64,
    logical_bytes: u64,
    unsized_bytes: u64,
    old_bytes: u64,
}

impl ClickHouseDeltaRows {
    /// Writes to the database of `client`.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, time_limit: TimeLimit::default() }
    }

    /// Makes the table, if it is not there.
    ///
    /// # Errors
    ///
    /// `Unavailable` if the server cannot be reached or does not allow it.
    pub async fn create_table(&self) -> Result<()> {
        self.time_limit.keep(async { self.client.query(schema::DELTA_ROWS).execute().await.map_err(failed) }).await
    }
}

impl Delta {
    fn from_row(row: &DeltaRow) -> Self {
        Self {
            reporter: row.reporter.as_str().to_owned(),
            epoch: row.epoch.to_string(),
            seq: row.seq,
            account_name: row.account.account_name().as_str().to_owned(),
            kind: row.account.storage_type().name().to_owned(),
            status: row.class.status().to_owned(),
            reason: row.class.reason().to_owned(),
            objects: row.amounts.objects,
            stored_bytes: row.amounts.stored_bytes,
            logical_bytes: row.amounts.logical_bytes,
            unsized_bytes: row.amounts.unsized_bytes,
            old_bytes: row.amounts.old_bytes,
        }
    }

    #[cfg(test)]
    pub(crate) fn words(&self) -> (&str, &str, u64) {
        (&self.status, &self.reason, self.logical_bytes)
    }
}

#[async_trait]
impl DeltaSink for ClickHouseDeltaRows {
    async fn write(&self, rows: &[DeltaRow]) -> Result<()> {
        let rows: Vec<_> = rows.iter().map(Delta::from_row).collect();
        self.time_limit.keep(insert(&self.client, "blobaccess_delta_rows", &rows)).await
    }
}

impl Debug for ClickHouseDeltaRows {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClickHouseDeltaRows").finish_non_exhaustive()
    }
}
