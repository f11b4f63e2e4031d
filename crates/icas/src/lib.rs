//! A store of contents that lie elsewhere: at web servers, in buckets, in other stores.
//!
//! ```text
//!   digest ─→ store of references (kind Icas) ─→ Reference ─→ source ─→ decompressed, verified contents
//! ```
//!
//! A [`Reference`] says where the contents of a blob lie, and [`ReferenceExpanding`] is the store of contents that reads
//! them from there. Buildbarn calls this the indirect content-addressable storage.
//!
//! | source | in a reference | is given by |
//! |---|---|---|
//! | a web server | [`Reference::http`] | [`AllowedHosts`], in the options |
//! | a bucket of S3 | [`Reference::s3`] | [`ReferenceExpanding::with_s3_bucket`] |
//! | a bucket of Google Cloud Storage | [`Reference::gcs`] | [`ReferenceExpanding::with_gcs_bucket`] |
//! | a container of Azure | [`Reference::http`] | [`ReferenceExpanding::with_bucket_at`] |
//! | another store | [`Reference::blob`] | [`ReferenceExpanding::with_store`] |
//!
//! A source may be read in part, and may be compressed: as zstd, or as raw DEFLATE, which is what the files of ZIP
//! archives are.
//!
//! # Examples
//!
//! ```no_run
//! use blobaccess::{BlobAccessExt, Context, Digest, DigestFunction, Icas, InstanceName, MemoryStore};
//! use blobaccess_icas::{AllowedHosts, ExpandingOptions, Reference, ReferenceExpanding};
//!
//! #[tokio::main]
//! async fn main() -> blobaccess::Result<()> {
//!     // The only web servers that references may lead to.
//!     let hosts = AllowedHosts::none().with_host("downloads.example.com")?;
//!     let store = ReferenceExpanding::new(MemoryStore::<Icas>::new(64 << 20), ExpandingOptions::new(hosts))?;
//!
//!     let ctx = Context::background();
//!     let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello");
//!     let reference = Reference::http("https://downloads.example.com/hello.txt");
//!     store.references().put_bytes(&ctx, &digest, reference.to_bytes()).await?;
//!     assert_eq!(store.get_bytes(&ctx, &digest, 1024).await?, "hello");
//!     Ok(())
//! }
//! ```

mod allowed_hosts;
mod bucket_source;
mod content_range;
mod decoding;
mod http_source;
mod name_resolver;
mod opened;
mod options;
mod public_address;
mod reference;
mod reference_expanding;
mod snapshot;
mod sources;
mod time_limits;

pub use self::allowed_hosts::AllowedHosts;
pub use self::bucket_source::BucketSource;
pub use self::name_resolver::{NameResolver, SystemResolver};
pub use self::options::ExpandingOptions;
pub use self::reference::Reference;
pub use self::reference_expanding::ReferenceExpanding;
pub use self::snapshot::ExpandingSnapshot;
pub use object_store;
