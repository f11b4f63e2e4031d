//! Accounts of uploads: each upload ends in exactly one outcome, and a ledger says how much each account stores.
//!
//! ```text
//!   Ticket ── journal ── store ── outcome ──> counters ──> report ──> ledger
//!   (one      (before     (any)   (exactly    (only        (all counts, (keeps the
//!    upload)   a byte)             one)        grow)        repeated)    highest)
//! ```
//!
//! An upload is a [`Ticket`]. It ends in exactly one [`Outcome`], even if its future is dropped, its task panics or its
//! runtime stops. Outcomes are added to counters that only grow. A [`Report`] holds all counts of this life of the program,
//! so it may be sent twice, late, or not at all if another follows: a [`Ledger`] keeps the highest of each number. Uploads
//! that were under way when a program died are in its journal; the next life asks the store about them, by the token of
//! each upload, and reports for the dead one.
//!
//! | | |
//! |---|---|
//! | [`Accounted`] | a layer that counts every put, in front of any store |
//! | [`Accounts`] | the counters, and the journal |
//! | [`Reporting`] | sends the counts to a ledger |
//! | [`RowSink`] | takes each outcome in a row, exactly once, for consumers that add rows up |
//! | [`Ledger`], [`Accumulator`] | keep them: [`MemoryLedger`], [`RedbLedger`] in a file; PostgreSQL and ClickHouse have crates of their own |
//! | [`FootprintAccumulator`] | adds rows of operations, or the totals of a ledger, to a table of footprints |
//! | [`DriftWatch`] | compares the ledger with the store on a schedule, by account; [`DriftScan`] and [`DriftInterval`] are its means |
//! | [`OwnerIndex`], [`OwnerScan`] | know whose each stored blob is, so that deletions are counted |
//! | [`Quotas`] | refuse uploads beyond the limit of an account |
//! | [`Metrics`] | shows all counts to Prometheus |
//!
//! Uploads in the background, through a bounded queue, are in the crate `blobaccess-write-behind`.
//!
//! # Examples
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> blobaccess::Result<()> {
//! use std::sync::Arc;
//!
//! use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, InstanceName, MemoryStore};
//! use blobaccess_accounting::{Accounted, Accounts, AccountsOptions, Ledger, MemoryLedger, Reporter, Reporting};
//!
//! let accounts = Accounts::open(AccountsOptions::new(Reporter::new("host-7")))?;
//! let ledger = Arc::new(MemoryLedger::new());
//! let reporting = Reporting::new(accounts.clone(), ledger.clone());
//! let store = Accounted::new(MemoryStore::<Cas>::new(1 << 20), accounts);
//!
//! let digest = Digest::of(InstanceName::new("acme")?, DigestFunction::Sha256, b"hello");
//! for _ in 0..2 {
//!     store.put(&Context::background(), &digest, Blob::from_bytes("hello")).await?;
//!     reporting.flush().await?;
//! }
//! let total = ledger.totals(None).await?.remove(0);
//! assert_eq!(total.footprint_bytes(), 5);
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantees
//!
//! Nothing here starts a task or registers a metric. The document `docs/accounting.md` in the repository has the invariants
//! I1 to I7, lists what can go wrong and what prevents each, and says how all of it is tested.
//!
//! # Where to read on
//!
//! [`Accounted`] is where most hosts begin, and [`Reporting`] comes next. To write a ledger of your own, read [`Ledger`] and
//! the module `conformance` (feature `conformance`).

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(unix))]
compile_error!("blobaccess-accounting needs a Unix system: it is tested on Linux, and compiles on macOS");

mod account;
mod accounted;
mod accounts;
mod amounts;
mod class;
mod concurrency;
#[cfg(feature = "conformance")]
pub mod conformance;
mod drift;
mod evictions;
mod exposition;
mod footprints;
mod identity;
mod journal;
mod ledger;
mod metrics;
mod observer;
mod outcome;
mod owners;
mod quota;
mod report;
mod reporting;
mod rows;
mod tally;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;
mod tokens;

pub use self::account::Account;
pub use self::accounted::Accounted;
pub use self::accounts::{Accounts, AccountsBuilder, AccountsOptions, AccountsSnapshot, Deletion, Ticket};
pub use self::amounts::Amounts;
pub use self::class::Class;
pub use self::drift::{
    DriftAlarm, DriftAlarms, DriftFinding, DriftInterval, DriftMetrics, DriftReport, DriftScan, DriftSubject,
    DriftWatch, DriftWatchOptions, DriftWatchSnapshot, Histogram, HistogramSnapshot, KindDrift, Listed, NoOwners,
    Owner, Owners, Reading, ScanProgress, Scanned, ShardProgress,
};
pub use self::footprints::{
    AccumulatorRun, AccumulatorSnapshot, Counted, FootprintAccumulator, FootprintAddition, FootprintFailure,
    FootprintMark, FootprintOptions, FootprintRow, FootprintShard, FootprintTable, IngestionTime, LedgerSource,
    MemoryFootprints, RedbFootprints, RowSource, RowSum,
};
pub use self::identity::{Epoch, Reporter};
pub use self::ledger::{
    Accumulator, Adjustment, Completeness, Correction, InFlight, Ledger, Life, MemoryLedger, Movement, RedbLedger,
    RedbOptions, Statement, Total,
};
pub use self::metrics::Metrics;
pub use self::observer::{AccountingObserver, NoAccountingObserver};
pub use self::outcome::{DropReason, ErrorReason, Outcome};
pub use self::owners::{
    DeletedBlob, Held, OwnerIndex, OwnerIndexBuilder, OwnerIndexOptions, OwnerIndexSnapshot, OwnerResolver, OwnerScan,
    OwnerScanOptions, OwnerScanned, ScanPart, UnknownBlobs,
};
pub use self::quota::{Quota, QuotaUsage, Quotas};
pub use self::report::{Report, from_unix_millis, unix_millis};
pub use self::reporting::{Reporting, ReportingSnapshot, RowsSnapshot};
pub use self::rows::{OperationRow, RowBatch, RowSink, RowsOptions, RowsWritten};
pub use self::tally::{Tally, TallySnapshot};
