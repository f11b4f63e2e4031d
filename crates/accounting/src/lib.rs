//! Accounts for what is uploaded: each upload ends in exactly one outcome, and a ledger says what the store holds.
//!
//! # The idea
//!
//! ```text
//!   Ticket ── journal ── store ── outcome ──> counters ──> report ──> ledger
//!   (one      (before     (any)   (exactly    (only        (all of    (keeps the
//!    upload)   a byte)             one)        grow)        it, again)  highest)
//! ```
//!
//! An upload is a [`Ticket`]: it ends in exactly one [`Outcome`], though its future is dropped, its task panics or its
//! runtime stops. Outcomes are added to counters that only grow. A [`Report`] says all that was counted in this life of
//! the program, so that it may be sent twice, late, or not at all if another follows: a [`Ledger`] keeps the highest of
//! each number. What was under way when a program died is in its journal; the next life asks the store, under the token
//! of each upload, and reports for the dead.
//!
//! | | |
//! |---|---|
//! | [`Accounted`] | counts every put in front of a store |
//! | [`Accounts`] | what was counted, and the journal |
//! | [`Reporting`] | takes it to a ledger |
//! | [`Ledger`], [`Accumulator`] | keep it: [`MemoryLedger`], [`RedbLedger`]; PostgreSQL and ClickHouse are crates of their own |
//! | [`DriftScan`], [`DriftInterval`] | compare it with what is stored |
//! | [`Quotas`] | refuse what would be too much |
//! | [`Metrics`] | shows all of it to Prometheus |
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
//! # What is promised
//!
//! The invariants I1 to I7 of `docs/accounting.md`, which also lists what can go wrong and what prevents each. Nothing
//! here starts a task or registers a metric.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(unix))]
compile_error!("blobaccess-accounting needs a Unix system: it is tested on Linux, and compiles on macOS");

mod account;
mod accounted;
mod accounts;
mod amounts;
mod class;
#[cfg(feature = "conformance")]
pub mod conformance;
mod delta;
mod drift;
mod evictions;
mod identity;
mod journal;
mod ledger;
mod metrics;
mod observer;
mod outcome;
mod quota;
mod report;
mod reporting;
mod resolving;
mod sync;
mod tally;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;
mod ticket;
mod tokens;

pub use self::account::Account;
pub use self::accounted::Accounted;
pub use self::accounts::{Accounts, AccountsOptions, AccountsSnapshot, Deletion};
pub use self::amounts::Amounts;
pub use self::class::Class;
pub use self::delta::{DeltaRow, DeltaSink};
pub use self::drift::{
    DriftAlarm, DriftInterval, DriftScan, Histogram, HistogramSnapshot, Reading, ScanProgress, Scanned, ShardProgress,
};
pub use self::identity::{Epoch, Reporter};
pub use self::ledger::{
    Accumulator, Adjustment, Completeness, Ledger, Life, MemoryLedger, Movement, RedbLedger, Statement, Total,
};
pub use self::metrics::Metrics;
pub use self::observer::{AccountingObserver, NoAccountingObserver};
pub use self::outcome::{DropReason, ErrorReason, Outcome};
pub use self::quota::{Quota, QuotaUsage, Quotas};
pub use self::report::{Report, of_unix_millis, unix_millis};
pub use self::reporting::{Reporting, ReportingSnapshot};
pub use self::tally::{Tally, TallySnapshot};
pub use self::ticket::Ticket;
