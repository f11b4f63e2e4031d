//! The rule by which a drift is cause for alarm: the whole interval is too large, several times in a row.

use super::DriftInterval;
use crate::AccountingObserver;

/// The rule by which a drift is cause for alarm.
///
/// The whole interval has to lie beyond a share of the bytes stored, several times in a row. A scan of a busy store proves
/// little, and a single scan that proves much may have met an outage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriftAlarm {
    percent: u32,
    floor_bytes: u64,
    times: u32,
    beyond: u32,
}

impl Default for DriftAlarm {
    fn default() -> Self {
        Self { percent: 10, floor_bytes: 64 << 20, times: 2, beyond: 0 }
    }
}

impl DriftAlarm {
    /// Returns the default rule: beyond 10 % of the bytes stored, or of 64 MiB if that is more, twice in a row.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the share of the bytes stored that is tolerated, in percent.
    #[must_use]
    pub const fn with_percent(mut self, percent: u32) -> Self {
        self.percent = percent;
        self
    }

    /// Sets the number of bytes below which the store counts as that large, so that an almost empty store raises no alarm.
    #[must_use]
    pub const fn with_floor_bytes(mut self, floor_bytes: u64) -> Self {
        self.floor_bytes = floor_bytes;
        self
    }

    /// Sets the number of consecutive scans beyond the share that raise an alarm.
    #[must_use]
    pub const fn with_times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    /// Returns whether the whole interval lies beyond the share that is tolerated. This records nothing.
    #[must_use]
    pub fn is_beyond(&self, drift: &DriftInterval) -> bool {
        let base = u128::from(drift.actual_bytes.max(self.floor_bytes));
        drift.proved_bytes().unsigned_abs().saturating_mul(100) > base.saturating_mul(self.percent.into())
    }

    /// Returns whether so many scans beyond the share, in a row, are cause for alarm.
    #[must_use]
    pub const fn is_cause(&self, scans_beyond: u32) -> bool {
        let times = if self.times == 0 { 1 } else { self.times };
        scans_beyond >= times
    }

    pub(super) const fn floor_bytes(&self) -> u64 {
        self.floor_bytes
    }

    /// Records a scan, and returns whether there is cause for alarm now.
    pub fn observe(&mut self, drift: &DriftInterval) -> bool {
        self.beyond = if self.is_beyond(drift) { self.beyond.saturating_add(1) } else { 0 };
        self.is_cause(self.beyond)
    }

    /// Records a scan as [`observe`](Self::observe) does, and notifies `observer`.
    pub fn observe_and_tell(&mut self, drift: &DriftInterval, observer: &dyn AccountingObserver) -> bool {
        let alarm = self.observe(drift);
        observer.scanned(drift, alarm);
        alarm
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::{Reading, Scanned};

    fn drift(reported: i128, actual: u64, added: u64) -> DriftInterval {
        let before = Reading { footprint_bytes: reported, ..Reading::default() };
        let after = Reading { added_bytes: added, ..before };
        DriftInterval::new(&before, &Scanned { objects: 1, stored_bytes: actual }, &after)
    }

    #[test]
    fn twice_in_a_row_beyond_a_tenth_is_cause_for_alarm() {
        let mut alarm = DriftAlarm::new().with_floor_bytes(0);
        let (fine, beyond, below) = (drift(1_100, 1_000, 0), drift(1_101, 1_000, 0), drift(899, 1_000, 0));
        for (scan, expected) in
            [(beyond, false), (fine, false), (beyond, false), (below, true), (below, true), (fine, false)]
        {
            assert_eq!(alarm.observe(&scan), expected);
        }
    }

    #[test]
    fn an_observer_is_told_of_every_scan() {
        #[derive(Debug, Default)]
        struct Told(std::sync::Mutex<Vec<(u64, bool)>>);

        impl AccountingObserver for Told {
            fn scanned(&self, drift: &DriftInterval, alarm: bool) {
                self.0.lock().unwrap().push((drift.actual_bytes, alarm));
            }
        }

        let (told, mut alarm) = (Told::default(), DriftAlarm::new().with_floor_bytes(0));
        for actual in [1_000, 500, 400] {
            alarm.observe_and_tell(&drift(1_000, actual, 0), &told);
        }
        assert_eq!(told.0.into_inner().unwrap(), [(1_000, false), (500, false), (400, true)]);
    }

    #[test]
    fn an_interval_that_reaches_into_the_tenth_is_no_cause() {
        let mut alarm = DriftAlarm::new().with_floor_bytes(0).with_times(1);
        assert!(alarm.observe(&drift(800, 1_000, 99)));
        assert!(!alarm.observe(&drift(800, 1_000, 100)));
    }

    #[test]
    fn an_almost_empty_store_raises_none() {
        let mut alarm = DriftAlarm::new().with_times(1);
        assert!(!alarm.observe(&drift(1_000, 1, 0)));
        assert!(alarm.observe(&drift(7 << 20, 1, 0)));
    }
}
