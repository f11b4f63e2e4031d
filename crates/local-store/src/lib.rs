//! A store of fixed size in memory or on one disk, which evicts by rotation and survives crashes.
//!
//! ```text
//!            find, get ──→ key-location map ──→ (block, generation, offset, size)
//!                             in memory, no lock                  │
//!                                                                 ▼
//!    ┌ old ─────────────┐┌ current ──────────────────────┐┌ new ┐  spare
//!    │▒▒▒▒│▒▒▒▒│▒▒▒▒│▒▒▒││████│████│████│████│████│████│██││██▏  │ │    │    │
//!    └────────────────┬─┘└───────────────────────────────┘└──▲──┘  └─▲──┴────┘
//!                     └── what was touched is copied ────────┘       │
//!                     └── the block, once nothing vouches for it ────┘
//! ```
//!
//! Blobs are written into new blocks, front to back. When these are full, the groups shift by a block, and the oldest
//! block is recycled: blobs that were read or reported as present are copied to a new block, the rest is forgotten.
//! There is nothing else to clean up.
//!
//! A store in a file that keeps what was put, and is synced every five seconds:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, InstanceName};
//! use blobaccess_local_store::{LocalStore, Options, SyncPolicy};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("blobs");
//! let options = Options::in_file(&path, 64 << 20).persistent(SyncPolicy::Interval(Duration::from_secs(5)));
//! let store = Arc::new(LocalStore::<Cas>::open(options.clone()).await?);
//! let running = tokio::spawn({
//!     let store = Arc::clone(&store);
//!     async move { store.run().await }
//! });
//!
//! let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello");
//! store.put(&Context::background(), &digest, Blob::from_bytes("hello")).await?;
//!
//! // The end: without this, the puts of the last five seconds may be lost.
//! store.sync().await?;
//! running.abort();
//! # let _ = running.await;
//! drop(store);
//!
//! let store = LocalStore::<Cas>::open(options).await?;
//! let blob = store.get(&Context::background(), &digest).await?;
//! assert_eq!(blob.into_bytes(1024).await?, "hello");
//! # Ok(())
//! # }
//! ```
//!
//! [`Options::persistent`] has a table of what survives which end. A store without it starts empty.
//!
//! A blob must fit into a block, so the largest one follows from the sizes: [`Sizes::max_blob_size_bytes`].
//!
//! [`LocalStore`] is the store, [`Options`] are its settings, and [`Sizes`] are the numbers that follow from those. In the
//! repository, `docs/format.md` has every byte that a persistent store writes, and `docs/safety.md` every loss and its
//! prevention.

#[cfg(not(unix))]
compile_error!("blobaccess-local-store needs a Unix system: it is tested on Linux, and compiles on macOS");

mod account_names;
mod account_totals;
mod block;
mod device;
mod engine;
mod environment;
mod instance_names;
mod key;
mod key_location_map;
mod location;
mod machine;
mod object;
mod options;
mod persistence;
mod sizes;
mod snapshot;
mod store;

pub use self::device::{Device, Devices, FileDevice, MemoryDevice};
pub use self::environment::Environment;
pub use self::options::{Options, Refresh, SyncPolicy};
pub use self::sizes::Sizes;
pub use self::snapshot::{BlockGroup, BlockSnapshot, Snapshot};
pub use self::store::LocalStore;
