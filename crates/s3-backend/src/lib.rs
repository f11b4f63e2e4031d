//! A store in a bucket: S3 and compatible servers, Google Cloud Storage, Azure Blob Storage, or a directory.
//!
//! ```
//! use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, InstanceName};
//! use blobaccess_s3_backend::{Bucket, BucketOptions, BucketStore};
//!
//! #[tokio::main]
//! async fn main() -> blobaccess::Result<()> {
//!     // Or "s3://NAME/PREFIX?region=eu-central-1", "gs://NAME/PREFIX", "az://NAME/PREFIX?account=ACCOUNT", "/folder".
//!     let bucket = Bucket::from_url("memory:")?;
//!     let store = BucketStore::<Cas>::open(bucket, BucketOptions::default()).await?;
//!
//!     let ctx = Context::background();
//!     let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello");
//!     let outcome = store.put(&ctx, &digest, Blob::from_bytes("hello")).await?;
//!     assert_eq!(outcome.name(), "created");
//!     assert_eq!(store.get(&ctx, &digest).await?.into_bytes(1024).await?, "hello");
//!     Ok(())
//! }
//! ```
//!
//! # Providers
//!
//! | provider | [URL](Bucket::from_url) | constructor | feature |
//! |---|---|---|---|
//! | S3 and compatible servers | `s3://` | `Bucket::s3` | `aws` (default) |
//! | Google Cloud Storage | `gs://` | `Bucket::gcs` | `gcp` |
//! | Azure Blob Storage | `az://` | `Bucket::azure` | `azure` |
//! | a directory, for one process at a time | `file://`, or a path | [`Bucket::directory`] | |
//! | memory | `memory:` | [`Bucket::memory`] | |
//! | an S3 server within the process, with faults to order, for tests | | `sim::SimS3` | `sim` |
//!
//! Credentials come from the builder or the environment, or from instance metadata: roles of EC2, ECS and EKS, accounts of
//! Google's machines, identities of Azure's. TLS and signatures are those of `rustls` and `ring`. They need a C compiler
//! to build and nothing to be installed at run time.
//!
//! # Guarantees
//!
//! * **A put has one outcome, and it is true.** Objects are created on the condition that there is none. The answer that
//!   an object exists is not believed until the token that it was put with says whose it is: the first attempt may have
//!   succeeded and its answer been lost. An error says whether the blob may be stored anyway.
//! * **Nothing but absence is a miss.** Throttling, timeouts, missing rights and faults of the server keep their kinds.
//!   A deleted bucket is an error.
//! * **The behaviour of a server is probed, not assumed** ([`Findings`]), as some ignore conditions.
//!
//! A bucket only grows: there is no delete. Instance names share contents, so they do not isolate users of one bucket.
//!
//! # Large blobs
//!
//! Large blobs are sent in parts. With Azure, and with S3 if [`Findings`] say that its completions take a condition, the
//! condition and the token come with the completion. With Google, and with servers that ignore that condition, the key is
//! claimed before. Azure does not allow such claims, as a put discards the blocks that are not yet a blob. A server that
//! speaks Azure's protocol and ignores conditions therefore makes large blobs `Unclassified`. Azure deletes the blocks of
//! abandoned uploads after a week.
//!
//! # Read on
//!
//! [`BucketStore`] has the cost of each call in requests, [`BucketOptions`] the settings, [`Layout`] the keys and the form
//! of objects, and `Connection` timeouts and retries.

mod abort_uploads;
mod aborts;
mod backoff;
mod bucket;
mod casblob;
mod claim;
mod claim_marker;
mod complaints;
mod create;
mod damage;
mod delete;
mod doubts;
mod error;
mod find;
mod findings;
mod get;
mod get_casblob;
mod history;
mod inventory;
mod last_answer;
mod layout;
mod multipart;
mod options;
mod probe;
mod put_contents;
mod put_message;
mod repair;
mod requests;
mod resolve;
mod shared;
#[cfg(feature = "sim")]
pub mod sim;
mod store;
mod verdict;
mod whose;

pub use self::bucket::Bucket;
#[cfg(feature = "_cloud")]
pub use self::bucket::Connection;
pub use self::findings::Findings;
pub use self::inventory::{DigestSizes, Shard, ShardInventory};
pub use self::layout::Layout;
pub use self::options::{BucketOptions, LargeCreates, Mutability, OnMissingConditions, OnUnreachable, ProbeRaces};
pub use self::requests::RequestCounts;
pub use self::store::{BucketSnapshot, BucketStore};
pub use object_store;
