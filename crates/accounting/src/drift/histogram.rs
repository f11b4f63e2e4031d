//! Histograms of observed numbers, which can be added up over many reporters.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

/// A histogram: for each bound, the count of observed numbers that were not above it.
///
/// A gauge shows the last value only. Histograms of several scanners, or of scans of several regions, can be added up.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [i64],
    /// The counts between the bounds, one more than there are bounds.
    counts: Box<[AtomicU64]>,
    sum: AtomicI64,
}

/// The numbers that a [`Histogram`] has observed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HistogramSnapshot {
    /// The bounds, each with the count of numbers that were not above it.
    pub at_most: Vec<(i64, u64)>,
    /// The count of all numbers.
    pub count: u64,
    /// The sum of all numbers.
    pub sum: i64,
}

impl Histogram {
    /// Makes a histogram with these bounds, which ascend.
    #[must_use]
    pub fn new(bounds: &'static [i64]) -> Self {
        let counts = std::iter::repeat_with(|| AtomicU64::new(0)).take(bounds.len().saturating_add(1)).collect();
        Self { bounds, counts, sum: AtomicI64::new(0) }
    }

    /// Records a number. A number that does not fit into 64 bits counts as the closest that does.
    pub fn observe(&self, number: i128) {
        let number = i64::try_from(number).unwrap_or(if number < 0 { i64::MIN } else { i64::MAX });
        let place = self.bounds.partition_point(|bound| *bound < number);
        if let Some(count) = self.counts.get(place) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(number, Ordering::Relaxed);
    }

    /// Returns the numbers observed so far.
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
