//! A prefix of its own in the bucket that the environment names, and the totals in the ledger of a cache.

use std::env;
use std::path::Path;

use blobaccess::{Ac, Cas, Context, Kind};
use blobaccess_accounting::{Ledger, RedbLedger};
use blobaccess_s3_backend::object_store::aws::AmazonS3Builder;
use blobaccess_s3_backend::{Bucket, BucketOptions, BucketStore, Connection};
use blobaccess_testkit::list_all;

/// An unused prefix of the bucket `BLOBACCESS_S3_BUCKET` at `BLOBACCESS_S3_ENDPOINT`.
#[derive(Debug)]
pub(crate) struct TestBucket {
    endpoint: String,
    name: String,
    prefix: String,
    key_id: String,
    secret: String,
    url: String,
}

impl TestBucket {
    pub(crate) fn from_environment() -> Self {
        let variable = |name: &str| env::var(name).unwrap_or_else(|_| panic!("{name} is to be set"));
        let endpoint = variable("BLOBACCESS_S3_ENDPOINT");
        let name = env::var("BLOBACCESS_S3_BUCKET").unwrap_or_else(|_| "blobaccess".to_owned());
        // The name is random, as that of the folder.
        let folder = tempfile::tempdir().expect("a folder");
        let prefix = format!("bazel{}", folder.path().file_name().expect("it has a name").display()).replace('.', "-");
        let url = format!("s3://{name}/{prefix}?endpoint={endpoint}&allow_http=true&region=us-east-1");
        let key_id = variable("BLOBACCESS_S3_ACCESS_KEY_ID");
        Self { endpoint, name, prefix, key_id, secret: variable("BLOBACCESS_S3_SECRET_ACCESS_KEY"), url }
    }

    /// Returns the location, in the form that `remote_cache` takes.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Returns the environment variables with the credentials.
    pub(crate) fn credentials(&self) -> [(&str, &str); 2] {
        [("AWS_ACCESS_KEY_ID", &self.key_id), ("AWS_SECRET_ACCESS_KEY", &self.secret)]
    }

    /// Returns the total size of the listed objects, in bytes.
    pub(crate) fn stored_bytes(&self) -> i128 {
        let builder = AmazonS3Builder::new()
            .with_endpoint(&self.endpoint)
            .with_bucket_name(&self.name)
            .with_region("us-east-1")
            .with_access_key_id(&self.key_id)
            .with_secret_access_key(&self.secret);
        let bucket = Bucket::s3(builder, &Connection::default().with_allow_http(true)).expect("a client");
        let bucket = bucket.with_prefix(&self.prefix).expect("a prefix");
        run(async { stored_bytes_of::<Cas>(&bucket).await + stored_bytes_of::<Ac>(&bucket).await })
    }
}

async fn stored_bytes_of<K: Kind>(bucket: &Bucket) -> i128 {
    let store = BucketStore::<K>::open(bucket.clone(), BucketOptions::default()).await.expect("the bucket can be used");
    let entries = list_all(&store, &Context::background()).await.expect("the bucket can be listed");
    entries.iter().map(|entry| i128::from(entry.stored_bytes)).sum()
}

/// Returns the size of the bucket by the ledger in `accounts`, in bytes.
pub(crate) fn reported_bytes(accounts: &Path) -> i128 {
    run(async {
        let ledger = RedbLedger::open(accounts.join("ledger.redb")).expect("the cache has stopped");
        let totals = ledger.totals(None).await.expect("the ledger can be read");
        totals.iter().map(blobaccess_accounting::Total::footprint_bytes).sum()
    })
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(future)
}
