//! Contents in other stores.

use std::sync::Arc;

use blobaccess::{
    Blob, BlobAccess, BlobAccessExt, Cas, Compressor, Context, Digest, DigestFunction, Error, ErrorKind, FailingStore,
    InstanceName, MemoryStore,
};
use blobaccess_icas::Reference;
use blobaccess_testkit::digest_of;
use blobaccess_testkit::fakes::{CountingStore, ScriptedStore};

use crate::{read, read_by, refer, store_without_hosts, zstd_compressed};

fn name(name: &str) -> InstanceName {
    InstanceName::new(name).unwrap()
}

async fn memory(digests: &[(&Digest, &[u8])]) -> Arc<CountingStore<MemoryStore<Cas>>> {
    let store = CountingStore::new(MemoryStore::new(1 << 20));
    for (digest, contents) in digests {
        store.put_bytes(&Context::background(), digest, contents.to_vec()).await.unwrap();
    }
    Arc::new(store)
}

#[tokio::test]
async fn the_same_contents_are_passed_through_and_others_are_read_in_part_and_decompressed() {
    let whole = digest_of("hello, world").with_instance_name(name("corpus/a"));
    let packed = zstd_compressed(b"hello, zstd");
    let packed_digest = digest_of(&packed).with_instance_name(name("corpus/a"));
    let inner = memory(&[(&whole, b"hello, world"), (&packed_digest, &packed)]).await;
    let store = store_without_hosts().with_store(&name("corpus"), Arc::<CountingStore<_>>::clone(&inner));
    assert_eq!(read_by(&store, "hello, world", Reference::blob(&whole)).await.unwrap(), "hello, world");
    assert_eq!(read_by(&store, "world", Reference::blob(&whole).with_range(7, 5)).await.unwrap(), "world");
    assert_eq!(read_by(&store, "world", Reference::blob(&whole).with_range(7, 0)).await.unwrap(), "world");
    let zstd = Reference::blob(&packed_digest).with_compressor(Compressor::Zstd);
    assert_eq!(read_by(&store, "hello, zstd", zstd).await.unwrap(), "hello, zstd");
    // The same contents under another function are verified with that one.
    let sha1 = Digest::of(InstanceName::empty(), DigestFunction::Sha1, b"hello, world");
    refer(&store, &sha1, &Reference::blob(&whole)).await;
    assert_eq!(read(&store, &sha1).await.unwrap(), "hello, world");
    let wrong = digest_of("another one!");
    refer(&store, &wrong, &Reference::blob(&whole)).await;
    assert_eq!(read(&store, &wrong).await.unwrap_err().kind(), ErrorKind::DataLoss);
    assert_eq!((store.snapshot().store_gets, inner.counts().gets), (6, 6));
}

#[tokio::test]
async fn what_is_passed_through_keeps_its_compressed_form() {
    let digest = digest_of("hello");
    let blob = Blob::from_encoded(
        &digest,
        Compressor::Zstd,
        None,
        futures::stream::empty(),
        |stream| stream,
        blobaccess::Provenance::store(),
    );
    let inner = ScriptedStore::<Cas>::new().on_get(Ok(blob));
    let store = store_without_hosts().with_store(&InstanceName::empty(), Arc::new(inner));
    refer(&store, &digest, &Reference::blob(&digest)).await;
    let blob = store.get(&Context::background(), &digest).await.unwrap();
    assert_eq!(blob.encoding(), Some(Compressor::Zstd));
}

#[tokio::test]
async fn the_longest_instance_name_tells_the_store_and_no_other_is_read() {
    let digest = digest_of("hello");
    let there = digest.with_instance_name(name("corpus/a/b"));
    let (outer, inner) = (memory(&[]).await, memory(&[(&there, b"hello")]).await);
    let store = store_without_hosts()
        .with_store(&name("corpus"), Arc::<CountingStore<_>>::clone(&outer))
        .with_store(&name("corpus/a"), Arc::<CountingStore<_>>::clone(&inner));
    assert_eq!(read_by(&store, "hello", Reference::blob(&there)).await.unwrap(), "hello");
    let error = read_by(&store, "hello", Reference::blob(&digest.with_instance_name(name("elsewhere")))).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::FailedPrecondition);
    assert_eq!((outer.counts().gets, inner.counts().gets, store.snapshot().refused), (0, 1, 1));
}

#[tokio::test]
async fn a_blob_that_is_gone_or_too_short_is_lost_and_an_outage_keeps_its_kind() {
    let there = digest_of("hello");
    let inner = memory(&[(&there, b"hello")]).await;
    let store = store_without_hosts().with_store(&InstanceName::empty(), inner);
    for reference in [Reference::blob(&digest_of("absent")), Reference::blob(&there).with_range(1, 5)] {
        let error = read_by(&store, "jello", reference.clone()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DataLoss, "{reference}: {error}");
    }
    for kind in [ErrorKind::Unavailable, ErrorKind::DeadlineExceeded, ErrorKind::PermissionDenied] {
        let down = FailingStore::<Cas>::new(Error::new(kind, "gone fishing"));
        let store = store_without_hosts().with_store(&InstanceName::empty(), Arc::new(down));
        let error = read_by(&store, "hello", Reference::blob(&there)).await.unwrap_err();
        assert_eq!((error.kind(), error.message()), (kind, "gone fishing"), "{error}");
    }
}
