//! Uploads in the background: a bounded queue in front of a slow store, and a fast store in front of that queue.
//!
//! ```text
//!   put ──> WriteBehind ──> fast store (a disk)
//!                │               ^
//!                v               │ contents are read when their turn comes
//!           UploadQueue ─────────┘──> slow store (a bucket), each upload counted once
//! ```
//!
//! A put returns when the fast store has the blob; the [`UploadQueue`] uploads it afterwards, or drops it and counts that.
//! [`WriteBehind`] reads from the fast store first and copies into it whatever had to come from the slow store.
//!
//! | | |
//! |---|---|
//! | [`WriteBehind`] | a fast store in front of a slow one |
//! | [`UploadQueue`] | the queue between them, which also works alone, with uploads held in memory |
//! | [`QueueOptions`], [`Acknowledge`] | the size of the queue, and when a put returns |
//! | [`QueueSnapshot`], [`Drained`] | the state of the queue, and of a queue that was shut down |
//!
//! # Examples
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> blobaccess::Result<()> {
//! use std::sync::Arc;
//!
//! use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, InstanceName, MemoryStore};
//! use blobaccess_accounting::{Accounts, AccountsOptions, Class, Reporter};
//! use blobaccess_write_behind::{QueueOptions, UploadQueue, WriteBehind};
//!
//! let accounts = Accounts::open(AccountsOptions::new(Reporter::new("host-7")))?;
//! // Stand-ins for a bucket and a disk.
//! let (bucket, disk) = (MemoryStore::<Cas>::new(1 << 20), MemoryStore::<Cas>::new(1 << 20));
//! let queue = Arc::new(UploadQueue::new(bucket, Arc::clone(&accounts), QueueOptions::new()));
//! let store = WriteBehind::new(disk, Arc::clone(&queue));
//!
//! let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello");
//! store.put(&Context::background(), &digest, Blob::from_bytes("hello")).await?;
//! // A host spawns this; it ends once a closed queue is empty.
//! queue.close();
//! queue.run().await;
//! assert_eq!(accounts.tallies().sum().get(Class::Created).stored_bytes, 5);
//! # Ok(())
//! # }
//! ```
//!
//! # Where to read on
//!
//! The page of [`WriteBehind`] says what the pair of stores weakens. [`blobaccess_accounting`] explains tickets, outcomes
//! and ledgers. The example `cached_bucket` in the repository puts a local store in front of a bucket with all of it.

mod queue;
mod write_behind;

pub use self::queue::{Acknowledge, Drained, QueueOptions, QueueSnapshot, UploadQueue};
pub use self::write_behind::WriteBehind;
