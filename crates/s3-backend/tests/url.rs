//! Buckets that are described by a URL.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail so")]

use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, ErrorKind, InstanceName};
use blobaccess_s3_backend::{Bucket, BucketOptions, BucketStore};
use tempfile::TempDir;

fn refusal(url: &str) -> String {
    let error = Bucket::from_url(url).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{url}: {error}");
    error.message().to_owned()
}

#[test]
fn a_url_names_bucket_and_prefix() {
    let url = "s3://builds/a/b%20c/?endpoint=http://127.0.0.1:9&region=here&allow_http=true&virtual_hosted=false";
    assert_eq!(Bucket::from_url(url).unwrap().to_string(), "AmazonS3(builds)/a/b c");
    assert_eq!(Bucket::from_url("s3://builds").unwrap().to_string(), "AmazonS3(builds)");
}

#[tokio::test]
async fn a_folder_and_memory_need_no_server() {
    let folder = TempDir::new().unwrap();
    let file = format!("file://{}/of%20blobs?durable=false", folder.path().display());
    for url in [file.as_str(), "memory:", "memory://"] {
        let store = BucketStore::<Cas>::open(Bucket::from_url(url).unwrap(), BucketOptions::default()).await.unwrap();
        let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello");
        let ctx = Context::background();
        store.put(&ctx, &digest, Blob::from_bytes("hello")).await.unwrap();
        assert_eq!(store.get(&ctx, &digest).await.unwrap().into_bytes(5).await.unwrap(), "hello");
    }
    assert!(folder.path().join("of blobs/cas").is_dir());
}

#[test]
fn a_path_is_a_directory_as_it_is() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a%20b?c#d");
    let bucket = Bucket::from_url(path.to_str().unwrap()).unwrap();
    assert_eq!(bucket.to_string(), format!("directory({})", path.display()));
    assert!(path.is_dir());
    assert!(refusal("folder").ends_with("or a path that begins with / or ."));
}

#[test]
fn an_endpoint_over_plain_http_must_be_allowed() {
    for url in ["s3://b", "gs://b", "az://b?account=us"] {
        let url = format!("{url}{}endpoint=http://127.0.0.1:9", if url.contains('?') { '&' } else { '?' });
        assert_eq!(refusal(&url), "key \"endpoint\" of a bucket's URL is plain HTTP, which takes allow_http=true");
        assert!(Bucket::from_url(&format!("{url}&allow_http=true")).is_ok(), "{url}");
    }
}

#[test]
fn a_key_that_is_unknown_is_refused_by_name() {
    for (url, scheme) in [("s3://b?reigon=x", "s3"), ("file:///tmp?reigon=x", "file"), ("memory:?reigon=x", "memory")] {
        assert_eq!(refusal(url), format!("the URL of a {scheme} bucket has no key \"reigon\""));
    }
    assert_eq!(refusal("s3://b?region=x&region=y"), "the URL of a bucket has key \"region\" twice");
    assert_eq!(refusal("s3://b?allow_http=yes"), "key \"allow_http\" of a bucket's URL must be true or false");
}

#[test]
fn what_is_no_url_of_a_bucket_is_refused() {
    for url in [
        "",
        "builds",
        "ftp://x",
        "s3:",
        "s3://",
        "s3:///prefix",
        "s3://b#c",
        "s3://b/%4",
        "s3://b/%+1",
        "s3://b/%ff",
        "s3://b/a//b",
        "file:folder",
        "file://host/folder",
        "memory:a",
        "memory://a",
    ] {
        refusal(url);
    }
}

#[test]
fn credentials_in_a_url_are_refused_and_not_repeated() {
    let message = refusal("s3://AKID:SECRET@builds/cas");
    assert!(!message.contains("SECRET") && message.contains("environment"), "{message}");
}

#[test]
fn buckets_of_other_providers_are_named_by_their_own_keys() {
    let google = Bucket::from_url("gs://builds/a/b?endpoint=http://127.0.0.1:9&allow_http=true").unwrap();
    assert_eq!(google.to_string(), "GoogleCloudStorage(builds)/a/b");
    let azure = Bucket::from_url("az://builds/a%20b?account=us&endpoint=http://127.0.0.1:9&allow_http=true").unwrap();
    assert_eq!(azure.to_string(), "MicrosoftAzure { account: us, container: builds }/a b");
    for (url, message) in [
        ("gs://b?region=x", "the URL of a gs bucket has no key \"region\""),
        ("gs://", "the URL of a gs bucket names no bucket"),
        ("gs://b?allow_http=1", "key \"allow_http\" of a bucket's URL must be true or false"),
        ("gs://b/a//b", "\"a//b\" is no prefix of keys: Path \"a//b\" contained empty path segment"),
        ("az://b?region=x", "the URL of a az bucket has no key \"region\""),
        ("az:///b", "the URL of a az bucket names no bucket"),
        ("az://b?account=us&allow_http=", "key \"allow_http\" of a bucket's URL must be true or false"),
    ] {
        assert_eq!(refusal(url), message, "{url}");
    }
    assert!(refusal("az://b").contains("Account must be specified"), "{}", refusal("az://b"));
    for url in ["gs://TOKEN:SECRET@builds", "az://KEY:SECRET@builds?account=us"] {
        let message = refusal(url);
        assert!(!message.contains("SECRET") && message.contains("environment"), "{message}");
    }
}
