//! Archives byte by byte: their layout, those that were cut, those from elsewhere, and those that were made to harm.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests fail loudly, and say what they did"
)]

mod appending;
mod builder;
mod compressed;
mod cut;
mod full_disk;
mod hostile;
mod layout;
mod mutated;
mod round_trip;
mod uploads;
mod verification;

use std::path::{Path, PathBuf};

use blobaccess::{
    BlobAccess, BlobAccessExt, Context, Digest, DigestFunction, ErrorKind, InstanceName, Kind, PutOutcome,
};
use blobaccess_zip_store::{ZipOptions, ZipReadingStore, ZipWritingStore};
use tempfile::TempDir;

/// A place for one archive.
struct Place {
    _directory: TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("archive.zip");
        Self { _directory: directory, path }
    }

    /// Makes a place with this file.
    fn with(bytes: impl AsRef<[u8]>) -> Self {
        let place = Self::new();
        std::fs::write(&place.path, bytes).unwrap();
        place
    }

    fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.path).unwrap()
    }

    async fn create<K: Kind>(&self) -> ZipWritingStore<K> {
        ZipWritingStore::create(&self.path, ZipOptions::new()).await.unwrap()
    }

    async fn append<K: Kind>(&self) -> ZipWritingStore<K> {
        ZipWritingStore::append(&self.path, ZipOptions::new()).await.unwrap()
    }

    async fn open<K: Kind>(&self) -> ZipReadingStore<K> {
        ZipReadingStore::open(&self.path, ZipOptions::new()).await.unwrap()
    }

    async fn salvage<K: Kind>(&self) -> ZipReadingStore<K> {
        ZipReadingStore::open(&self.path, ZipOptions::new().with_salvaging(true)).await.unwrap()
    }
}

fn ctx() -> Context {
    Context::background()
}

fn digest(contents: impl AsRef<[u8]>) -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents.as_ref())
}

/// Returns the digest of the action of a message.
fn action(number: u32) -> Digest {
    Digest::of(InstanceName::new("name").unwrap(), DigestFunction::Sha256, &number.to_le_bytes())
}

async fn put<K: Kind>(store: &ZipWritingStore<K>, digest: &Digest, contents: impl AsRef<[u8]>) -> PutOutcome {
    store.put_bytes(&ctx(), digest, contents.as_ref().to_vec()).await.unwrap()
}

async fn get(store: &impl BlobAccess, digest: &Digest) -> Vec<u8> {
    store.get_bytes(&ctx(), digest, 64 << 20).await.unwrap().to_vec()
}

/// Returns the kind and text of the error with which reading ends.
async fn failure(store: &impl BlobAccess, digest: &Digest) -> (ErrorKind, String) {
    let error = store.get_bytes(&ctx(), digest, 64 << 20).await.unwrap_err();
    (error.kind(), error.to_string())
}

/// Returns the kind and text of the error with which opening fails.
async fn refusal<K: Kind>(path: &Path, options: ZipOptions) -> (ErrorKind, String) {
    let error = ZipReadingStore::<K>::open(path, options).await.unwrap_err();
    (error.kind(), error.to_string())
}
