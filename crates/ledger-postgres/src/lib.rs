//! A ledger in PostgreSQL, or in a database that speaks its protocol, for many hosts that report to one place.
//!
//! A [`PostgresLedger`] is a [`Ledger`](blobaccess_accounting::Ledger) and an
//! [`Accumulator`](blobaccess_accounting::Accumulator). Reports are upserts that keep the higher of each number, so any host
//! may send any report any number of times. Consuming is one transaction under a row lock.
//!
//! [`PostgresFootprints`] is a site's own table of footprints, and [`PostgresRows`] a table of operations, for a
//! [`FootprintAccumulator`](blobaccess_accounting::FootprintAccumulator).
//!
//! # Examples
//!
//! ```no_run
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> blobaccess::Result<()> {
//! use blobaccess_accounting::Ledger;
//! use blobaccess_ledger_postgres::PostgresLedger;
//!
//! let ledger = PostgresLedger::new("host=localhost user=accounting dbname=accounting")?;
//! ledger.create_tables().await?;
//! for total in ledger.totals(None).await? {
//!     assert!(total.footprint_bytes() >= 0);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Where to read on
//!
//! [`blobaccess_accounting`] explains accounts, reports and ledgers.

mod correcting;
mod footprint_columns;
mod footprint_page;
mod footprint_table;
mod identifier;
mod ledger;
mod operations;
mod operations_refusals;
mod operations_sink;
mod options;
mod rows;
mod schema;
mod session;
mod tls;

pub use self::footprint_columns::FootprintColumns;
pub use self::footprint_table::PostgresFootprints;
pub use self::ledger::{PostgresLedger, PostgresSnapshot};
pub use self::operations::PostgresRows;
pub use self::options::PostgresOptions;
pub use self::tls::PostgresTls;
