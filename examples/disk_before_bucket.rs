//! A disk in front of a bucket: puts return once the blob is on the disk, and are uploaded in the background.
//!
//! `cached_bucket` is the same with accounts, a ledger, metrics and a comparison with what is in the bucket.

#![expect(clippy::print_stdout, reason = "an example prints what it did")]

use std::sync::Arc;

use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, DigestSet, Error, InstanceName, Result};
use blobaccess_accounting::{Accounts, AccountsOptions, Reporter};
use blobaccess_local_store::{LocalStore, Options, SyncPolicy};
use blobaccess_s3_backend::{Bucket, BucketOptions, BucketStore};
use blobaccess_write_behind::{QueueOptions, UploadQueue, WriteBehind};

#[tokio::main]
async fn main() -> Result<()> {
    let folder =
        tempfile::tempdir().map_err(|error| Error::internal("a temporary folder cannot be made").with_source(error))?;

    // A bucket in a directory. Elsewhere this is a URL: Bucket::from_url("s3://NAME/PREFIX?region=eu-central-1").
    let bucket = Bucket::directory(folder.path().join("bucket"), false)?;
    let bucket = Arc::new(BucketStore::<Cas>::open(bucket, BucketOptions::default()).await?);

    let options = Options::in_file(folder.path().join("cas"), 64 << 20).persistent(SyncPolicy::OnClose);
    let disk = Arc::new(LocalStore::<Cas>::open(options).await?);

    // The queue counts what it uploads. A program that bills gives it a journal and reports to a ledger.
    let accounts = Accounts::open(AccountsOptions::new(Reporter::new("this-host")))?;
    let queue = Arc::new(UploadQueue::new(Arc::clone(&bucket), accounts, QueueOptions::new()));
    let store = WriteBehind::new(Arc::clone(&disk), Arc::clone(&queue));
    println!("the store is {store}");

    let ctx = Context::background();
    let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello");
    let asked = DigestSet::from([digest.clone()]);
    println!("put: {:?}", store.put(&ctx, &digest, Blob::from_bytes("hello")).await?);
    println!("in the bucket now: {}", bucket.find_missing(&ctx, &asked).await?.is_empty());

    // A server spawns `run` for as long as it lives. Here, the queue is closed first, so that `run` ends when it is
    // empty.
    queue.close();
    queue.run().await;
    println!("in the bucket after the queue ran: {}", bucket.find_missing(&ctx, &asked).await?.is_empty());

    println!("read from the disk: {:?}", store.get(&ctx, &digest).await?.into_bytes(1024).await?);
    disk.sync().await
}
