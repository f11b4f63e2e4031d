//! Conversions between counts and real numbers, and random numbers of some distributions.

use blobaccess_testkit::Numbers;

#[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "counts are far below 2^53")]
pub(crate) const fn real(count: usize) -> f64 {
    count as f64
}

#[expect(
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is used for positions in lists, which are small and positive"
)]
pub(crate) const fn whole(number: f64) -> usize {
    number as usize
}

/// Returns the value below which the `share` of `values` lies. Sorts them.
pub(crate) fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[whole(share * real(values.len())).min(values.len() - 1)]
}

/// Returns a number of the normal distribution with mean 0 and deviation 1.
pub(crate) fn normal(numbers: &mut Numbers) -> f64 {
    let (radius, angle) = ((-2.0 * (1.0 - numbers.unit()).ln()).sqrt(), std::f64::consts::TAU * numbers.unit());
    radius * angle.cos()
}

/// The popularity of objects by Zipf's law: the object of rank `r` is asked for in proportion to `r^-exponent`.
#[derive(Debug)]
pub(crate) struct Zipf {
    /// The share of requests for the objects up to each rank.
    cumulative: Vec<f64>,
}

impl Zipf {
    pub(crate) fn new(objects: usize, exponent: f64) -> Self {
        let mut sum = 0.0;
        let mut cumulative: Vec<_> = (1..=objects)
            .map(|rank| {
                sum += real(rank).powf(-exponent);
                sum
            })
            .collect();
        for share in &mut cumulative {
            *share /= sum;
        }
        Self { cumulative }
    }

    /// Returns the rank of an object, from 0.
    pub(crate) fn draw(&self, numbers: &mut Numbers) -> usize {
        let share = numbers.unit();
        self.cumulative.partition_point(|cumulative| *cumulative < share).min(self.cumulative.len() - 1)
    }
}
