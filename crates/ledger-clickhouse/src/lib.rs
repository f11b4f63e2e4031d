//! A ledger in ClickHouse: for history, for analytics, and for those who read delta rows there.
//!
//! A [`ClickHouseLedger`] is a [`Ledger`](blobaccess_accounting::Ledger). Every report is inserted as it is, and tables
//! keep the highest of each number, when they merge as when they are read: so inserts may be repeated, late and in any
//! order, and nothing depends on the server's deduplication of inserts.
//!
//! It is no `Accumulator`: ClickHouse has no lock to move a cursor under. Statements are kept in the embedded ledger or
//! in PostgreSQL, or follow from the totals.
//!
//! [`ClickHouseDeltaRows`] writes what was counted since the report before, for consumers that add rows up.
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

mod delta;
mod ledger;
mod rows;
mod schema;

pub use self::delta::ClickHouseDeltaRows;
pub use self::ledger::ClickHouseLedger;
