//! The frequency with which each of many objects is requested.

use crate::real::real_len;
use blobaccess_testkit::Numbers;

/// Zipf's law: the object of rank `r` is requested in proportion to `r` to the power of `-skew`.
///
/// Public traces of caches have skews of 0.7 (behind another cache) to 1.2.
#[derive(Clone, Debug)]
pub struct Zipf {
    /// The cumulative weight up to each rank, inclusive.
    cumulative: Vec<f64>,
}

impl Zipf {
    /// Makes the distribution over `objects` objects, of which there must be at least one.
    #[must_use]
    pub fn new(objects: usize, skew: f64) -> Self {
        let mut sum = 0.0;
        let cumulative = (1..=objects)
            .map(|rank| {
                sum += real_len(rank).powf(-skew);
                sum
            })
            .collect();
        Self { cumulative }
    }

    /// Draws the rank of the next requested object, from 0.
    pub fn draw(&self, numbers: &mut Numbers) -> usize {
        let at = numbers.unit() * self.cumulative.last().copied().unwrap_or_default();
        self.cumulative.partition_point(|up_to| *up_to <= at).min(self.cumulative.len().saturating_sub(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_drawn_in_proportion() {
        let zipf = Zipf::new(100, 1.0);
        let mut numbers = Numbers::new(1);
        let mut counts = [0_i32; 100];
        for _ in 0..100_000 {
            counts[zipf.draw(&mut numbers)] += 1;
        }
        // The sum of 1/r up to 100 is 5.187.
        assert!((counts[0] - 19_278).abs() < 600, "{}", counts[0]);
        assert!((counts[1] - 9_639).abs() < 400, "{}", counts[1]);
        assert!(counts.iter().all(|count| *count > 0));
    }
}
