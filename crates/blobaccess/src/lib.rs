//! Blob storage for build servers: one trait, and the layers to compose a store from.
//!
//! # The idea
//!
//! ```text
//!   Digest -> contents
//! ```
//!
//! A [`Digest`] is the hash and the size of contents, within an instance name. A [`BlobAccess`] stores contents under
//! their digest, returns them, and says which are missing. Whatever can be said in front of a store is a layer: a
//! [`BlobAccess`] around another one, that changes what happens on the way and nothing else. So a stack is a value, and
//! its type says what it does:
//!
//! ```text
//!   Authorizing              may this caller do that?
//!        │
//!   EmptyBlobInjecting       the empty blob needs no store
//!        │
//!   ExistenceCaching         was it found a moment ago?
//!        │
//!   DeadlineEnforcing        not longer than 30 s
//!        │
//!   MemoryStore         or whatever else stores: a disk, a bucket, a server
//! ```
//!
//! Action results are stored the same way. Their digest is that of the action, so they may be replaced, and nothing can
//! hold them to it. What a store holds is its [`Kind`], a part of its type: an action cache cannot stand in for
//! contents.
//!
//! # Examples
//!
//! ```
//! use blobaccess::decorators::EmptyBlobInjecting;
//! use blobaccess::{
//!     Blob, BlobAccess, Cas, Context, Digest, DigestFunction, ErrorKind, InstanceName, MemoryStore, PutOutcome,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> blobaccess::Result<()> {
//! let store = EmptyBlobInjecting::new(MemoryStore::<Cas>::new(64 << 20));
//! let ctx = Context::background();
//! let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello");
//!
//! let outcome = store.put(&ctx, &digest, Blob::from_bytes("hello")).await?;
//! assert!(matches!(outcome, PutOutcome::Created { .. }));
//! let again = store.put(&ctx, &digest, Blob::from_bytes("hello")).await?;
//! assert!(matches!(again, PutOutcome::AlreadyExists { .. }));
//! assert_eq!(store.get(&ctx, &digest).await?.into_bytes(1024).await?, "hello");
//!
//! let other = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"other");
//! let refused = store.put(&ctx, &other, Blob::from_bytes("hello")).await;
//! assert!(refused.is_err_and(|error| error.kind() == ErrorKind::InvalidArgument));
//! assert_eq!(store.find_missing(&ctx, &other.clone().into()).await?, other.into());
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! * No reader receives the last bytes of contents whose size or hash is wrong: a [`Blob`] is verified as it is read.
//! * Only absence is [`NotFound`](ErrorKind::NotFound). An outage or corruption is an error of another kind.
//! * Of any number of puts of one blob at once, exactly one is [`Created`](PutOutcome::Created).
//! * A future that is dropped leaves the store as if the call had not been made, or had completed.
//! * Nothing here starts a task, reads a configuration or registers a metric.
//!
//! Each is a contract of the crate `blobaccess-testkit`, which every store here is held to (`tests/conformance.rs`).
//!
//! # What is not
//!
//! * That a blob stays. Any may be evicted at any time; how long one is kept is up to its store.
//! * That a store outlives its process. [`MemoryStore`] does not.
//! * A network. The services, and remote stores, are in the crate `blobaccess-grpc`.
//!
//! # Where to read on
//!
//! [`BlobAccess`] is the contract of every store; [`Blob`] how contents travel; [`decorators`] has the layers, and the
//! order in which they are commonly stacked.

mod account_name;
mod background;
mod blob;
mod blob_access;
mod blob_access_ext;
#[cfg(feature = "blocking")]
mod blocking;
mod capabilities;
mod clock;
mod context;
pub mod decorators;
mod delete_blob;
mod digest;
mod error;
mod evictions;
mod failing;
mod field_reader;
mod inventory;
mod kind;
mod locks;
mod log_interval;
mod memory;
mod observer;
mod put_pair;
mod read_request;
pub mod replication;
#[cfg(all(test, shuttle))]
mod schedules;
mod single_flight;
mod slicing;
mod turn;
mod upload;

pub use account_name::AccountName;
pub use background::{Background, BackgroundWatch, BackgroundWork, Running, WorkPanicked};
pub use blob::{Blob, BlobStream, EncodedBlob, ErrorHandler, Finish, Provenance, RandomAccess};
pub use blob_access::{BlobAccess, PutOutcome, RECOMMENDED_FIND_MISSING_DIGESTS};
pub use blob_access_ext::BlobAccessExt;
#[cfg(feature = "blocking")]
pub use blocking::blocking;
pub use capabilities::{Capabilities, Compressor};
pub use clock::{Clock, DeadlineElapsed, SystemClock};
pub use context::{Caller, Claims, Context, Metadata, UploadToken};
pub use delete_blob::{DeleteBlob, DeleteOutcome, StoredBlob};
pub use digest::{
    Digest, DigestFunction, DigestKey, DigestSet, Hash, Hasher, InstanceName, InstanceNamePatcher, InstanceNameTrie,
    KeyFormat, ReadResource, WriteResource,
};
pub use error::{Error, ErrorKind, PutCertainty, Result};
pub use evictions::{EvictionTotal, EvictionTotals, Evictions};
pub use failing::FailingStore;
pub use inventory::{Inventory, InventoryCursor, InventoryEntry, InventoryPage};
pub use kind::{Ac, BulkKind, Cas, Fsac, Icas, Iscc, Kind, MessageKind, StorageType};
pub use log_interval::LogInterval;
pub use memory::{MemorySnapshot, MemoryStore};
pub use observer::{Call, Event, NoObserver, Observer, Operation};
pub use put_pair::combine_puts;
pub use read_request::ReadRequest;
pub use single_flight::{Flight, Joined, SingleFlight};
pub use slicing::{Slice, Sliced, Slicer, get_and_slice};
pub use upload::{ResolveUpload, StoredSize, UploadResolution};

/// Compiles and runs the code of the guide. Nothing else reads it, so that a package without it builds.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/writing-a-decorator.md")]
mod writing_a_decorator {}
