//! Keeps a line of the log from coming too often.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A line of the log that comes at most once in an interval, however often it is due, and says how often it did not come.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// use blobaccess::{Clock, LogInterval, SystemClock};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let (line, now) = (LogInterval::new(Duration::from_secs(10)), SystemClock.monotonic());
/// assert_eq!((line.due(now), line.due(now)), (Some(0), None));
/// assert_eq!(line.due(now + Duration::from_secs(10)), Some(1));
/// # }
/// ```
#[derive(Debug)]
pub struct LogInterval {
    interval: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    last: Option<Instant>,
    left_out: u64,
}

impl LogInterval {
    /// Makes a line that comes at most once in `interval`. The first one comes at once.
    #[must_use]
    pub const fn new(interval: Duration) -> Self {
        Self { interval, state: Mutex::new(State { last: None, left_out: 0 }) }
    }

    /// Returns the number of times that the line was left out since it came last, if it is to come at `now`. If not, this is
    /// one of those times.
    pub fn due(&self, now: Instant) -> Option<u64> {
        // Nothing between the assignments panics.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.last.is_some_and(|last| now.saturating_duration_since(last) < self.interval) {
            state.left_out = state.left_out.saturating_add(1);
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Clock, SystemClock};

    #[tokio::test]
    async fn a_line_comes_once_in_an_interval_and_says_how_often_it_did_not() {
        let interval = Duration::from_secs(10);
        let (line, now) = (LogInterval::new(interval), SystemClock.monotonic());
        assert_eq!((line.due(now), line.due(now), line.due(now)), (Some(0), None, None));
        let later = now + interval;
        assert_eq!((line.due(later), line.due(later)), (Some(2), None));
    }
}
