//! Is told what becomes of uploads, reports and limits.

use std::fmt::Debug;

use blobaccess::{AccountName, Error};

use crate::{Account, DriftInterval, Outcome};

/// Is told what becomes of uploads, reports and limits: for logs, alarms and metrics of a host's own.
///
/// Every method has an empty body. They are called on the way of an upload: an observer counts and returns.
pub trait AccountingObserver: Debug + Send + Sync + 'static {
    /// An upload of a blob of `logical_bytes` has ended.
    fn upload_ended(&self, account: &Account, outcome: Outcome, logical_bytes: u64) {
        let _: (&Account, Outcome, u64) = (account, outcome, logical_bytes);
    }

    /// A report was acknowledged, or not.
    fn reported(&self, result: Result<(), &Error>) {
        let _: Result<(), &Error> = result;
    }

    /// With this upload, a account passes its soft limit: it has and reserves `used_bytes` of `soft_bytes`.
    fn soft_limit_passed(&self, account_name: &AccountName, used_bytes: u64, soft_bytes: u64) {
        let _: (&AccountName, u64, u64) = (account_name, used_bytes, soft_bytes);
    }

    /// A scan has ended, as told by [`DriftAlarm::observe_and_tell`](crate::DriftAlarm::observe_and_tell). `alarm` if the drift has now been too large for as often as the rule says.
    fn scanned(&self, drift: &DriftInterval, alarm: bool) {
        let _: (&DriftInterval, bool) = (drift, alarm);
    }
}

/// An observer that is told everything and keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoAccountingObserver;

impl AccountingObserver for NoAccountingObserver {}
