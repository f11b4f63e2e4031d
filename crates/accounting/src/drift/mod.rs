//! How far what is stored is from what was counted, as an interval that is proved, and what is done about it.

mod alarm;
mod histogram;
mod interval;
mod scan;

pub use self::alarm::DriftAlarm;
pub use self::histogram::{Histogram, HistogramSnapshot};
pub use self::interval::{DriftInterval, Reading};
pub use self::scan::{DriftScan, ScanProgress, Scanned, ShardProgress};
