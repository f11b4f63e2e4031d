//! A store in your program: a backend, a layer around it, a put and a get.

#![expect(clippy::print_stdout, reason = "an example prints what it did")]

use blobaccess::decorators::EmptyBlobInjecting;
use blobaccess::{
    Blob, BlobAccess, Cas, Context, Digest, DigestFunction, DigestSet, InstanceName, MemoryStore, Result,
};

#[tokio::main]
async fn main() -> Result<()> {
    let ctx = Context::background();
    let store = EmptyBlobInjecting::new(MemoryStore::<Cas>::new(64 << 20));
    println!("the store is {store}");

    let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello");
    let asked = DigestSet::from([digest.clone()]);
    println!("missing: {} of {}", store.find_missing(&ctx, &asked).await?.len(), asked.len());
    println!("put {digest}: {:?}", store.put(&ctx, &digest, Blob::from_bytes("hello")).await?);
    println!("put again: {:?}", store.put(&ctx, &digest, Blob::from_bytes("hello")).await?);
    println!("missing: {} of {}", store.find_missing(&ctx, &asked).await?.len(), asked.len());
    println!("get: {:?}", store.get(&ctx, &digest).await?.into_bytes(1024).await?);

    // Contents that do not have this size and hash are refused, and nothing of them is stored.
    let other = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"other");
    if let Err(error) = store.put(&ctx, &other, Blob::from_bytes("hello")).await {
        println!("put of the wrong contents: refused: {error}");
    }
    Ok(())
}
