//! The time at which a row arrived, by the clock of where it arrived.

use std::fmt::{self, Display, Formatter};
use std::time::{Duration, SystemTime};

/// The number of microseconds in a second.
const SECOND_MICROS: u64 = 1_000_000;

/// The time at which a row of operations arrived at its database, by the clock of that database: microseconds since the
/// Unix epoch.
///
/// It says nothing about when the operation took place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IngestionTime(u64);

impl IngestionTime {
    /// The time before all rows.
    pub const START: Self = Self(0);

    /// Makes the time `micros` microseconds after the Unix epoch.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Makes the time from that of a clock, rounded down to microseconds; [`START`](Self::START) for times before the epoch.
    #[must_use]
    pub fn from_time(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    /// Returns the microseconds since the Unix epoch.
    #[must_use]
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// Returns the time as that of a clock; the epoch if it is out of the clock's range.
    #[must_use]
    pub fn time(self) -> SystemTime {
        SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(self.0)).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Returns the time `duration` before this one, and not before the epoch.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)))
    }

    /// Returns the latest time at which no row can arrive any more, if it is `self` now and rows are visible after `lag`:
    /// the whole second before the one of `lag` ago.
    ///
    /// Columns of whole seconds give all rows of a second the same time. So a time counts as over only when its whole
    /// second is. A whole second can be kept by every column of times, too, without being rounded.
    #[must_use]
    pub fn settled(self, lag: Duration) -> Self {
        let second = self.before(lag).0 / SECOND_MICROS;
        Self(second.saturating_sub(1).saturating_mul(SECOND_MICROS))
    }

    /// Returns the latest multiple of `step` that is not after this time; this time if `step` is below a microsecond.
    pub(crate) fn rounded_down(self, step: Duration) -> Self {
        let step = u64::try_from(step.as_micros()).unwrap_or(u64::MAX);
        self.0.checked_rem(step).map_or(self, |beyond| Self(self.0.saturating_sub(beyond)))
    }
}

impl Display for IngestionTime {
    /// Prints the seconds since the Unix epoch.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (seconds, micros) = (self.0 / SECOND_MICROS, self.0 % SECOND_MICROS);
        if micros == 0 { write!(f, "{seconds}") } else { write!(f, "{seconds}.{micros:06}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_row_can_come_any_more_at_a_settled_time() {
        let at = IngestionTime::from_micros;
        // At 10.0 s, without a lag, the second 9 is over, and rows of it have the time 9.
        assert_eq!(at(10_000_000).settled(Duration::ZERO), at(9_000_000));
        assert_eq!(at(10_999_999).settled(Duration::ZERO), at(9_000_000));
        assert_eq!(at(310_000_001).settled(Duration::from_mins(5)), at(9_000_000));
        assert_eq!(at(999_999).settled(Duration::ZERO), IngestionTime::START);
        assert_eq!(at(5).settled(Duration::MAX), IngestionTime::START);
    }

    #[test]
    fn times_are_rounded_down_and_shown_in_seconds() {
        let time = IngestionTime::from_time(SystemTime::UNIX_EPOCH + Duration::from_nanos(7_000_003_999));
        assert_eq!((time.micros(), time.to_string().as_str()), (7_000_003, "7.000003"));
        assert_eq!(IngestionTime::from_micros(4_000_000).to_string(), "4");
        assert_eq!(time.rounded_down(Duration::from_secs(3)), IngestionTime::from_micros(6_000_000));
        assert_eq!(time.rounded_down(Duration::ZERO), time);
        assert_eq!(IngestionTime::from_time(time.time()), time);
        assert_eq!(IngestionTime::from_time(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), IngestionTime::START);
    }
}
