//! ZIP archives that `bb_storage` writes are those that we write, and each reads those of the other.

use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, Fsac, InstanceName};
use blobaccess_zip_store::{ZipOptions, ZipReadingStore, ZipWritingStore};

use crate::connect;
use crate::daemon::{Backend, Daemon, archive};

/// A `FileSystemAccessProfile`: a filter of three bytes, and five hash functions.
const PROFILE: &[u8] = b"\x0a\x03abc\x10\x05";

/// The names of the stores whose archives have entries. The others are empty.
const CONTENTS: &str = "contentAddressableStorage";
const PROFILES: &str = "fileSystemAccessCache";

fn digest_of(contents: &[u8]) -> Digest {
    Digest::of(InstanceName::new("some/where").unwrap(), DigestFunction::Sha256, contents)
}

/// Returns contents that travel in a batch, and such as are streamed.
fn contents() -> Vec<Vec<u8>> {
    let large = (0..3_000_000_u32).map(|byte| byte.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    vec![b"hello".to_vec(), large, b"world".to_vec()]
}

/// Puts all contents and the profile, one after another.
async fn fill(cas: &impl BlobAccess<Kind = Cas>, fsac: &impl BlobAccess<Kind = Fsac>) {
    let ctx = Context::background();
    for contents in contents() {
        cas.put(&ctx, &digest_of(&contents), Blob::from_bytes(contents)).await.unwrap();
    }
    fsac.put(&ctx, &digest_of(b"key"), Blob::from_bytes(PROFILE)).await.unwrap();
}

/// Checks that all of it is there.
async fn check(cas: &impl BlobAccess<Kind = Cas>, fsac: &impl BlobAccess<Kind = Fsac>) {
    let ctx = Context::background();
    for contents in contents() {
        let found = cas.get(&ctx, &digest_of(&contents)).await.unwrap();
        assert!(found.into_bytes(4 << 20).await.unwrap() == contents, "other contents of {} bytes", contents.len());
    }
    assert!(cas.get(&ctx, &digest_of(b"absent")).await.is_err_and(|error| error.is_not_found()));
    assert_eq!(fsac.get(&ctx, &digest_of(b"key")).await.unwrap().into_bytes(100).await.unwrap(), PROFILE);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs BLOBACCESS_BB_STORAGE"]
async fn archives_are_equal_to_the_byte_and_each_reads_those_of_the_other() {
    let (theirs, ours) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());

    let daemon = Daemon::start(&Backend::WrittenArchives(theirs.path().to_owned()));
    let remote = connect(&daemon);
    fill(&remote.cas(), &remote.fsac()).await;
    daemon.stop();

    let create = |name| archive(ours.path(), name);
    let cas = ZipWritingStore::<Cas>::create(create(CONTENTS), ZipOptions::new()).await.unwrap();
    let fsac = ZipWritingStore::<Fsac>::create(create(PROFILES), ZipOptions::new()).await.unwrap();
    fill(&cas, &fsac).await;
    cas.finish().await.unwrap();
    fsac.finish().await.unwrap();
    for name in ["actionCache", "indirectContentAddressableStorage", "initialSizeClassCache"] {
        ZipWritingStore::<Fsac>::create(create(name), ZipOptions::new()).await.unwrap().finish().await.unwrap();
    }
    let files: Vec<_> = std::fs::read_dir(theirs.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files.len(), 5, "{files:?}");
    for name in files {
        let archives = [theirs.path(), ours.path()].map(|folder| std::fs::read(folder.join(&name)).unwrap());
        assert!(archives[0] == archives[1], "{}: theirs is not ours", name.display());
    }

    let cas = ZipReadingStore::<Cas>::open(archive(theirs.path(), CONTENTS), ZipOptions::new()).await.unwrap();
    let fsac = ZipReadingStore::<Fsac>::open(archive(theirs.path(), PROFILES), ZipOptions::new()).await.unwrap();
    check(&cas, &fsac).await;
    let daemon = Daemon::start(&Backend::ReadArchives(ours.path().to_owned()));
    let remote = connect(&daemon);
    check(&remote.cas(), &remote.fsac()).await;
}
