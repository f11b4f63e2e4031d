//! How often numbers fell where, so that many reporters can be looked at together.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// How often observed numbers were at most each of some bounds.
///
/// A gauge shows whoever wrote last; of several scanners, or scans of several regions, histograms can be added up.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [i64],
    /// One more than there are bounds.
    counts: Box<[AtomicU64]>,
    sum: AtomicI64,
}

/// What a [`Histogram`] has observed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistogramSnapshot {
    /// The bounds, and how many numbers were at most that.
    pub at_most: Vec<(i64, u64)>,
    /// How many numbers there were.
    pub count: u64,
    /// Their sum.
    pub sum: i64,
}

impl Histogram {
    /// One with these bounds, which ascend.
    #[must_use]
    pub fn new(bounds: &'static [i64]) -> Self {
        let counts = std::iter::repeat_with(|| AtomicU64::new(0)).take(bounds.len().saturating_add(1)).collect();
        Self { bounds, counts, sum: AtomicI64::new(0) }
    }

    /// Takes note of a number. What does not fit counts as the largest that does.
    pub fn observe(&self, number: i128) {
        let number = i64::try_from(number).unwrap_or(if number < 0 { i64::MIN } else { i64::MAX });
        let place = self.bounds.partition_point(|bound| *bound < number);
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(number, Ordering::Relaxed);
    }

    /// What was observed so far.
    #[must_use]
    pub fn snapshot(&self) -> HistogramSnapshot {
        let mut count = 0;
        let mut at_most = Vec::with_capacity(self.bounds.len());
        for (place, here) in self.counts.iter().enumerate() {
            count += here.load(Ordering::Relaxed);
            if let Some(bound) = self.bounds.get(place) {
                at_most.push((*bound, count));
            }
        }
        HistogramSnapshot { at_most, count, sum: self.sum.load(Ordering::Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_from_their_bound_on() {
        let histogram = Histogram::new(&[-10, 0, 10]);
        for number in [-11, -10, -9, 0, 5, 11] {
            histogram.observe(number);
        }
        let snapshot = histogram.snapshot();
        assert_eq!(snapshot.at_most, [(-10, 2), (0, 4), (10, 5)]);
        assert_eq!((snapshot.count, snapshot.sum), (6, -14));
    }
}
