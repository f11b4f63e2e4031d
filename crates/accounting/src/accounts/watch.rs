//! A watch over reports: that nobody reports is said while uploads are counted, and not only when they are lost.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The time after which counts that nobody reports are worth a line in the log.
const PATIENCE: Duration = Duration::from_mins(1);

/// The number of uploads between two looks at the clock.
const LOOK_EVERY: u64 = 64;

/// The times at which reports were made, for those who count.
#[derive(Debug)]
pub(crate) struct Watch {
    opened_at: Instant,
    /// The milliseconds after opening by which a report is due; 0 if nobody has promised any.
    due_millis: AtomicU64,
    warned: AtomicBool,
    /// The number of uploads whose beginning was acknowledged.
    acknowledged: AtomicU64,
}

impl Watch {
    pub(super) const fn new(opened_at: Instant) -> Self {
        Self {
            opened_at,
            due_millis: AtomicU64::new(0),
            warned: AtomicBool::new(false),
            acknowledged: AtomicU64::new(0),
        }
    }

    /// Notes at `now` that a report is to be made after no more than `interval`.
    pub(crate) fn expect_report(&self, now: Instant, interval: Duration) {
        let due = now.saturating_duration_since(self.opened_at).saturating_add(interval).saturating_add(PATIENCE);
        self.due_millis.store(u64::try_from(due.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.warned.store(false, Ordering::Relaxed);
    }

    /// Notes that `uploads` were acknowledged.
    pub(crate) fn acknowledge(&self, uploads: u64) {
        self.acknowledged.fetch_max(uploads, Ordering::Relaxed);
    }

    /// Returns the number of uploads whose beginning was acknowledged.
    pub(super) fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Returns whether a report was promised.
    pub(super) fn is_expected(&self) -> bool {
        self.due_millis.load(Ordering::Relaxed) != 0
    }

    /// Returns whether the log should say, at the upload with this number, that no report is made. It is once for each
    /// silence.
    #[inline]
    pub(super) fn is_overdue(&self, number: u64, now: impl FnOnce() -> Instant) -> bool {
        let due = self.due_millis.load(Ordering::Relaxed);
        if due == 0 || !number.is_multiple_of(LOOK_EVERY) || self.warned.load(Ordering::Relaxed) {
            return false;
        }
        let since = now().saturating_duration_since(self.opened_at).as_millis();
        since > u128::from(due) && !self.warned.swap(true, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use blobaccess::{Clock, SystemClock};

    use super::*;

    #[tokio::test]
    async fn that_nobody_reports_is_said_once_for_each_silence() {
        let begin = SystemClock.monotonic();
        let at = |seconds| move || begin + Duration::from_secs(seconds);
        let watch = Watch::new(begin);
        assert!(!watch.is_overdue(64, at(999)), "nobody has promised a report");
        watch.expect_report(begin, Duration::ZERO);
        assert!(!watch.is_overdue(64, at(60)));
        assert!(!watch.is_overdue(65, at(61)), "the clock is not looked at");
        assert!(watch.is_overdue(128, at(61)));
        assert!(!watch.is_overdue(192, at(62)));
        watch.expect_report(at(100)(), Duration::from_mins(5));
        assert!(!watch.is_overdue(256, at(460)));
        assert!(watch.is_overdue(256, at(461)));
    }
}
