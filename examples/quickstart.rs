//! A store inside another program: a backend, a layer around it, a put and a get.

#![expect(clippy::print_stdout, reason = "an example prints what it did")]

use std::num::NonZeroUsize;
use std::time::Duration;

use blobaccess::decorators::ExistenceCaching;
use blobaccess::{
    Blob, BlobAccess, Cas, Context, Digest, DigestFunction, DigestSet, InstanceName, MemoryStore, Result,
};

/// How many digests are remembered as found.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

#[tokio::main]
async fn main() -> Result<()> {
    let ctx = Context::background();
    let memory = MemoryStore::<Cas>::new(64 << 20);
    let store = ExistenceCaching::new(memory, REMEMBERED, Duration::from_mins(1));
    println!("the store is {store}");

    let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello");
    let asked = DigestSet::from([digest.clone()]);
    assert_eq!(store.find_missing(&ctx, &asked).await?, asked);
    println!("put {digest}: {:?}", store.put(&ctx, &digest, Blob::from_bytes("hello")).await?);
    println!("put again: {:?}", store.put(&ctx, &digest, Blob::from_bytes("hello")).await?);

    assert!(store.find_missing(&ctx, &asked).await?.is_empty());
    let contents = store.get(&ctx, &digest).await?.into_bytes(1024).await?;
    assert_eq!(contents, "hello");
    println!("got {contents:?}");

    // Whatever does not have this size and hash is refused, and leaves nothing.
    let other = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"other");
    println!("put wrong contents: {:?}", store.put(&ctx, &other, Blob::from_bytes("hello")).await);
    assert_eq!(store.find_missing(&ctx, &DigestSet::from([other])).await?.len(), 1);
    Ok(())
}
