//! Drift: the difference between the bytes reported and the bytes stored, as an interval that is proved.

mod alarm;
mod comparing;
mod figures;
mod heard;
mod histogram;
mod interval;
mod options;
mod owners;
mod pace;
mod progress;
mod progress_file;
mod report;
mod scan;
mod sheet;
mod watch;

pub use self::alarm::DriftAlarm;
pub use self::figures::DriftMetrics;
pub use self::histogram::{Histogram, HistogramSnapshot};
pub use self::interval::{DriftInterval, Reading};
pub use self::options::DriftWatchOptions;
pub use self::owners::{NoOwners, Owner, Owners};
pub use self::report::{DriftAlarms, DriftFinding, DriftReport, DriftSubject, KindDrift};
pub use self::scan::{DriftScan, ScanProgress, Scanned, ShardProgress};
pub use self::sheet::Listed;
pub use self::watch::{DriftWatch, DriftWatchSnapshot};
