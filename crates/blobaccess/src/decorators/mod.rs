//! Layers around stores, and the order in which they are commonly stacked.
//!
//! | layer | for | what it does |
//! |---|---|---|
//! | [`ActionResultExpiring`] | AC | treats results as absent once they are too old |
//! | [`ActionResultTimestampInjecting`] | AC | adds the time to results that do not say when their worker completed |
//! | [`Authorizing`] | any | refuses what a caller may not do |
//! | [`CompletenessChecking`] | AC | returns an action result only while all its outputs are stored |
//! | [`DeadlineEnforcing`] | any | ends a call that takes too long |
//! | [`Demultiplexing`] | any | sends each instance name to a store of its own |
//! | [`EmptyBlobInjecting`] | CAS | answers for the blob of size zero, which always exists |
//! | [`ExistenceCaching`] | CAS | remembers which blobs were found recently |
//! | [`HierarchicalInstanceNames`] | all but CAS | looks for messages in the parents of an instance name too |
//! | [`Mirrored`] | any | keeps the same blobs in two stores |
//! | [`Observing`] | any | notifies an observer of every call |
//! | [`QueryCoalescing`] | CAS | asks about each digest once, however many callers ask at the same time |
//! | [`ReadCoalescing`] | CAS | fetches a blob once, however many callers read it at the same time |
//! | [`ReadCaching`] | any | reads from a fast store what it has of a slow one |
//! | [`ReadCanarying`] | any | reads from a replica for as long as it is healthy |
//! | [`ReadFallback`] | any | reads from a second store what the first lacks |
//! | [`Sharding`] | any | spreads blobs over many stores by their digests |
//!
//! # Order
//!
//! Each says in its documentation what must be inside and what outside of it. Commonly:
//!
//! ```text
//!   contents (CAS)                          action results (AC)
//!
//!   Authorizing                             Authorizing
//!        │                                       │
//!   EmptyBlobInjecting                      ActionResultTimestampInjecting
//!        │                                       │
//!        ├────────────────────────────── CompletenessChecking
//!        │   its questions are not a caller's,   │
//!        │   so they pass by what authorizes     │
//!   Observing "existence_caching"                │
//!        │                                       │
//!   ExistenceCaching                             │
//!        │                                       │
//!   QueryCoalescing                              │
//!        │                                       │
//!   DeadlineEnforcing                       DeadlineEnforcing
//!        │                                       │
//!   Observing "grpc"                        Observing "grpc"
//!        │                                       │
//!     a backend                               a backend
//! ```
//!
//! Rights come first, so that everything below may remember answers without regard to who asked. What every client
//! relies on comes next. Caches stand outside what they spare. A deadline stands directly around what may hang, so
//! that a layer above it can still do something about it. An observer may stand anywhere, with a label of its own: two
//! of them show what the layers between them cost and spare.
//!
//! A layer over several stores stands in the place of the backend, with a deadline and an observer around each of them:
//! [`Sharding`] around pairs that are [`Mirrored`], [`ReadCaching`] around both.
//!
//! [`Demultiplexing`] stands outside of all that differs between its stores. Where results of a parent's instance name
//! are used, [`HierarchicalInstanceNames`] stands outside of [`CompletenessChecking`], and [`ActionResultExpiring`]
//! inside of it.
//!
//! Order is arithmetic. Of 100 queries that an [`ExistenceCaching`] gets, 90 may be answered from memory: an observer
//! outside counts 100 calls, one inside 10, and a deadline inside makes 10 timers in place of 100.
//!
//! # Kinds
//!
//! The kind of a store is a part of its type, so that a stack with a store of the wrong kind does not compile: neither a
//! layer for contents around a store of messages, nor a layer over stores of two kinds.
//!
//! ```compile_fail,E0271
//! # use std::sync::Arc;
//! # use blobaccess::decorators::ReadFallback;
//! # use blobaccess::replication::LocalReplicator;
//! # use blobaccess::{Ac, Cas, MemoryStore};
//! let (new, old) = (Arc::new(MemoryStore::<Cas>::new(1 << 20)), Arc::new(MemoryStore::<Cas>::new(1 << 20)));
//! let replicator = LocalReplicator::new(Arc::clone(&old), Arc::clone(&new));
//! // The primary store is one of action results, while the replicator copies contents.
//! let store = ReadFallback::new(MemoryStore::<Ac>::new(1 << 20), old, replicator);
//! ```
//!
//! # Examples
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> blobaccess::Result<()> {
//! use std::time::Duration;
//!
//! use blobaccess::decorators::{DeadlineEnforcing, EmptyBlobInjecting, ExistenceCaching};
//! use blobaccess::{BlobAccess, Cas, Context, Digest, DigestFunction, InstanceName, MemoryStore};
//!
//! let store = MemoryStore::<Cas>::new(1 << 20);
//! let store = DeadlineEnforcing::new(store, Duration::from_secs(30));
//! let store = ExistenceCaching::new(store, 100_000, Duration::from_mins(1));
//! let store = EmptyBlobInjecting::new(store);
//! assert_eq!(store.to_string(), "empty_blob_injecting(existence_caching(deadline_enforcing(memory)))");
//!
//! let empty = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"");
//! assert!(store.find_missing(&Context::background(), &empty.into()).await?.is_empty());
//! # Ok(())
//! # }
//! ```

mod action_result_expiring;
mod action_result_timestamp_injecting;
mod authorizing;
mod completeness_checking;
mod deadline_enforcing;
mod demultiplexing;
mod empty_blob_injecting;
mod existence_caching;
mod hierarchical_instance_names;
mod mirrored;
mod observing;
mod pair;
mod query_coalescing;
mod read_caching;
mod read_canarying;
mod read_coalescing;
mod read_fallback;
mod sharding;
mod upload_source;

pub use self::action_result_expiring::{ActionResultExpiring, ExpiryOptions, ExpirySnapshot};
pub use self::action_result_timestamp_injecting::ActionResultTimestampInjecting;
pub use self::authorizing::{Authorizer, Authorizers, Authorizing, StaticAuthorizer};
pub use self::completeness_checking::{
    CompletenessChecking, CompletenessOptions, CompletenessSnapshot, NamedBlobs, named_by_action_result,
};
pub use self::deadline_enforcing::DeadlineEnforcing;
pub use self::demultiplexing::{Demultiplexing, Route};
pub use self::empty_blob_injecting::EmptyBlobInjecting;
pub use self::existence_caching::ExistenceCaching;
pub(crate) use self::existence_caching::Found;
pub use self::hierarchical_instance_names::HierarchicalInstanceNames;
pub use self::mirrored::{Mirrored, MirroredOptions, MirroredSnapshot, PutPolicy};
pub use self::observing::Observing;
pub use self::pair::RepairSnapshot;
pub use self::query_coalescing::QueryCoalescing;
pub use self::read_caching::{ReadCaching, ReadCachingOptions, ReadCachingSnapshot};
pub use self::read_canarying::{ReadCanarying, ReadCanaryingSnapshot};
pub use self::read_coalescing::ReadCoalescing;
pub use self::read_fallback::{ReadFallback, ReadFallbackOptions};
pub use self::sharding::{Rendezvous, Shard, ShardSnapshot, ShardState, Sharding, ShardingOptions};
