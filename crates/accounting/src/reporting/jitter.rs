//! Intervals that are shorter by chance, so that hosts that were started together do not report together.

use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::Epoch;

/// Lengths of intervals that follow from an epoch, which is random.
#[derive(Debug)]
pub(crate) struct Jitter {
    epoch: Epoch,
    number: u64,
}

impl Jitter {
    pub(crate) const fn new(epoch: Epoch) -> Self {
        Self { epoch, number: 0 }
    }

    /// Shortens the next interval by up to a tenth, and the first one by up to a half.
    pub(crate) fn shorten(&mut self, interval: Duration) -> Duration {
        let drawn = xxh3_64_with_seed(self.epoch.as_bytes(), self.number);
        let thousandths = u32::try_from(drawn % 1_000).unwrap_or(0);
        let part = if self.number == 0 { 2 } else { 10 };
        self.number = self.number.saturating_add(1);
        interval.saturating_sub((interval / part / 1_000).saturating_mul(thousandths))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_that_start_together_report_at_times_of_their_own() {
        let minute = Duration::from_mins(1);
        let mut firsts = std::collections::HashSet::new();
        for host in 0..100 {
            let mut jitter = Jitter::new(Epoch::from_bytes([host; 16]));
            let first = jitter.shorten(minute);
            assert!((minute / 2..=minute).contains(&first), "{first:?}");
            firsts.insert(first);
            for _ in 0..100 {
                let next = jitter.shorten(minute);
                assert!((minute * 9 / 10..=minute).contains(&next), "{next:?}");
            }
        }
        assert!(firsts.len() > 80, "{} of 100 hosts", firsts.len());
        assert_eq!(Jitter::new(Epoch::from_bytes([1; 16])).shorten(Duration::ZERO), Duration::ZERO);
        assert!(Jitter::new(Epoch::from_bytes([1; 16])).shorten(Duration::MAX) > Duration::MAX / 3);
    }
}
