//! A point in time, for arithmetic that cannot overflow and for errors.

use std::fmt::{self, Display, Formatter};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The number of nanoseconds in a second.
const SECOND: i128 = 1_000_000_000;

/// The times that a protobuf timestamp may have, in seconds from the beginning of 1970: the years 1 to 9999.
const VALID_SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// A point in time, in nanoseconds from the beginning of 1970.
///
/// It prints as RFC 3339 has it, in UTC and without fractions of seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(i128);

impl Moment {
    /// Makes the time of a protobuf timestamp, if it is a valid one.
    pub(super) fn from_timestamp(seconds: i64, nanos: i32) -> Option<Self> {
        let nanos = i128::from(nanos);
        let valid = VALID_SECONDS.contains(&seconds) && (0..SECOND).contains(&nanos);
        valid.then(|| Self(i128::from(seconds) * SECOND + nanos))
    }

    /// Returns the time that is later by `duration`.
    pub(super) fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }
}

impl From<SystemTime> for Moment {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(UNIX_EPOCH) {
            Ok(since) => Self(nanos(since)),
            Err(error) => Self(-nanos(error.duration())),
        }
    }
}

fn nanos(duration: Duration) -> i128 {
    // No duration has more than 2^94 nanoseconds.
    i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX)
}

impl Display for Moment {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let seconds = self.0.div_euclid(SECOND);
        let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = date(days);
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// Returns the year, month and day of the Gregorian calendar that is `days` after the beginning of 1970.
///
/// The algorithm is `civil_from_days` of Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms". Its years begin
/// in March, so that a leap day is the last day of one.
fn date(days: i128) -> (i128, i128, i128) {
    /// The days from March 1 of the year 0 to the beginning of 1970.
    const FROM_YEAR_0: i128 = 719_468;
    /// The days of 400 years, after which the calendar repeats.
    const ERA: i128 = 146_097;
    let days = days.saturating_add(FROM_YEAR_0);
    let (era, of_era) = (days.div_euclid(ERA), days.rem_euclid(ERA));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + 400 * era + i128::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(seconds: i64) -> String {
        Moment::from_timestamp(seconds, 0).unwrap().to_string()
    }

    #[test]
    fn times_print_as_rfc_3339_has_them() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_644_187_855, "2022-02-06T22:50:55Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (-62_135_596_800, "0001-01-01T00:00:00Z"),
            (253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(printed(seconds), expected);
        }
        // Towards the beginning of time, not towards 1970.
        assert_eq!(Moment::from(UNIX_EPOCH - Duration::from_millis(1)).to_string(), "1969-12-31T23:59:59Z");
    }

    #[test]
    fn each_day_of_four_centuries_follows_the_day_before() {
        let mut before = date(-200_001);
        for days in -200_000..=200_000 {
            let (year, month, day) = date(days);
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let expected = match before {
                (year, 12, 31) => (year + 1, 1, 1),
                (year, 2, 28) if leap => (year, 2, 29),
                (year, month @ 2, 28 | 29) | (year, month @ (4 | 6 | 9 | 11), 30) | (year, month, 31) => {
                    (year, month + 1, 1)
                }
                (year, month, day) => (year, month, day + 1),
            };
            assert_eq!((year, month, day), expected);
            before = expected;
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for (seconds, nanos) in [
            (0, -1),
            (0, 1_000_000_000),
            (-62_135_596_801, 0),
            (253_402_300_800, 0),
            (i64::MAX, 0),
            (i64::MIN, i32::MIN),
        ] {
            assert_eq!(Moment::from_timestamp(seconds, nanos), None);
        }
        assert!(
            Moment::from_timestamp(253_402_300_799, 999_999_999).unwrap().after(Duration::MAX).to_string().len() > 4
        );
    }
}
