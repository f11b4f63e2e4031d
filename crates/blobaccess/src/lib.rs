//! Blob storage for build servers: one trait, and the layers to compose a store from.

mod capabilities;
mod clock;
mod digest;
mod error;
mod kind;

pub use capabilities::{Capabilities, Compressor};
pub use clock::{Clock, SystemClock};
pub use digest::{
    Digest, DigestFunction, DigestKey, DigestSet, Hash, Hasher, InstanceName, InstanceNamePatcher, InstanceNameTrie,
    KeyFormat, ReadResource, WriteResource,
};
pub use error::{Error, ErrorKind, PutCertainty, Result};
pub use kind::{Ac, Cas, Fsac, Icas, Iscc, Kind, StorageType};
