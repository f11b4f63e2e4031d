//! A backend of your own: a folder with a file for each blob, held to the same contracts as every other store.
//!
//! `cargo test --example custom_backend` runs the contracts.

#![expect(clippy::print_stdout, reason = "an example prints what it did")]

mod folder;

use blobaccess::{Blob, BlobAccess, Context, Digest, DigestFunction, DigestSet, Error, InstanceName, Result};

use folder::FolderStore;

#[tokio::main]
async fn main() -> Result<()> {
    let path = std::env::temp_dir().join(format!("custom_backend-{}", std::process::id()));
    let ctx = Context::background();
    let digest = Digest::of(InstanceName::empty(), DigestFunction::Blake3, b"kept in a file");

    let store = FolderStore::open(&path)?;
    println!("the store is {store}");
    println!("put {digest}: {:?}", store.put(&ctx, &digest, Blob::from_bytes("kept in a file")).await?);
    drop(store);

    let store = FolderStore::open(&path)?;
    let missing = store.find_missing(&ctx, &DigestSet::from([digest.clone()])).await?;
    println!("after opening it again, {} blobs are missing", missing.len());
    println!("get: {:?}", store.get(&ctx, &digest).await?.into_bytes(1024).await?);
    std::fs::remove_dir_all(&path).map_err(|error| Error::internal("folder cannot be removed").with_source(error))
}

#[cfg(test)]
mod tests {
    use blobaccess::Result;
    use blobaccess_testkit::{Fixture, Promises};
    use tempfile::TempDir;

    use super::FolderStore;

    /// The fixture: a folder in which the store is opened again and again.
    struct Folder(TempDir);

    impl Fixture for Folder {
        type Store = FolderStore;

        fn promises(&self) -> Promises {
            Promises::IN_MEMORY.with_durable(true)
        }

        async fn open(&self) -> Result<FolderStore> {
            FolderStore::open(self.0.path())
        }
    }

    blobaccess_testkit::conformance! {
        folder => Folder(TempDir::new().unwrap()),
    }
}
