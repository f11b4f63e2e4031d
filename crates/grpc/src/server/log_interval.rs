//! Keeps a line of the log from coming too often.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use blobaccess::Clock;

/// The time between two lines.
const INTERVAL: Duration = Duration::from_secs(10);

/// A line of the log that comes at most every ten seconds. Clones are the same line.
#[derive(Clone, Debug)]
pub(crate) struct LogInterval {
    clock: Arc<dyn Clock>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    left_out: u64,
}

impl LogInterval {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Arc::default() }
    }

    /// Returns whether the line is due: the number of times that it was not, since it was the last time.
    pub(crate) fn due(&self) -> Option<u64> {
        let now = self.clock.monotonic();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.last.is_some_and(|last| now.saturating_duration_since(last) < INTERVAL) {
            state.left_out = state.left_out.saturating_add(1);
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use blobaccess_testkit::ManualClock;

    use super::*;

    #[test]
    fn a_line_comes_every_ten_seconds_and_says_how_often_it_did_not() {
        let clock = ManualClock::new();
        let line = LogInterval::new(Arc::new(clock.clone()));
        assert_eq!((line.due(), line.due(), line.due()), (Some(0), None, None));
        clock.advance(INTERVAL);
        assert_eq!((line.due(), line.due()), (Some(2), None));
    }
}
