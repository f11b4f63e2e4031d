//! The observer of uploads, reports and limits.

use std::fmt::Debug;
use std::sync::Arc;

use blobaccess::{AccountName, Error};

use crate::{Account, DriftFinding, DriftInterval, DriftReport, Outcome};

/// An observer of uploads, reports and limits, for logs, alarms and metrics of the host.
///
/// Every method has an empty default body. They are called within an upload, at times with a lock held: count and return,
/// and put or queue nothing.
pub trait AccountingObserver: Debug + Send + Sync + 'static {
    /// Handles the end of an upload of a blob of `logical_bytes`.
    fn upload_ended(&self, account: &Account, outcome: Outcome, logical_bytes: u64) {
        let _: (&Account, Outcome, u64) = (account, outcome, logical_bytes);
    }

    /// Handles a report that was acknowledged, or failed.
    fn reported(&self, result: Result<(), &Error>) {
        let _: Result<(), &Error> = result;
    }

    /// Handles an upload with which an account passes its soft limit: `used_bytes` are stored or reserved, and the limit is
    /// `soft_bytes`.
    fn soft_limit_passed(&self, account_name: &AccountName, used_bytes: u64, soft_bytes: u64) {
        let _: (&AccountName, u64, u64) = (account_name, used_bytes, soft_bytes);
    }

    /// Handles the end of a scan of stores of one kind, on behalf of [`DriftWatch`](crate::DriftWatch) and
    /// [`DriftAlarm::observe_and_tell`](crate::DriftAlarm::observe_and_tell). `alarm` says whether the rule of the alarm is
    /// met.
    fn scanned(&self, drift: &DriftInterval, alarm: bool) {
        let _: (&DriftInterval, bool) = (drift, alarm);
    }

    /// Handles a drift that is cause for alarm: of everything, of a kind of store, or of one of the accounts that drift most,
    /// of which there are [as many](crate::DriftWatchOptions::with_worst) as a report names. No lock is held.
    fn drift_found(&self, finding: &DriftFinding) {
        let _: &DriftFinding = finding;
    }

    /// Handles the result of a scan of a [`DriftWatch`](crate::DriftWatch), after its findings. No lock is held.
    fn scan_ended(&self, report: &DriftReport) {
        let _: &DriftReport = report;
    }
}

/// A shared observer is an observer: `builder.with_observer(Arc::clone(&alarms))`.
impl<O: AccountingObserver + ?Sized> AccountingObserver for Arc<O> {
    fn upload_ended(&self, account: &Account, outcome: Outcome, logical_bytes: u64) {
        (**self).upload_ended(account, outcome, logical_bytes);
    }

    fn reported(&self, result: Result<(), &Error>) {
        (**self).reported(result);
    }

    fn soft_limit_passed(&self, account_name: &AccountName, used_bytes: u64, soft_bytes: u64) {
        (**self).soft_limit_passed(account_name, used_bytes, soft_bytes);
    }

    fn scanned(&self, drift: &DriftInterval, alarm: bool) {
        (**self).scanned(drift, alarm);
    }

    fn drift_found(&self, finding: &DriftFinding) {
        (**self).drift_found(finding);
    }

    fn scan_ended(&self, report: &DriftReport) {
        (**self).scan_ended(report);
    }
}

/// An observer that ignores everything.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoAccountingObserver;

impl AccountingObserver for NoAccountingObserver {}
