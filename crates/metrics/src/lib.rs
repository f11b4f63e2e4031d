//! Reports of stores as Prometheus metrics.
//!
//! A [`PrometheusObserver`] is an [`Observer`](blobaccess::Observer): give it to
//! [`Observing`](blobaccess::decorators::Observing) decorators, to caches and to backends, and serve what
//! [`encode`](PrometheusObserver::encode) returns to whoever scrapes.
//!
//! Where Buildbarn has a metric of the same meaning, name, labels and buckets are its own, so that dashboards which
//! query those work unchanged. Those of the second table are new.
//!
//! | metric | labels | is |
//! |---|---|---|
//! | `buildbarn_blobstore_blob_access_operations_duration_seconds` | `storage_type`, `backend_type`, `operation`, `grpc_code` | how long calls took; of a blob, until it was read |
//! | `buildbarn_blobstore_blob_access_operations_blob_size_bytes` | `storage_type`, `backend_type`, `operation` | how large the blobs were that were got or put |
//! | `buildbarn_blobstore_blob_access_operations_find_missing_batch_size` | `storage_type`, `backend_type` | how many digests were asked about at once |
//! | `buildbarn_blobstore_action_result_timestamp_injecting_blob_access_put_operations_total` | `worker_completed_timestamp`: `present`, `absent` | action results put with and without that time |
//! | `buildbarn_eviction_set_operations_total` | `name`: `ExistenceCachingBlobAccess`; `operation`: `Touch`, `Insert` | digests that an existence cache knew, and those that it did not know |
//! | `buildbarn_blobstore_hashing_key_location_map_get_attempts` | `storage_type`, `outcome`: `Found`, `NotFound` | the buckets that look-ups in local stores read: 1 for what is there, 2 for what is absent |
//! | `buildbarn_blobstore_hashing_key_location_map_put_iterations` | `storage_type`, `outcome`: `Inserted`, `Updated` | puts into local stores, 1 each |
//! | `buildbarn_blobstore_hashing_key_location_map_put_too_many_iterations_total` | `storage_type` | records that the map of a local store had no room for |
//! | `buildbarn_blobstore_hashing_key_location_map_get_too_many_attempts_total`, `.._put_ignored_invalid_total` | `storage_type` | always 0 |
//! | `buildbarn_blobstore_old_current_new_location_blob_map_last_removed_old_block_insertion_time_seconds` | `storage_type` | when the oldest block of a local store was begun, in seconds since 1970; until a block is recycled, the start at the latest |
//!
//! The last five are there once a local store is [registered](PrometheusObserver::register_local_store).
//!
//! | metric | labels | counts |
//! |---|---|---|
//! | `blobaccess_put_outcomes_total` | `storage_type`, `backend_type`, `outcome`: `created`, `already_exists`, `replaced`, `unclassified` | puts that did not fail |
//! | `blobaccess_put_created_bytes_total` | `storage_type`, `backend_type` | what was created, in bytes as stored |
//! | `blobaccess_evictions_total` | `storage_type` | blobs given up to make room |
//! | `blobaccess_evicted_bytes_total` | `storage_type` | what they took, in bytes |
//! | `blobaccess_corruptions_total` | `storage_type` | times that what was stored was not what was put |
//! | `blobaccess_existence_cache_digests_total` | `result`: `hit`, `miss` | digests that a cache was asked about |
//!
//! With the feature `grpc`, which is off by default, it is a `CallObserver` of `blobaccess-grpc` too, and counts the calls
//! of a server under the names of go-grpc-prometheus. All have the labels `grpc_type`, `grpc_service` and `grpc_method`.
//!
//! | metric | further label | is |
//! |---|---|---|
//! | `grpc_server_started_total` | | calls that have begun |
//! | `grpc_server_handled_total` | `grpc_code` | calls that have ended |
//! | `grpc_server_msg_received_total`, `grpc_server_msg_sent_total` | | messages each way |
//! | `grpc_server_handling_seconds` | | how long calls took |
//!
//! The calls of clients have the same metrics as `grpc_client_started_total` and so on, and the same labels. A client
//! counts each attempt of a call, by `PrometheusObserver::client_calls`.
//!
//! A server adds values of its own as [gauges](PrometheusObserver::register_gauge).
//!
//! # Examples
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> blobaccess::Result<()> {
//! use std::sync::Arc;
//!
//! use blobaccess::decorators::Observing;
//! use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, InstanceName, MemoryStore};
//! use blobaccess_metrics::PrometheusObserver;
//!
//! let metrics = Arc::new(PrometheusObserver::new());
//! let store = Observing::new(MemoryStore::<Cas>::new(1 << 20), "memory", Arc::<PrometheusObserver>::clone(&metrics));
//!
//! let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello");
//! store.put(&Context::background(), &digest, Blob::from_bytes("hello")).await?;
//!
//! let line = r#"blobaccess_put_outcomes_total{storage_type="cas",backend_type="memory",outcome="created"} 1"#;
//! assert!(metrics.encode().lines().any(|encoded| encoded == line));
//! # Ok(())
//! # }
//! ```

mod buckets;
mod gauges;
#[cfg(feature = "grpc")]
mod grpc_calls;
mod labels;
mod location_maps;
mod observer;

#[cfg(feature = "grpc")]
pub use self::grpc_calls::ClientCalls;
pub use self::location_maps::LocalStoreReading;
pub use self::observer::{CONTENT_TYPE, PrometheusObserver};
