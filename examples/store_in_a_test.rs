//! A program that uses a store, and its tests: over a store in memory, over one that is down, and over one that counts.
//!
//! `cargo test --example store_in_a_test` runs the tests.

#![expect(clippy::print_stdout, reason = "an example prints what it did")]

use blobaccess::{
    Blob, BlobAccess, Cas, Context, Digest, DigestFunction, DigestSet, InstanceName, MemoryStore, Result,
};

/// Uploads those of `contents` that `store` does not have, and returns how many those are.
///
/// This is the code under test. It takes any store of contents.
async fn upload_missing(store: &dyn BlobAccess<Kind = Cas>, contents: &[&'static str]) -> Result<usize> {
    let ctx = Context::background();
    let digest = |text: &str| Digest::of(InstanceName::empty(), DigestFunction::Sha256, text.as_bytes());
    let asked: DigestSet = contents.iter().map(|text| digest(text)).collect();
    let missing = store.find_missing(&ctx, &asked).await?;
    for text in contents {
        let digest = digest(text);
        if missing.contains(&digest) {
            store.put(&ctx, &digest, Blob::from_bytes(*text)).await?;
        }
    }
    Ok(missing.len())
}

#[tokio::main]
async fn main() -> Result<()> {
    let store = MemoryStore::<Cas>::new(1 << 20);
    println!("uploaded {} blobs", upload_missing(&store, &["one", "two"]).await?);
    println!("uploaded {} blobs", upload_missing(&store, &["two", "three"]).await?);
    println!("`cargo test --example store_in_a_test` tests the function that did this");
    Ok(())
}

#[cfg(test)]
mod tests {
    use blobaccess::{Error, ErrorKind};
    use blobaccess_testkit::fakes::{CountingStore, UnreachableStore};

    use super::*;

    #[tokio::test]
    async fn what_is_stored_is_not_uploaded_again() {
        let store = CountingStore::new(MemoryStore::<Cas>::new(1 << 20));
        assert_eq!(upload_missing(&store, &["one", "two"]).await.unwrap(), 2);
        assert_eq!(upload_missing(&store, &["two", "three"]).await.unwrap(), 1);
        assert_eq!(store.counts().puts, 3);
    }

    #[tokio::test]
    async fn however_many_blobs_there_are_the_store_is_asked_once() {
        let store = CountingStore::new(MemoryStore::<Cas>::new(1 << 20));
        upload_missing(&store, &["one", "two", "three"]).await.unwrap();
        assert_eq!(store.counts().finds, 1);
    }

    #[tokio::test]
    async fn an_outage_is_reported_and_is_not_taken_for_absence() {
        let store = UnreachableStore::<Cas>::new(Error::unavailable("the disk is on fire"));
        let error = upload_missing(&store, &["one"]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
}
