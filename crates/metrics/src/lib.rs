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
mod labels;
mod observer;

pub use self::observer::{CONTENT_TYPE, PrometheusObserver};
