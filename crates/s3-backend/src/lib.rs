//! A bucket as a store: S3 and what speaks its protocol, Google Cloud Storage, Azure Blob Storage, a directory.
//!
//! # What it promises
//!
//! * **A put has one outcome, and it is true.** Objects are created on the condition that there is none. An answer that
//!   there is one is not believed until the token that the object was put with says whose it is: the first attempt may
//!   have gone through and its answer been lost. An error says whether the blob may be stored all the same.
//! * **Nothing but absence is a miss.** Throttling, time-outs, missing rights and faults of the server keep their kinds,
//!   and a bucket that is gone is an error.
//! * **What a server does is tried out, not assumed** ([`Findings`]): some ignore conditions.
//!
//! # Large blobs
//!
//! They go in parts. With S3, whose completions take a condition where [`Findings`] say so, and with Azure, the condition
//! and the token come with the completion. With Google, and where a server ignores that condition, the key is claimed
//! first. Azure cannot be claimed so, as blocks that are not yet a blob are lost when one is put: a server that speaks
//! its protocol and ignores conditions makes large blobs `Unclassified`. Blocks of uploads that were given up are Azure's
//! to delete, after a week.
//!
//! # Features
//!
//! | feature | is |
//! |---|---|
//! | `aws` (default) | [`Bucket::s3`](struct@Bucket), for S3 and its like |
//! | `gcp` | `Bucket::gcs`, for Google Cloud Storage |
//! | `azure` | `Bucket::azure`, for Azure Blob Storage |
//! | `sim` | an S3 within the process, with faults to order |
//!
//! TLS and signatures are those of `rustls` and `ring`. They need a C compiler to build and nothing to be installed at
//! run time. Without features, a bucket is in memory or in a directory. [`Bucket::from_url`] makes any from one line.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod abort_uploads;
mod aborts;
mod backoff;
mod bucket;
mod casblob;
mod claim;
mod claim_marker;
mod create;
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
mod requests;
mod resolve;
mod shared;
#[cfg(feature = "sim")]
pub mod sim;
mod store;
mod verdict;

pub use self::bucket::Bucket;
#[cfg(feature = "cloud")]
pub use self::bucket::Connection;
pub use self::findings::Findings;
pub use self::inventory::Shard;
pub use self::layout::Layout;
pub use self::options::{BucketOptions, LargeCreates, Mutability, OnMissingConditions};
pub use self::requests::RequestCounts;
pub use self::store::{BucketSnapshot, BucketStore};
#[cfg(feature = "cloud")]
pub use object_store;
