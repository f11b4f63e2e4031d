//! Blob storage for build servers: one trait, and the layers to compose a store from.

mod blob;
mod blob_access;
mod capabilities;
mod clock;
mod context;
pub mod decorators;
mod digest;
mod error;
mod inventory;
mod kind;
mod memory;
mod observer;
mod slicing;
mod upload;

pub use blob::{Blob, BlobStream, EncodedBlob, ErrorHandler, Finish, Provenance, RandomAccess};
pub use blob_access::{BlobAccess, PutOutcome, RECOMMENDED_FIND_MISSING_DIGESTS};
pub use capabilities::{Capabilities, Compressor};
pub use clock::{Clock, SystemClock};
pub use context::{Caller, Context, Metadata, UploadToken};
pub use digest::{
    Digest, DigestFunction, DigestKey, DigestSet, Hash, Hasher, InstanceName, InstanceNamePatcher, InstanceNameTrie,
    KeyFormat, ReadResource, WriteResource,
};
pub use error::{Error, ErrorKind, PutCertainty, Result};
pub use inventory::{Inventory, InventoryCursor, InventoryEntry, InventoryPage};
pub use kind::{Ac, Cas, Fsac, Icas, Iscc, Kind, StorageType};
pub use memory::{MemoryBlobAccess, MemorySnapshot};
pub use observer::{Call, Event, NoObserver, Observer, Operation};
pub use slicing::{Slice, Sliced, Slicer, get_and_slice};
pub use upload::{ResolveUpload, UploadResolution};

/// Compiles and runs the code of the guide. Nothing else reads it, so that a package without it builds.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/writing-a-decorator.md")]
mod writing_a_decorator {}
