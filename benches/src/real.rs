//! Counts as real numbers, for ratios.

#![expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "counts beyond 2^53 are none here")]

/// Converts a count to a real number. Counts above 2^53 lose their last digits.
#[must_use]
pub fn real(count: u64) -> f64 {
    count as f64
}

/// Converts a number of items to a real number.
#[must_use]
pub fn real_len(count: usize) -> f64 {
    count as f64
}
