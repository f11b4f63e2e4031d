//! Stores of every kind, in files of their own: a file of one kind is refused by every other.

#![expect(clippy::unwrap_used, reason = "a step that fails is a failed test")]

use std::path::Path;

use blobaccess::{
    Ac, BlobAccess, BlobAccessExt, Cas, Context, Digest, DigestFunction, Error, ErrorKind, Fsac, Icas, InstanceName,
    Iscc, KeyFormat, Kind, Result, StorageType,
};
use blobaccess_local_store::{LocalStore, Options, SyncPolicy};

static CTX: Context = Context::background();

const KINDS: [StorageType; 5] =
    [StorageType::Cas, StorageType::Ac, StorageType::Icas, StorageType::Iscc, StorageType::Fsac];

fn digest() -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello")
}

async fn open<K: Kind>(path: &Path) -> Result<LocalStore<K>> {
    let options = Options::in_file(path, 4 << 20).with_blocks(1, 4, 1).with_spare_blocks(2).with_entries(4000);
    LocalStore::open(options.persistent(SyncPolicy::OnClose)).await
}

async fn write_by<K: Kind>(path: &Path) {
    let store = open::<K>(path).await.unwrap();
    assert_eq!(store.key_format() == KeyFormat::WithInstanceName, K::STORAGE_TYPE.is_mutable());
    store.put_bytes(&CTX, &digest(), "hello").await.unwrap();
    store.close().await.unwrap();
}

async fn read_by<K: Kind>(path: &Path) -> Result<()> {
    let store = open::<K>(path).await?;
    assert_eq!(store.get_bytes(&CTX, &digest(), 9).await?, "hello");
    store.close().await
}

async fn write(kind: StorageType, path: &Path) {
    match kind {
        StorageType::Cas => write_by::<Cas>(path).await,
        StorageType::Ac => write_by::<Ac>(path).await,
        StorageType::Icas => write_by::<Icas>(path).await,
        StorageType::Iscc => write_by::<Iscc>(path).await,
        StorageType::Fsac => write_by::<Fsac>(path).await,
    }
}

async fn read(kind: StorageType, path: &Path) -> Result<(), Error> {
    match kind {
        StorageType::Cas => read_by::<Cas>(path).await,
        StorageType::Ac => read_by::<Ac>(path).await,
        StorageType::Icas => read_by::<Icas>(path).await,
        StorageType::Iscc => read_by::<Iscc>(path).await,
        StorageType::Fsac => read_by::<Fsac>(path).await,
    }
}

#[tokio::test]
async fn a_file_is_read_by_the_kind_that_wrote_it_and_refused_by_every_other() {
    let directory = tempfile::tempdir().unwrap();
    for writer in KINDS {
        let path = directory.path().join(writer.name());
        write(writer, &path).await;
        for reader in KINDS {
            match read(reader, &path).await {
                Ok(()) => assert_eq!(reader, writer),
                Err(error) => {
                    assert_ne!(reader, writer, "{error}");
                    assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{error}");
                    let message = error.to_string();
                    assert!(message.contains(writer.name()) && message.contains(reader.name()), "{message}");
                }
            }
        }
        // To be refused has changed nothing.
        read(writer, &path).await.unwrap();
    }
}
