//! The books of a site: where counts, rows and footprints are kept.

use std::path::Path;
use std::sync::Arc;

use blobaccess::{Error, Result};
use blobaccess_accounting::{FootprintTable, Ledger, LedgerSource, RedbFootprints, RedbLedger, RowSink, RowSource};
use blobaccess_ledger_clickhouse::{ClickHouseOperations, ClickHouseRows, OperationsEngine, OperationsTable};
use blobaccess_ledger_postgres::{FootprintColumns, PostgresFootprints, PostgresLedger, PostgresOptions};

use crate::customers::CUSTOMERS;
use crate::flags::Flags;

/// The books of a site.
#[derive(Debug)]
pub(crate) struct Books {
    /// The counts of all uploads, by which drift is measured.
    pub(crate) ledger: Arc<dyn Ledger>,
    /// The receiver of rows of operations, if there is one.
    pub(crate) rows: Option<Arc<dyn RowSink>>,
    /// The source of what is added to footprints.
    pub(crate) source: Arc<dyn RowSource>,
    /// The footprints that customers see.
    pub(crate) footprints: Arc<dyn FootprintTable>,
}

impl Books {
    /// Opens the books of the site `id`. What is missing is made, under names that end with `id`.
    pub(crate) async fn open(flags: &Flags, directory: &Path, id: &str) -> Result<Self> {
        let (ledger, footprints) = match &flags.postgres {
            Some(postgres) => in_postgres(postgres, id).await?,
            None => in_files(directory).await?,
        };
        let (rows, source): (Option<Arc<dyn RowSink>>, Arc<dyn RowSource>) = match &flags.clickhouse {
            Some(clickhouse) => {
                let client = clickhouse::Client::default().with_url(clickhouse);
                let table = OperationsTable::default().with_table(format!("remote_build_cache_operations_{id}"));
                let rows = ClickHouseOperations::new(client.clone(), table.clone())?;
                rows.create_table(OperationsEngine::MergeTree).await?;
                (Some(Arc::new(rows)), Arc::new(ClickHouseRows::new(client, &table)?))
            }
            None => (None, Arc::new(LedgerSource::new(Arc::clone(&ledger)))),
        };
        Ok(Self { ledger, rows, source, footprints })
    }
}

/// Opens ledger and footprints in files of `directory`.
async fn in_files(directory: &Path) -> Result<(Arc<dyn Ledger>, Arc<dyn FootprintTable>)> {
    let footprints = RedbFootprints::open(directory.join("footprints.redb"))?;
    footprints.insert(CUSTOMERS).await?;
    Ok((Arc::new(RedbLedger::open(directory.join("ledger.redb"))?), Arc::new(footprints)))
}

/// Opens ledger and footprints in PostgreSQL.
async fn in_postgres(postgres: &str, id: &str) -> Result<(Arc<dyn Ledger>, Arc<dyn FootprintTable>)> {
    let options = PostgresOptions::new().with_table_prefix(format!("metering_{id}_"));
    let ledger = PostgresLedger::with_options(postgres, options)?;
    ledger.create_tables().await?;
    Ok((Arc::new(ledger), Arc::new(open_entries(postgres, id).await?)))
}

/// Opens the table `bazelre_cache_entries` of a site, with a row for each customer. A site has such a table already: here it
/// is made, in a schema of its own.
async fn open_entries(postgres: &str, id: &str) -> Result<PostgresFootprints> {
    let failed = |error: tokio_postgres::Error| Error::unavailable(format!("PostgreSQL: {error}")).with_source(error);
    let (client, connection) = tokio_postgres::connect(postgres, tokio_postgres::NoTls).await.map_err(failed)?;
    let connection = tokio::spawn(connection);
    let schema = format!("metering_{id}");
    let create = format!(
        "CREATE SCHEMA IF NOT EXISTS {schema};
        CREATE TABLE IF NOT EXISTS {schema}.bazelre_cache_entries (
            namespace text PRIMARY KEY,
            storage_footprint_bytes bigint NOT NULL DEFAULT 0,
            last_ingested_at timestamptz
        );"
    );
    client.batch_execute(&create).await.map_err(failed)?;
    let insert = format!("INSERT INTO {schema}.bazelre_cache_entries (namespace) VALUES ($1) ON CONFLICT DO NOTHING");
    for customer in CUSTOMERS {
        client.execute(&insert, &[&customer]).await.map_err(failed)?;
    }
    connection.abort();
    let table = PostgresFootprints::new(postgres, &FootprintColumns::default().with_schema(schema))?;
    table.create_tables().await?;
    Ok(table)
}
