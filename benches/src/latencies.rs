//! The latencies of many calls, as a few numbers.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

/// The durations of calls that ran concurrently.
#[derive(Clone, Debug, Default)]
pub struct Latencies {
    sorted: Vec<Duration>,
    elapsed: Duration,
}

impl Latencies {
    /// Makes the latencies of calls that took `durations`, and `elapsed` all together.
    #[must_use]
    pub fn new(mut durations: Vec<Duration>, elapsed: Duration) -> Self {
        durations.sort_unstable();
        Self { sorted: durations, elapsed }
    }

    /// Returns the number of calls per second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        let calls = u32::try_from(self.sorted.len()).unwrap_or(u32::MAX);
        f64::from(calls) / self.elapsed.as_secs_f64()
    }

    /// Returns the duration that `percent` percent of the calls did not exceed.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Duration {
        let index = (self.sorted.len() * percent / 100).min(self.sorted.len().saturating_sub(1));
        self.sorted.get(index).copied().unwrap_or_default()
    }
}

impl Display for Latencies {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (per_second, p50, p95) = (self.per_second(), self.percentile(50), self.percentile(95));
        write!(f, "{per_second:>9.0}/s  p50 {p50:>9.1?}  p95 {p95:>9.1?}")
    }
}
