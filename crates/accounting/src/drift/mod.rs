//! Drift: the difference between the bytes reported and the bytes stored, as an interval that is proved.

mod alarm;
mod histogram;
mod interval;
mod owners;
mod scan;

pub use self::alarm::DriftAlarm;
pub use self::histogram::{Histogram, HistogramSnapshot};
pub use self::interval::{DriftInterval, Reading};
pub use self::owners::{NoOwners, Owner, Owners};
pub use self::scan::{DriftScan, ScanProgress, Scanned, ShardProgress};
