//! Objects at an S3 server that somebody else has written. Each test is ignored unless it is asked for, and needs an
//! address:
//!
//! | variable | is |
//! |---|---|
//! | `BLOBACCESS_S3_ENDPOINT` | that of the server, such as Ceph RGW: `http://127.0.0.1:8000` |
//! | `BLOBACCESS_S3_BUCKET` | a bucket that exists there (`blobaccess`) |
//! | `BLOBACCESS_S3_ACCESS_KEY_ID`, `BLOBACCESS_S3_SECRET_ACCESS_KEY` | who asks (`AKIDTEST`, `SECRETTEST`) |
//!
//! The objects have random names.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail so")]

use std::env;
use std::sync::Arc;

use blobaccess::{BlobAccessExt, Compressor, Context, ErrorKind, Icas, MemoryStore, Result};
use blobaccess_icas::object_store::path::Path;
use blobaccess_icas::object_store::{ObjectStore, ObjectStoreExt};
use blobaccess_icas::{AllowedHosts, BucketSource, ExpandingOptions, Reference, ReferenceExpanding};
use blobaccess_s3_backend::object_store::aws::AmazonS3Builder;
use blobaccess_s3_backend::{Bucket, Connection};
use blobaccess_testkit::{Numbers, digest_of, seed};
use bytes::Bytes;

fn variable(name: &str, otherwise: &str) -> String {
    env::var(name).unwrap_or_else(|_| otherwise.to_owned())
}

fn endpoint() -> String {
    env::var("BLOBACCESS_S3_ENDPOINT").unwrap_or_else(|_| unreachable!("BLOBACCESS_S3_ENDPOINT is to be set"))
}

fn bucket_name() -> String {
    variable("BLOBACCESS_S3_BUCKET", "blobaccess")
}

/// Returns the client of a bucket, as the bucket store makes it.
fn bucket(name: &str, secret: &str) -> Arc<dyn ObjectStore> {
    let builder = AmazonS3Builder::new()
        .with_endpoint(endpoint())
        .with_bucket_name(name)
        .with_region("us-east-1")
        .with_access_key_id(variable("BLOBACCESS_S3_ACCESS_KEY_ID", "AKIDTEST"))
        .with_secret_access_key(secret);
    Bucket::s3(builder, &Connection::default().with_allow_http(true)).unwrap().object_store()
}

fn secret() -> String {
    variable("BLOBACCESS_S3_SECRET_ACCESS_KEY", "SECRETTEST")
}

type Store = ReferenceExpanding<MemoryStore<Icas>>;

fn store(hosts: AllowedHosts) -> Store {
    ReferenceExpanding::new(MemoryStore::new(1 << 20), ExpandingOptions::new(hosts)).unwrap()
}

async fn read_by(store: &Store, contents: &[u8], reference: &Reference) -> Result<Bytes> {
    let (ctx, digest) = (Context::background(), digest_of(contents));
    store.references().put_bytes(&ctx, &digest, reference.to_bytes()).await.unwrap();
    store.get_bytes(&ctx, &digest, u64::MAX).await
}

fn random_key(numbers: &mut Numbers) -> String {
    format!("icas/{:016x}{:016x}", numbers.draw(), numbers.draw())
}

#[tokio::test]
#[ignore = "needs an S3 server at BLOBACCESS_S3_ENDPOINT"]
async fn objects_are_read_whole_and_in_part_and_decompressed() {
    let mut numbers = Numbers::new(seed("BLOBACCESS_TESTKIT_SEED"));
    let objects = bucket(&bucket_name(), &secret());
    let contents = numbers.bytes(3 << 20);
    let zstd = zstd::bulk::compress(&contents, 1).unwrap();
    let (plain_key, archive_key) = (random_key(&mut numbers), random_key(&mut numbers));
    let archive = [b"PK..".as_slice(), &zstd, b"tail"].concat();
    objects.put(&Path::from(plain_key.as_str()), contents.clone().into()).await.unwrap();
    objects.put(&Path::from(archive_key.as_str()), archive.into()).await.unwrap();

    let store = store(AllowedHosts::none()).with_s3_bucket("corpus", BucketSource::new(objects));
    let plain = Reference::s3("corpus", plain_key.as_str());
    assert!(read_by(&store, &contents, &plain).await.unwrap() == contents);
    let part = plain.clone().with_range(1 << 20, 1000);
    assert!(read_by(&store, &contents[1 << 20..(1 << 20) + 1000], &part).await.unwrap().len() == 1000);
    let end = plain.clone().with_range(2 << 20, 0);
    assert!(read_by(&store, &contents[2 << 20..], &end).await.unwrap() == contents[2 << 20..]);
    let size = u64::try_from(zstd.len()).unwrap();
    let packed = Reference::s3("corpus", archive_key).with_range(4, size).with_compressor(Compressor::Zstd);
    assert!(read_by(&store, &contents, &packed).await.unwrap() == contents);
}

#[tokio::test]
#[ignore = "needs an S3 server at BLOBACCESS_S3_ENDPOINT"]
async fn what_is_absent_is_told_from_what_cannot_be_read() {
    let mut numbers = Numbers::new(seed("BLOBACCESS_TESTKIT_SEED"));
    let key = random_key(&mut numbers);
    let absent_bucket = format!("absent{:016x}", numbers.draw());
    for (bucket, secret, kinds) in [
        (bucket_name(), secret(), &[ErrorKind::DataLoss][..]),
        (absent_bucket, secret(), &[ErrorKind::FailedPrecondition, ErrorKind::PermissionDenied]),
        (bucket_name(), "wrong".to_owned(), &[ErrorKind::PermissionDenied]),
    ] {
        let source = BucketSource::new(self::bucket(&bucket, &secret));
        let store = store(AllowedHosts::none()).with_s3_bucket("corpus", source);
        let error = read_by(&store, b"hello", &Reference::s3("corpus", key.as_str())).await.unwrap_err();
        assert!(kinds.contains(&error.kind()), "{bucket}: {error:?}");
    }
}

#[tokio::test]
#[ignore = "needs an S3 server at BLOBACCESS_S3_ENDPOINT"]
async fn the_server_is_a_web_server_too() {
    let endpoint = endpoint();
    let host = endpoint.trim_start_matches("http://").trim_end_matches('/');
    let store =
        store(AllowedHosts::none().with_private_host(host).or_else(|_| AllowedHosts::none().with_host(host)).unwrap());
    // Without a signature, an object cannot be read, and nobody is told whether it exists.
    let url = format!("{endpoint}/{}/icas/absent", bucket_name());
    let error = read_by(&store, b"hello", &Reference::http(url)).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::DataLoss), "{error:?}");
    assert_eq!(store.snapshot().http_requests, 1);
}
