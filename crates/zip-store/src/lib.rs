//! ZIP archives as stores of blobs: written and read as Buildbarn does, and readable by any ZIP tool.
//!
//! An archive has an entry for each blob, under the name of its digest. Use one to hand the outputs of a build to people
//! without a build server, to ship a cache with a release, or to look at what a build has stored:
//!
//! ```text
//!   $ unzip -l outputs.zip
//!         5  1-185f8db32271fe25f561a6fc938b2e264306ec304eda518007d1764826381969-5
//! ```
//!
//! [`ZipWritingStore`] writes an archive, and [`ZipReadingStore`] reads one:
//!
//! ```
//! use blobaccess::{BlobAccessExt, Cas, Context, Digest, DigestFunction, InstanceName};
//! use blobaccess_zip_store::{ZipOptions, ZipReadingStore, ZipWritingStore};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let directory = tempfile::tempdir()?;
//! let path = directory.path().join("outputs.zip");
//! let (ctx, digest) = (Context::background(), Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"Hello"));
//!
//! let store = ZipWritingStore::<Cas>::create(&path, ZipOptions::new()).await?;
//! store.put_bytes(&ctx, &digest, "Hello").await?;
//! // Without this, the file has no directory, and is no archive yet.
//! store.finish().await?;
//!
//! let store = ZipReadingStore::<Cas>::open(&path, ZipOptions::new()).await?;
//! assert_eq!(store.get_bytes(&ctx, &digest, 1024).await?, "Hello");
//! # Ok(())
//! # }
//! ```
//!
//! # The layout
//!
//! It is that of Buildbarn's `zip_writing`, byte for byte, so each of the two reads what the other wrote:
//!
//! ```text
//!   ┌ header ─┬ contents ┐┌ header ─┬ contents ┐   ┌ directory ┬ ZIP64 end ┬ locator ┬ end ┐
//!   │ PK 3 4  │ as put   ││ PK 3 4  │ as put   │ … │ PK 1 2 …  │ PK 6 6    │ PK 6 7  │ 5 6 │
//!   └─────────┴──────────┘└─────────┴──────────┘   └───────────┴───────────┴─────────┴─────┘
//! ```
//!
//! | | |
//! |---|---|
//! | name of a blob | function, hash and size: `1-185f8db3…-5` |
//! | name of a message | the same, and the instance name: `1-185f8db3…-5-instance/name` |
//! | sizes and offsets | in ZIP64 fields, whatever their value, so archives and blobs may be of any size |
//! | contents | not compressed, so that they can be read from anywhere |
//! | time | none |
//!
//! This crate lists each name once, while Buildbarn lists an entry for each put.
//!
//! # A writer that ends too early
//!
//! | what happened | without salvaging | [with salvaging](ZipOptions::with_salvaging) |
//! |---|---|---|
//! | the store was dropped, or the process killed, before `finish` ended | refused: `DataLoss` | every blob whose put returned |
//! | the same in the midst of appending | refused: `DataLoss` | the same, of all that is in the archive |
//! | the power was cut before `finish` ended | refused: `DataLoss` | the blobs that the disk has whole |
//! | at any time after `finish` returned | all blobs | all blobs |

#[cfg(not(unix))]
compile_error!("blobaccess-zip-store needs a Unix system: it is tested on Linux, and compiles on macOS");

mod archive;
mod contents;
mod directory;
mod entries;
mod entry;
mod file;
mod large_uploads;
mod names;
mod opening;
mod options;
mod reading_store;
mod records;
mod salvage;
mod writing_store;

pub use self::options::ZipOptions;
pub use self::reading_store::{ZipReadingSnapshot, ZipReadingStore};
pub use self::writing_store::{ZipWritingSnapshot, ZipWritingStore};
