//! Counts of look-ups and insertions in the maps of local stores, under the names that dashboards of Buildbarn query.
//!
//! The maps there and here differ. Buildbarn's tries one slot after the other; ours reads one of two buckets for what is
//! there, as a rule, and both for what is absent. So a blob that is found counts as one attempt, and one that is absent as
//! two. Neither is ever given up.

use std::fmt::{self, Debug, Formatter};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use blobaccess::{Call, Clock, ErrorKind, Operation, PutOutcome, StorageType};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType;

/// The kinds of stores, in the order in which they are encoded.
const KINDS: [StorageType; 5] =
    [StorageType::Ac, StorageType::Cas, StorageType::Fsac, StorageType::Icas, StorageType::Iscc];

const ATTEMPTS: &str = "buildbarn_blobstore_hashing_key_location_map_get_attempts";
const GIVEN_UP: &str = "buildbarn_blobstore_hashing_key_location_map_get_too_many_attempts";
const ITERATIONS: &str = "buildbarn_blobstore_hashing_key_location_map_put_iterations";
const INVALID: &str = "buildbarn_blobstore_hashing_key_location_map_put_ignored_invalid";
const DROPPED: &str = "buildbarn_blobstore_hashing_key_location_map_put_too_many_iterations";
const REMOVED: &str =
    "buildbarn_blobstore_old_current_new_location_blob_map_last_removed_old_block_insertion_time_seconds";

/// The state of a local store, as its metrics need it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LocalStoreReading {
    /// The age of the oldest block: about how long an unused blob stays.
    pub retention: Duration,
    /// The number of blocks that were recycled since the store was opened.
    pub recycled_blocks: u64,
    /// The number of records that the map had no room for.
    pub dropped_records: u64,
}

type Read = Box<dyn Fn() -> LocalStoreReading + Send + Sync>;

/// The name of a counter, its help text, and how it follows from the state of a store.
type StoreCounter = (&'static str, &'static str, fn(&LocalStoreReading) -> u64);

const COUNTERS: [StoreCounter; 3] = [
    (GIVEN_UP, "Look-ups in maps of local stores that were given up: none.", |_| 0),
    (INVALID, "Insertions into maps of local stores of blocks that were gone: none.", |_| 0),
    (DROPPED, "Records that maps of local stores had no room for.", |reading| reading.dropped_records),
];

/// The maps of all local stores, by kind.
#[derive(Clone)]
pub(crate) struct LocationMaps {
    maps: Arc<[LocationMap; 5]>,
    stores: Arc<Mutex<Vec<(StorageType, Read)>>>,
    clock: Arc<dyn Clock>,
    started: SystemTime,
}

/// The counts of the maps of one kind.
#[derive(Debug, Default)]
struct LocationMap {
    found: AtomicU64,
    absent: AtomicU64,
    inserted: AtomicU64,
    updated: AtomicU64,
}

impl LocationMaps {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        let started = clock.now();
        Self { maps: Arc::default(), stores: Arc::default(), clock, started }
    }

    /// Counts the calls of the store that `read` tells of, from now on.
    pub(crate) fn register(&self, storage_type: StorageType, read: Read) {
        // Each change is one call.
        self.stores.lock().unwrap_or_else(PoisonError::into_inner).push((storage_type, read));
    }

    /// Counts a call, if it is one of a local store.
    pub(crate) fn call_ended(&self, call: &Call) {
        if !call.backend.starts_with("local") {
            return;
        }
        let Some((_, map)) = KINDS.iter().zip(&*self.maps).find(|(kind, _)| **kind == call.storage_type) else {
            return;
        };
        match (call.operation, call.error) {
            (Operation::Get | Operation::GetFromComposite, None) => increase(&map.found, 1),
            (Operation::Get | Operation::GetFromComposite, Some(ErrorKind::NotFound)) => increase(&map.absent, 1),
            (Operation::FindMissing, None) => {
                let (asked, missing) = (call.digests.unwrap_or_default(), call.missing.unwrap_or_default());
                increase(&map.found, asked.saturating_sub(missing));
                increase(&map.absent, missing);
            }
            (Operation::Put, None) => match call.outcome {
                Some(PutOutcome::AlreadyExists { .. } | PutOutcome::Replaced { .. }) => increase(&map.updated, 1),
                Some(PutOutcome::Created { .. } | PutOutcome::Unclassified { .. }) | None => increase(&map.inserted, 1),
            },
            _ => {}
        }
    }

    /// Returns the time before which blobs may be gone from any of the stores of one kind: that at which its oldest block
    /// was begun. Nothing is gone since the start from a store that has not recycled a block.
    fn removed(&self, readings: &[LocalStoreReading]) -> f64 {
        let now = self.clock.now();
        let removed = readings.iter().map(|reading| {
            let oldest = now.checked_sub(reading.retention).unwrap_or(UNIX_EPOCH);
            if reading.recycled_blocks == 0 { oldest.min(self.started) } else { oldest }
        });
        let removed = removed.max().unwrap_or(self.started);
        removed.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
    }

    /// Returns the state of all stores, by kind. Kinds without a local store are left out.
    fn read(&self) -> Vec<(&'static str, Vec<LocalStoreReading>, &LocationMap)> {
        let stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        let read = KINDS.into_iter().zip(&*self.maps).map(|(kind, map)| {
            let readings = stores.iter().filter(|(of, _)| *of == kind).map(|(_, read)| read());
            (kind.name(), readings.collect::<Vec<_>>(), map)
        });
        read.filter(|(_, readings, _)| !readings.is_empty()).collect()
    }
}

fn increase(count: &AtomicU64, by: impl TryInto<u64>) {
    count.fetch_add(by.try_into().unwrap_or_default(), Ordering::Relaxed);
}

impl Collector for LocationMaps {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let kinds = self.read();
        if kinds.is_empty() {
            return Ok(());
        }
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);

        let help = "Buckets that look-ups in maps of local stores read.";
        let mut family = encoder.encode_descriptor(ATTEMPTS, help, None, MetricType::Histogram)?;
        for (kind, _, map) in &kinds {
            for (outcome, attempts, count) in [("Found", 1, count(&map.found)), ("NotFound", 2, count(&map.absent))] {
                let labels = [("storage_type", *kind), ("outcome", outcome)];
                let mut metric = family.encode_family(&labels)?;
                let buckets =
                    [1, 2, 4, 8, 16, 32].map(|bound| (f64::from(bound), if bound == attempts { count } else { 0 }));
                encode_histogram(&mut metric, &buckets, f64::from(attempts), count)?;
            }
        }

        let help = "Buckets that insertions into maps of local stores changed.";
        let mut family = encoder.encode_descriptor(ITERATIONS, help, None, MetricType::Histogram)?;
        for (kind, _, map) in &kinds {
            for (outcome, count) in [("Inserted", count(&map.inserted)), ("Updated", count(&map.updated))] {
                let labels = [("storage_type", *kind), ("outcome", outcome)];
                let mut metric = family.encode_family(&labels)?;
                let bounds = [1, 2, 4, 8, 16, 32, 64, 128];
                let buckets = bounds.map(|bound| (f64::from(bound), if bound == 1 { count } else { 0 }));
                encode_histogram(&mut metric, &buckets, 1.0, count)?;
            }
        }

        for (name, help, read) in COUNTERS {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (kind, readings, _) in &kinds {
                let total: u64 = readings.iter().map(read).sum();
                let labels = [("storage_type", *kind)];
                let mut metric = family.encode_family(&labels)?;
                metric.encode_counter::<[(&str, &str); 0], _, f64>(&total, None)?;
            }
        }

        let help = "When the oldest block of local stores was begun, in seconds since 1970; at most the start while none is gone.";
        let mut family = encoder.encode_descriptor(REMOVED, help, None, MetricType::Gauge)?;
        for (kind, readings, _) in &kinds {
            family.encode_family(&[("storage_type", *kind)])?.encode_gauge(&self.removed(readings))?;
        }
        Ok(())
    }
}

/// Encodes observations that were all of one `value`.
fn encode_histogram(
    metric: &mut prometheus_client::encoding::MetricEncoder<'_>,
    buckets: &[(f64, u64)],
    value: f64,
    count: u64,
) -> fmt::Result {
    let buckets = [buckets, &[(f64::INFINITY, 0)]].concat();
    metric.encode_histogram::<[(&str, &str); 0]>(value * crate::observer::float(count), count, &buckets, None)
}

impl Debug for LocationMaps {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&*self.maps).finish()
    }
}

#[cfg(test)]
mod tests {
    use blobaccess::Observer;
    use blobaccess_testkit::ManualClock;

    use super::*;
    use crate::PrometheusObserver;

    fn call(operation: Operation) -> Call {
        Call::new(StorageType::Cas, "local_block_device", operation, Duration::ZERO)
    }

    fn value(metrics: &PrometheusObserver, series: &str) -> f64 {
        let encoded = metrics.encode();
        let line = encoded.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{series} is not in\n{encoded}")).parse().unwrap()
    }

    #[test]
    fn calls_of_local_stores_are_look_ups_and_insertions() {
        let metrics = PrometheusObserver::new();
        metrics.call_ended(&call(Operation::Get));
        let mut absent = call(Operation::Get);
        absent.error = Some(ErrorKind::NotFound);
        metrics.call_ended(&absent);
        absent.error = Some(ErrorKind::Unavailable);
        metrics.call_ended(&absent);
        let mut asked = call(Operation::FindMissing);
        (asked.digests, asked.missing) = (Some(10), Some(3));
        metrics.call_ended(&asked);
        let mut put = call(Operation::Put);
        for outcome in [
            PutOutcome::Created { stored_bytes: 1 },
            PutOutcome::Created { stored_bytes: 1 },
            PutOutcome::AlreadyExists { stored_bytes: 1 },
        ] {
            put.outcome = Some(outcome);
            metrics.call_ended(&put);
        }
        let mut elsewhere = call(Operation::Get);
        elsewhere.backend = "grpc";
        metrics.call_ended(&elsewhere);
        assert!(!metrics.encode().contains("location_map"), "no local store is registered");

        metrics.register_local_store(StorageType::Cas, LocalStoreReading::default);
        for (series, expected) in [
            (format!(r#"{ATTEMPTS}_count{{storage_type="cas",outcome="Found"}}"#), 8.0),
            (format!(r#"{ATTEMPTS}_sum{{storage_type="cas",outcome="NotFound"}}"#), 8.0),
            (format!(r#"{ATTEMPTS}_bucket{{le="1.0",storage_type="cas",outcome="NotFound"}}"#), 0.0),
            (format!(r#"{ATTEMPTS}_bucket{{le="2.0",storage_type="cas",outcome="NotFound"}}"#), 4.0),
            (format!(r#"{ATTEMPTS}_bucket{{le="+Inf",storage_type="cas",outcome="NotFound"}}"#), 4.0),
            (format!(r#"{ITERATIONS}_count{{storage_type="cas",outcome="Inserted"}}"#), 2.0),
            (format!(r#"{ITERATIONS}_count{{storage_type="cas",outcome="Updated"}}"#), 1.0),
            (format!(r#"{GIVEN_UP}_total{{storage_type="cas"}}"#), 0.0),
        ] {
            assert!((value(&metrics, &series) - expected).abs() < 1e-9, "{series}: {}", value(&metrics, &series));
        }
        assert!(!metrics.encode().contains(r#"location_map_get_attempts_count{storage_type="ac""#));
    }

    #[test]
    fn what_is_older_than_the_oldest_block_of_any_store_is_gone_and_nothing_is_while_no_block_was_recycled() {
        let clock = Arc::new(ManualClock::new());
        let metrics = PrometheusObserver::with_clock(Arc::<ManualClock>::clone(&clock));
        let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let started = seconds(clock.now());
        let series = format!(r#"{REMOVED}{{storage_type="ac"}}"#);
        let register = |retention: u64, recycled_blocks: u64| {
            let retention = Duration::from_secs(retention);
            metrics.register_local_store(StorageType::Ac, move || LocalStoreReading {
                retention,
                recycled_blocks,
                ..LocalStoreReading::default()
            });
        };
        register(0, 0);
        assert!((value(&metrics, &series) - started).abs() < 1e-3);
        clock.advance(Duration::from_secs(1_000));
        assert!((value(&metrics, &series) - started).abs() < 1e-3, "nothing was recycled");
        register(50, 2);
        register(700, 2);
        let expected = seconds(clock.now()) - 50.0;
        assert!((value(&metrics, &series) - expected).abs() < 1e-3, "{} is not {expected}", value(&metrics, &series));
    }
}
