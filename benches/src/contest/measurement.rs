//! A measurement of many calls: time, processor time, latencies and allocations.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::process::{monotonic_time, processor_time};
use crate::real::real;
use blobaccess_testkit::allocations::allocations;

/// A measurement of many calls of one kind.
#[derive(Clone, Debug)]
pub struct Measurement {
    /// The units of work: calls, or digests of finds.
    pub units: u64,
    /// The number of calls.
    pub calls: u64,
    /// The size of the contents that were put or read, in bytes.
    pub bytes: u64,
    /// The elapsed time.
    pub elapsed: Duration,
    /// The processor time of the whole process, including its background work.
    pub processor: Duration,
    /// The latencies that 50, 99 and 99.9 percent of the calls did not exceed, in nanoseconds.
    pub percentiles: [u64; 3],
    /// The number of allocations of the calling threads.
    pub allocations: u64,
}

/// The work of one call: units, and bytes.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// The units of work.
    pub units: usize,
    /// The size of the contents that were put or read, in bytes.
    pub bytes: u64,
}

/// The measurement of one thread.
struct Share {
    latencies: Histogram<u64>,
    units: usize,
    bytes: u64,
    allocations: u64,
}

/// Only one of this many short calls is timed, because reading the clock takes as long as some of them.
const TIMED: usize = 8;

/// Runs `call` for each of `items` on `tasks` threads, and then `finish`, which counts too.
///
/// # Panics
///
/// If a call panics.
pub fn measure<T: Sync>(
    tasks: usize,
    items: &[T],
    call: impl Fn(&T) -> Done + Sync,
    finish: impl FnOnce(),
) -> Measurement {
    let length = items.len().div_ceil(tasks.max(1)).max(1);
    let is_sparse = items.len() > 10_000;
    let (begun, processor) = (monotonic_time(), processor_time());
    let shares: Vec<Share> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            items.chunks(length).map(|items| scope.spawn(|| share(items, is_sparse, &call))).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    finish();
    let (elapsed, processor) = (monotonic_time().saturating_sub(begun), processor_time().saturating_sub(processor));
    assert_eq!(shares.len(), items.chunks(length).len(), "a call has failed");
    let mut latencies = new_histogram();
    for share in &shares {
        let _: Result<(), _> = latencies.add(&share.latencies);
    }
    Measurement {
        units: shares.iter().filter_map(|share| u64::try_from(share.units).ok()).sum(),
        calls: u64::try_from(items.len()).unwrap_or_default(),
        bytes: shares.iter().map(|share| share.bytes).sum(),
        elapsed,
        processor,
        percentiles: [50.0, 99.0, 99.9].map(|percent| latencies.value_at_percentile(percent)),
        allocations: shares.iter().map(|share| share.allocations).sum(),
    }
}

fn share<T>(items: &[T], is_sparse: bool, call: &impl Fn(&T) -> Done) -> Share {
    let mut latencies = new_histogram();
    let (mut units, mut bytes) = (0, 0);
    let before = allocations();
    for (number, item) in items.iter().enumerate() {
        let done = if is_sparse && !number.is_multiple_of(TIMED) {
            call(item)
        } else {
            let begun = monotonic_time();
            let done = call(item);
            let took = u64::try_from(monotonic_time().saturating_sub(begun).as_nanos()).unwrap_or(u64::MAX);
            latencies.saturating_record(took);
            done
        };
        units += done.units;
        bytes += done.bytes;
    }
    Share { latencies, units, bytes, allocations: allocations() - before }
}

/// Makes a histogram of up to a minute, with three digits. It allocates at once, so that this is not counted.
#[expect(clippy::expect_used, reason = "the bounds are constants that the histogram takes")]
fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are right")
}

impl Measurement {
    /// Returns the units of work per second.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        real(self.units) / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Returns the bytes per second.
    #[must_use]
    pub fn bytes_per_second(&self) -> f64 {
        real(self.bytes) / self.elapsed.as_secs_f64().max(1e-9)
    }

    /// Returns the processor time of a unit of work, in nanoseconds.
    #[must_use]
    pub fn processor_nanoseconds(&self) -> f64 {
        self.processor.as_secs_f64() * 1e9 / real(self.units.max(1))
    }

    /// Returns the allocations per call.
    #[must_use]
    pub fn allocations_per_call(&self) -> f64 {
        real(self.allocations) / real(self.calls.max(1))
    }

    /// Encodes the measurement as one line of text, for another process.
    #[must_use]
    pub fn encode(&self) -> String {
        let Self { units, calls, bytes, elapsed, processor, percentiles: [p50, p99, p999], allocations } = self;
        let (elapsed, processor) = (elapsed.as_nanos(), processor.as_nanos());
        format!("{units} {calls} {bytes} {elapsed} {processor} {p50} {p99} {p999} {allocations}")
    }

    /// Decodes the text that [`encode`](Self::encode) made; `None` for anything else.
    #[must_use]
    pub fn decode(line: &str) -> Option<Self> {
        let numbers: Vec<u64> = line.split(' ').filter_map(|number| number.parse().ok()).collect();
        let [units, calls, bytes, elapsed, processor, p50, p99, p999, allocations] = *numbers.as_slice() else {
            return None;
        };
        Some(Self {
            units,
            calls,
            bytes,
            elapsed: Duration::from_nanos(elapsed),
            processor: Duration::from_nanos(processor),
            percentiles: [p50, p99, p999],
            allocations,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_done_once() {
        let items: Vec<u64> = (0..1000).collect();
        let done = |item: &u64| Done { units: 1, bytes: *item };
        for tasks in [1, 2, 8] {
            let measured = measure(tasks, &items, done, || {});
            assert_eq!((measured.units, measured.calls, measured.bytes), (1000, 1000, 499_500));
        }
    }

    #[test]
    fn a_line_says_what_was_measured() {
        let measured = measure(1, &[1, 2, 3], |_| Done { units: 2, bytes: 5 }, || {});
        let decoded = Measurement::decode(&measured.encode()).unwrap();
        assert_eq!(decoded.encode(), measured.encode());
        assert!(Measurement::decode("1 2 3").is_none());
    }
}
