//! Contents in buckets.

use std::fmt::{self, Display, Formatter};
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{BlobAccess, Compressor, Context, ErrorKind};
use blobaccess_icas::object_store::memory::InMemory;
use blobaccess_icas::object_store::path::Path;
use blobaccess_icas::object_store::{
    CopyOptions, Error as StoreError, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use blobaccess_icas::{BucketSource, Reference};
use blobaccess_s3_backend::sim::SimS3;
use blobaccess_testkit::{Numbers, digest_of};
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::{Store, deflated, read, read_by, refer, store_without_hosts, zstd_compressed};

async fn bucket(objects: &[(&str, &[u8])]) -> BucketSource {
    let store = InMemory::new();
    for (key, contents) in objects {
        store.put(&Path::parse(key).unwrap(), contents.to_vec().into()).await.unwrap();
    }
    BucketSource::new(Arc::new(store))
}

#[tokio::test]
async fn objects_are_read_whole_and_in_part_and_decompressed() {
    let contents = Numbers::new(7).bytes(1000).repeat(100);
    let (zstd, deflate) = (zstd_compressed(&contents), deflated(&contents));
    let archive = [b"PK..".as_slice(), &deflate, b"tail"].concat();
    let bucket = bucket(&[("a/plain", &contents), ("a/zstd", &zstd), ("a/archive", &archive)]).await;
    let store = store_without_hosts().with_s3_bucket("one", bucket.clone()).with_gcs_bucket("two", bucket);
    let size = u64::try_from(deflate.len()).unwrap();
    let in_s3 = |key: &str| Reference::s3("one", key);
    let in_gcs = |key: &str| Reference::gcs("two", key);
    let places: [&dyn Fn(&str) -> Reference; 2] = [&in_s3, &in_gcs];
    for make in places {
        for reference in [
            make("a/plain"),
            make("a/zstd").with_compressor(Compressor::Zstd),
            make("a/archive").with_range(4, size).with_compressor(Compressor::Deflate),
            make("a/archive").with_range(4, 0).with_compressor(Compressor::Deflate),
        ] {
            assert!(read_by(&store, &contents, reference.clone()).await.unwrap() == contents, "{reference}");
        }
        let part = make("a/plain").with_range(500, 700);
        assert!(read_by(&store, &contents[500..1200], part).await.unwrap() == contents[500..1200]);
        let tail = make("a/archive").with_range(4 + size, 0);
        assert_eq!(read_by(&store, "tail", tail).await.unwrap(), "tail");
    }
    assert_eq!(store.snapshot().bucket_reads, 12);
}

#[tokio::test]
async fn only_named_buckets_and_allowed_keys_are_read() {
    let hello = bucket(&[("public/a", b"hello"), ("private/a", b"hello")]).await.with_allowed_prefix("public/");
    let store = store_without_hosts().with_s3_bucket("one", hello);
    assert_eq!(read_by(&store, "hello", Reference::s3("one", "public/a")).await.unwrap(), "hello");
    for (reference, kind) in [
        (Reference::s3("two", "public/a"), ErrorKind::FailedPrecondition),
        (Reference::gcs("one", "public/a"), ErrorKind::FailedPrecondition),
        (Reference::s3("one", "private/a"), ErrorKind::FailedPrecondition),
        (Reference::s3("one", "public/../private/a"), ErrorKind::Internal),
        (Reference::s3("one", "public//a"), ErrorKind::Internal),
    ] {
        let error = read_by(&store, "hello", reference.clone()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{reference}: {error}");
    }
    assert_eq!(store.snapshot().refused, 3);
}

#[tokio::test]
async fn a_container_is_reached_by_its_url() {
    let hello = bucket(&[("dir/a b", b"hello"), ("deep/a", b"deep")]).await;
    let deeper = bucket(&[("a", b"deeper")]).await;
    let store = store_without_hosts()
        .with_bucket_at("https://account.blob.core.windows.net/container", hello)
        .and_then(|store| store.with_bucket_at("https://account.blob.core.windows.net/container/deep/", deeper))
        .unwrap();
    let url = |path: &str| Reference::http(format!("https://account.blob.core.windows.net{path}"));
    assert_eq!(read_by(&store, "hello", url("/container/dir/a%20b")).await.unwrap(), "hello");
    assert_eq!(read_by(&store, "ell", url("/container/dir/a%20b").with_range(1, 3)).await.unwrap(), "ell");
    assert_eq!(read_by(&store, "deeper", url("/container/deep/a")).await.unwrap(), "deeper");
    for reference in [
        url("/container/dir/a%20b?sig=secret"),
        url("/container2/dir/a%20b"),
        url("/containe"),
        url(":8443/container/dir/a%20b"),
        Reference::http("http://account.blob.core.windows.net/container/dir/a%20b"),
        Reference::http("https://other.blob.core.windows.net/container/dir/a%20b"),
        Reference::http("https://me@account.blob.core.windows.net/container/dir/a%20b"),
    ] {
        let error = read_by(&store, "hello", reference.clone()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::FailedPrecondition, "{reference}: {error}");
    }
    for url in ["", "container", "ftp://a/b", "https://a/b?c", "https://a/b#c", "https://me@a/b"] {
        let error = store_without_hosts().with_bucket_at(url, bucket(&[]).await).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{url}");
    }
}

#[tokio::test]
async fn an_object_that_is_gone_or_has_another_size_is_lost() {
    let objects = bucket(&[("a", b"hello, world")]).await;
    let store = store_without_hosts().with_s3_bucket("one", objects);
    for (reference, text) in [
        (Reference::s3("one", "b"), "is no longer where its reference leads to: s3://one/b"),
        (Reference::s3("one", "a"), "source has 12 bytes, while the blob is 5 bytes"),
        (Reference::s3("one", "a").with_range(8, 5), "source is 12 bytes, while the reference needs 13"),
    ] {
        let digest = digest_of("hello");
        refer(&store, &digest, &reference).await;
        let error = store.get(&Context::background(), &digest).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::DataLoss, "{error}");
        assert!(error.to_string().contains(text), "{error}");
    }
    assert_eq!(store.snapshot().gone, 1);
}

/// A store of objects that fails as it is told.
#[derive(Debug)]
struct FailingBucket(fn() -> StoreError);

impl Display for FailingBucket {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("failing")
    }
}

#[async_trait]
impl ObjectStore for FailingBucket {
    async fn get_opts(&self, _: &Path, _: GetOptions) -> Result<GetResult, StoreError> {
        Err((self.0)())
    }

    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult, StoreError> {
        Err((self.0)())
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>, StoreError> {
        Err((self.0)())
    }

    async fn get_ranges(&self, _: &Path, _: &[Range<u64>]) -> Result<Vec<Bytes>, StoreError> {
        Err((self.0)())
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path, StoreError>>,
    ) -> BoxStream<'static, Result<Path, StoreError>> {
        paths
    }

    fn list(&self, _: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta, StoreError>> {
        Box::pin(futures::stream::empty())
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult, StoreError> {
        Err((self.0)())
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<(), StoreError> {
        Err((self.0)())
    }
}

fn not_found(text: &str) -> StoreError {
    StoreError::NotFound { path: "a".to_owned(), source: text.into() }
}

#[tokio::test]
async fn an_error_of_a_bucket_keeps_its_meaning_and_a_missing_bucket_is_no_absence() {
    let generic = || StoreError::Generic { store: "S3", source: "x".repeat(10_000).into() };
    let denied = || StoreError::PermissionDenied { path: "a".to_owned(), source: "no".into() };
    let unauthenticated = || StoreError::Unauthenticated { path: "a".to_owned(), source: "who".into() };
    let errors: [(fn() -> StoreError, ErrorKind); 7] = [
        (generic, ErrorKind::Unavailable),
        (denied, ErrorKind::PermissionDenied),
        (unauthenticated, ErrorKind::Unauthenticated),
        (|| not_found("<Code>NoSuchKey</Code>"), ErrorKind::NotFound),
        (|| not_found("<Code>NoSuchBucket</Code>"), ErrorKind::FailedPrecondition),
        (|| not_found("<Code>ContainerNotFound</Code>"), ErrorKind::FailedPrecondition),
        (|| not_found("The specified bucket does not exist."), ErrorKind::FailedPrecondition),
    ];
    for (error, kind) in errors {
        let options = blobaccess_icas::ExpandingOptions::new(blobaccess_icas::AllowedHosts::none());
        let store: Store = crate::store(options.with_gone_is_missing(true))
            .with_s3_bucket("one", BucketSource::new(Arc::new(FailingBucket(error))));
        let error = read_by(&store, "hello", Reference::s3("one", "a")).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().len() < 1000, "{error}");
    }
}

#[tokio::test]
async fn a_bucket_of_the_s3_backend_is_a_source() {
    let sim = SimS3::new(7);
    sim.insert("a/b", "hello, world");
    let bucket = sim.bucket().unwrap().with_prefix("ignored").unwrap();
    let store = store_without_hosts().with_s3_bucket("one", BucketSource::new(bucket.object_store()));
    assert_eq!(read_by(&store, "world", Reference::s3("one", "a/b").with_range(7, 5)).await.unwrap(), "world");
    assert_eq!(read_by(&store, "world", Reference::s3("one", "a/b").with_range(7, 0)).await.unwrap(), "world");
    sim.set_broken(true);
    let error = read(&store, &digest_of("world")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    sim.set_broken(false);
    sim.remove("a/b");
    assert_eq!(read(&store, &digest_of("world")).await.unwrap_err().kind(), ErrorKind::DataLoss);
    sim.set_deleted(true);
    assert_eq!(read(&store, &digest_of("world")).await.unwrap_err().kind(), ErrorKind::FailedPrecondition);
}
