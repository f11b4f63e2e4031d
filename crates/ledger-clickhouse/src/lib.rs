//! Uploads in ClickHouse: a ledger for history and analytics, and a table of operations for consumers that add rows up.
//!
//! Both are tested on ClickHouse's engine, which chdb embeds, and run on any server whose URL `BLOBACCESS_CLICKHOUSE_URL` has.
//!
//! A [`ClickHouseLedger`] is a [`Ledger`](blobaccess_accounting::Ledger). Every report is inserted unchanged, and the tables
//! keep the highest of each number, both when they merge and when they are read. So inserts may be repeated, late and in any
//! order, and nothing depends on the server's deduplication of inserts.
//!
//! It is no `Accumulator`: ClickHouse has no lock under which a cursor could move. Keep statements in the embedded ledger or
//! in PostgreSQL, or compute them from the totals.
//!
//! [`ClickHouseOperations`] writes each outcome into a row of a table of the site's ([`OperationsTable`]), exactly once.
//!
//! # Examples
//!
//! ```no_run
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> blobaccess::Result<()> {
//! use blobaccess_accounting::Ledger;
//! use blobaccess_ledger_clickhouse::ClickHouseLedger;
//!
//! let client = clickhouse::Client::default().with_url("http://localhost:8123").with_database("accounting");
//! let ledger = ClickHouseLedger::new(client);
//! ledger.create_tables().await?;
//! assert!(ledger.totals(None).await?.is_empty());
//! # Ok(())
//! # }
//! ```
//!
//! # Where to read on
//!
//! [`blobaccess_accounting`] explains accounts, reports and ledgers.

mod ledger;
mod operations;
mod operations_engine;
mod operations_row;
mod operations_table;
mod row_source;
mod rows;
mod schema;
mod time_limit;

pub use self::ledger::ClickHouseLedger;
pub use self::operations::{ClickHouseOperations, OperationsSnapshot};
pub use self::operations_engine::OperationsEngine;
pub use self::operations_table::{OperationsField, OperationsTable, WrittenBytes, WrittenClass};
pub use self::row_source::ClickHouseRows;
