//! The boundaries of histograms, as dashboards expect them.

use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

/// Seconds: three boundaries for each power of ten, from 0.001 to 1000, in steps of the cube root of ten. Each is cut
/// off after five digits, so that they are the same numbers wherever they are computed.
pub(crate) const SECONDS: [f64; 19] = [
    0.001,
    0.002_154_4,
    0.004_641_5,
    0.01,
    0.021_544,
    0.046_415,
    0.1,
    0.215_44,
    0.464_15,
    1.0,
    2.154_4,
    4.641_5,
    10.0,
    21.544,
    46.415,
    100.0,
    215.44,
    464.15,
    1000.0,
];

/// Returns the buckets of durations of calls, in seconds.
pub(crate) fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

/// Returns the buckets of sizes of blobs, in bytes: powers of two up to 4 GiB.
pub(crate) fn blob_size_bytes() -> Histogram {
    Histogram::new(exponential_buckets(1.0, 2.0, 33))
}

/// Returns the buckets of numbers of digests in one query: powers of two up to 65,536.
pub(crate) fn batch_size() -> Histogram {
    Histogram::new(exponential_buckets(1.0, 2.0, 17))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_the_powers_of_the_cube_root_of_ten_cut_off_after_five_digits() {
        for (exponent, boundary) in (-9..).zip(SECONDS) {
            let exact = 10_f64.powf(f64::from(exponent) / 3.0);
            let unit = 10_f64.powf((f64::from(exponent) / 3.0).floor() - 4.0);
            let below = exact - boundary;
            assert!(below > -1e-9 * exact && below < unit, "{exponent}: {boundary} for {exact}");
        }
        assert_eq!(
            SECONDS.map(|seconds| seconds.to_string()).join(" "),
            concat!(
                "0.001 0.0021544 0.0046415 0.01 0.021544 0.046415 0.1 0.21544 0.46415 1 2.1544 4.6415 ",
                "10 21.544 46.415 100 215.44 464.15 1000"
            )
        );
    }
}
