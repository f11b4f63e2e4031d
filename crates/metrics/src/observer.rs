//! Counts what stores report.

use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

use blobaccess::{Call, Clock, Event, Observer, Operation, PutOutcome, Result, StorageType, SystemClock};
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::buckets;
use crate::gauges::Gauges;
#[cfg(feature = "grpc")]
use crate::grpc_calls::{ClientCalls, GrpcCalls};
use crate::labels::{Asked, Backend, Ended, EvictionSet, Method, PutEnded, Storage, Timestamp};
use crate::location_maps::{LocalStoreReading, LocationMaps};

/// The `Content-Type` of what [`PrometheusObserver::encode`] returns.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// An [`Observer`] that counts, and tells Prometheus.
///
/// One is enough for a server: stores are told apart by the labels under which they are observed. Nothing is
/// registered anywhere else, so two of them do not meet.
///
/// # Memory
///
/// Some 300 to 700 bytes for each combination of labels that occurs; callers and digests are no labels.
pub struct PrometheusObserver {
    registry: Registry,
    gauges: Gauges,
    location_maps: LocationMaps,
    duration: Family<Ended, Histogram>,
    blob_size: Family<Method, Histogram>,
    batch_size: Family<Backend, Histogram>,
    action_results: Family<Timestamp, Counter>,
    outcomes: Family<PutEnded, Counter>,
    created_bytes: Family<Backend, Counter>,
    evictions: Family<Storage, Counter>,
    evicted_bytes: Family<Storage, Counter>,
    corruptions: Family<Storage, Counter>,
    existence_cache: Family<Asked, Counter>,
    #[cfg(feature = "grpc")]
    server_calls: GrpcCalls,
    #[cfg(feature = "grpc")]
    client_calls: Arc<GrpcCalls>,
    eviction_sets: Family<EvictionSet, Counter>,
}

impl PrometheusObserver {
    /// Makes an observer that has counted nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(Arc::new(SystemClock))
    }

    /// Makes an observer that has counted nothing yet, and takes the time from `clock`.
    #[must_use]
    pub fn with_clock(clock: Arc<dyn Clock>) -> Self {
        let mut observer = Self {
            registry: Registry::default(),
            gauges: Gauges::default(),
            location_maps: LocationMaps::new(clock),
            duration: Family::new_with_constructor(buckets::seconds),
            blob_size: Family::new_with_constructor(buckets::blob_size_bytes),
            batch_size: Family::new_with_constructor(buckets::batch_size),
            action_results: Family::default(),
            outcomes: Family::default(),
            created_bytes: Family::default(),
            evictions: Family::default(),
            evicted_bytes: Family::default(),
            corruptions: Family::default(),
            existence_cache: Family::default(),
            #[cfg(feature = "grpc")]
            server_calls: GrpcCalls::default(),
            #[cfg(feature = "grpc")]
            client_calls: Arc::default(),
            eviction_sets: Family::default(),
        };
        observer.register();
        observer
    }

    /// Names what is counted. The suffix `_total` of a counter and the full stop of a text are added when encoded.
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "buildbarn_blobstore_blob_access_operations_duration_seconds",
            "How long calls of stores took, in seconds",
            self.duration.clone(),
        );
        registry.register(
            "buildbarn_blobstore_blob_access_operations_blob_size_bytes",
            "How large the blobs were that were got or put, in bytes",
            self.blob_size.clone(),
        );
        registry.register(
            "buildbarn_blobstore_blob_access_operations_find_missing_batch_size",
            "How many digests were asked about at once",
            self.batch_size.clone(),
        );
        registry.register(
            "buildbarn_blobstore_action_result_timestamp_injecting_blob_access_put_operations",
            "Action results put, with and without the time at which their worker completed",
            self.action_results.clone(),
        );
        registry.register(
            "blobaccess_put_outcomes",
            "Puts that did not fail, by what they came to",
            self.outcomes.clone(),
        );
        registry.register(
            "blobaccess_put_created_bytes",
            "What puts created, in bytes as stored",
            self.created_bytes.clone(),
        );
        registry.register("blobaccess_evictions", "Blobs given up to make room", self.evictions.clone());
        registry.register(
            "blobaccess_evicted_bytes",
            "What blobs took that were given up to make room, in bytes",
            self.evicted_bytes.clone(),
        );
        registry.register(
            "blobaccess_corruptions",
            "Times that what was stored was not what was put",
            self.corruptions.clone(),
        );
        registry.register(
            "blobaccess_existence_cache_digests",
            "Digests that caches of found digests were asked about",
            self.existence_cache.clone(),
        );
        registry.register(
            "buildbarn_eviction_set_operations",
            "Digests that caches knew and touched, or did not know and inserted",
            self.eviction_sets.clone(),
        );
        #[cfg(feature = "grpc")]
        self.server_calls.register_server(registry);
        #[cfg(feature = "grpc")]
        self.client_calls.register_client(registry);
        registry.register_collector(Box::new(self.gauges.clone()));
        registry.register_collector(Box::new(self.location_maps.clone()));
    }

    /// Adds a value of the server's own, which `read` tells each time that metrics are encoded.
    ///
    /// Several of one name are told apart by their `labels`; the first says what the name is for. One of the same name
    /// and labels takes the place of the one before. Names of this crate's own metrics are not to be used.
    ///
    /// `read` is called by whoever scrapes, so it must not block.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if `name` or the name of a label has other characters than `A-Z`, `a-z`, `0-9`, `_` and (in
    /// `name`) `:`, or begins with a digit.
    ///
    /// # Examples
    ///
    /// ```
    /// # fn main() -> blobaccess::Result<()> {
    /// let metrics = blobaccess_metrics::PrometheusObserver::new();
    /// metrics.register_gauge("cache_bytes", "Bytes held", &[("storage_type", "cas")], || 42.0)?;
    /// assert!(metrics.encode().contains(r#"cache_bytes{storage_type="cas"} 42.0"#));
    /// # Ok(())
    /// # }
    /// ```
    pub fn register_gauge(
        &self,
        name: &str,
        help: &str,
        labels: &[(&str, &str)],
        read: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> Result<()> {
        self.gauges.register(name, help, labels, Arc::new(read))
    }

    /// Adds the metrics of a local store of kind `storage_type`, whose state `read` tells each time that metrics are
    /// encoded. They are there from now on, for each kind that has a store; those of several stores of one kind are put
    /// together.
    ///
    /// `read` is called by whoever scrapes, so it must not block.
    ///
    /// # Examples
    ///
    /// ```
    /// use blobaccess::StorageType;
    /// use blobaccess_metrics::{LocalStoreReading, PrometheusObserver};
    ///
    /// let metrics = PrometheusObserver::new();
    /// metrics.register_local_store(StorageType::Cas, || LocalStoreReading { dropped_records: 3, ..Default::default() });
    /// let dropped = "buildbarn_blobstore_hashing_key_location_map_put_too_many_iterations_total";
    /// assert!(metrics.encode().contains(&format!("{dropped}{{storage_type=\"cas\"}} 3")));
    /// ```
    pub fn register_local_store(
        &self,
        storage_type: StorageType,
        read: impl Fn() -> LocalStoreReading + Send + Sync + 'static,
    ) {
        self.location_maps.register(storage_type, Box::new(read));
    }

    /// Returns everything counted so far as `OpenMetrics` text: the answer to a scrape, of type [`CONTENT_TYPE`].
    #[must_use]
    pub fn encode(&self) -> String {
        let mut encoded = String::new();
        // Writing into a string cannot fail, and our own values have no other way to.
        if text::encode(&mut encoded, &self.registry).is_err() {
            encoded.clear();
        }
        encoded
    }

    /// Returns the counts of the calls that clients make, for `Remote::with_call_observer` of `blobaccess-grpc`.
    #[cfg(feature = "grpc")]
    #[must_use]
    pub fn client_calls(&self) -> ClientCalls {
        ClientCalls::new(Arc::clone(&self.client_calls))
    }

    /// Returns the counts of the calls that a server handles.
    #[cfg(feature = "grpc")]
    pub(crate) const fn server_calls(&self) -> &GrpcCalls {
        &self.server_calls
    }

    fn count_outcome(&self, storage_type: &'static str, backend_type: &'static str, outcome: PutOutcome) {
        let labels = PutEnded { storage_type, backend_type, outcome: outcome.name() };
        self.outcomes.get_or_create(&labels).inc();
        if let PutOutcome::Created { stored_bytes } = outcome {
            self.created_bytes.get_or_create(&Backend { storage_type, backend_type }).inc_by(stored_bytes);
        }
    }
}

impl Default for PrometheusObserver {
    fn default() -> Self {
        Self::new()
    }
}

impl Observer for PrometheusObserver {
    fn call_ended(&self, call: &Call) {
        self.location_maps.call_ended(call);
        let (storage_type, backend_type) = (call.storage_type.name(), call.backend);
        let operation = call.operation.name();
        let ended = Ended { storage_type, backend_type, operation, grpc_code: call.code_name() };
        self.duration.get_or_create(&ended).observe(call.duration.as_secs_f64());
        match call.operation {
            Operation::Get | Operation::GetFromComposite | Operation::Put => {
                if let Some(size) = call.blob_size_bytes {
                    let method = Method { storage_type, backend_type, operation };
                    self.blob_size.get_or_create(&method).observe(float(size));
                }
            }
            Operation::FindMissing => {
                if let Some(digests) = call.digests {
                    let digests = u64::try_from(digests).unwrap_or(u64::MAX);
                    self.batch_size.get_or_create(&Backend { storage_type, backend_type }).observe(float(digests));
                }
            }
            Operation::GetCapabilities => {}
        }
        if let Some(outcome) = call.outcome {
            self.count_outcome(storage_type, backend_type, outcome);
        }
    }

    fn event(&self, event: &Event) {
        let storage = |storage_type: StorageType| Storage { storage_type: storage_type.name() };
        match *event {
            Event::Evicted { storage_type, released_bytes } => {
                self.evictions.get_or_create(&storage(storage_type)).inc();
                self.evicted_bytes.get_or_create(&storage(storage_type)).inc_by(released_bytes);
            }
            Event::Corrupted { storage_type, message: _ } => {
                self.corruptions.get_or_create(&storage(storage_type)).inc();
            }
            Event::ActionResultPut { worker_completed_timestamp } => {
                let worker_completed_timestamp = if worker_completed_timestamp { "present" } else { "absent" };
                self.action_results.get_or_create(&Timestamp { worker_completed_timestamp }).inc();
            }
            Event::ExistenceCacheAsked { hits, misses } => {
                self.existence_cache.get_or_create(&Asked { result: "hit" }).inc_by(hits);
                self.existence_cache.get_or_create(&Asked { result: "miss" }).inc_by(misses);
                let set = |operation| EvictionSet { name: "ExistenceCachingBlobAccess", operation };
                self.eviction_sets.get_or_create(&set("Touch")).inc_by(hits);
                self.eviction_sets.get_or_create(&set("Insert")).inc_by(misses);
            }
            _ => {}
        }
    }
}

#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "beyond 2^53 a histogram needs no exact numbers"
)]
pub(crate) fn float(number: u64) -> f64 {
    number as f64
}

impl Debug for PrometheusObserver {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrometheusObserver").field("gauges", &self.gauges).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
