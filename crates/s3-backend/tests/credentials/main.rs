//! Credentials that instance metadata hands out over HTTP, for buckets that are reached over HTTPS alone.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail so")]

mod servers;

use std::path::Path;
use std::time::Duration;

use blobaccess::{BlobAccess, Cas, Context, Digest, DigestFunction, ErrorKind, InstanceName};
use blobaccess_s3_backend::{Bucket, BucketOptions, BucketStore, Connection};
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use tokio::process::Command;

use crate::servers::Server;

/// The variable that tells a process that it is the one that [`ask`] starts: the URL of its bucket.
const URL: &str = "BLOBACCESS_TEST_BUCKET_URL";

/// Asks the bucket that [`URL`] names for a blob. Does nothing unless [`ask`] starts this test in a process of its own:
/// the addresses of metadata services are taken from the environment, which a process cannot change for itself alone.
#[tokio::test]
async fn a_process_with_an_environment_of_its_own_asks_for_a_blob() {
    let Ok(url) = std::env::var(URL) else { return };
    let options = BucketOptions::default().with_probe(false);
    let store = BucketStore::<Cas>::open(Bucket::from_url(&url).unwrap(), options).await.unwrap();
    let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello");
    let error = store.get(&Context::background(), &digest).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

/// Asks the bucket at `url` for a blob, in a process that has only `variables` in its environment.
async fn ask(url: &str, certificate: &Path, variables: &[(&str, &str)]) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_process_with_an_environment_of_its_own_asks_for_a_blob", "--nocapture"])
        .env_clear()
        .env(URL, url)
        .env("SSL_CERT_FILE", certificate)
        .envs(variables.iter().copied())
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

struct Servers {
    metadata: Server,
    bucket: Server,
    folder: tempfile::TempDir,
}

impl Servers {
    async fn start() -> Self {
        let metadata = servers::metadata().await;
        let (bucket, certificate) = servers::bucket().await;
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("certificate.pem"), certificate).unwrap();
        Self { metadata, bucket, folder }
    }

    /// Asks a bucket at an URL that begins so for a blob. Metadata is at the address that ends a variable.
    async fn ask(&self, url: &str, variables: &[(&str, String)]) {
        let separator = if url.contains('?') { '&' } else { '?' };
        let url = format!("{url}{separator}endpoint=https://localhost:{}", self.bucket.port);
        let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        ask(&url, &self.folder.path().join("certificate.pem"), &variables).await;
    }

    fn metadata_address(&self) -> String {
        format!("127.0.0.1:{}", self.metadata.port)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_s3_bucket_is_asked_with_the_role_of_an_ec2_instance() {
    let servers = Servers::start().await;
    let metadata = format!("http://{}", servers.metadata_address());
    servers.ask("s3://builds?region=eu-central-1", &[("AWS_METADATA_ENDPOINT", metadata)]).await;
    assert_eq!(
        servers.metadata.paths(),
        [
            "PUT /latest/api/token",
            "GET /latest/meta-data/iam/security-credentials/",
            "GET /latest/meta-data/iam/security-credentials/builder",
        ]
    );
    let authorizations = servers.bucket.authorizations();
    assert_eq!(authorizations.len(), 1);
    assert!(authorizations[0].starts_with("AWS4-HMAC-SHA256 Credential=ASIAROLE/"), "{authorizations:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_s3_bucket_is_asked_with_the_role_of_a_pod() {
    let servers = Servers::start().await;
    let token = servers.folder.path().join("token");
    std::fs::write(&token, "token of the pod").unwrap();
    let variables = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("http://{}/ecs", servers.metadata_address())),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token.display().to_string()),
    ];
    servers.ask("s3://builds?region=eu-central-1", &variables).await;
    assert_eq!(servers.metadata.paths(), ["GET /ecs"]);
    assert_eq!(servers.metadata.authorizations(), ["token of the pod"]);
    let authorizations = servers.bucket.authorizations();
    assert!(authorizations[0].starts_with("AWS4-HMAC-SHA256 Credential=ASIAROLE/"), "{authorizations:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_google_bucket_is_asked_with_the_account_of_a_machine() {
    let servers = Servers::start().await;
    servers.ask("gs://builds", &[("GCE_METADATA_HOST", servers.metadata_address())]).await;
    assert_eq!(servers.metadata.paths(), ["GET /computeMetadata/v1/instance/service-accounts/default/token"]);
    assert_eq!(servers.bucket.authorizations(), ["Bearer from-google"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_azure_container_is_asked_with_the_identity_of_a_machine() {
    let servers = Servers::start().await;
    let metadata = format!("http://{}/metadata/identity/oauth2/token", servers.metadata_address());
    servers.ask("az://builds?account=builder", &[("AZURE_MSI_ENDPOINT", metadata)]).await;
    assert_eq!(servers.metadata.paths(), ["GET /metadata/identity/oauth2/token"]);
    assert_eq!(servers.bucket.authorizations(), ["Bearer from-azure"]);
}

/// Returns a connection that tries each request once.
fn once() -> Connection {
    Connection::default().with_retries(0, Duration::from_secs(1))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_stays_on_https_however_its_credentials_came() {
    let metadata = servers::metadata().await;
    let (bucket, _) = servers::bucket().await;
    let builder = AmazonS3Builder::new()
        .with_bucket_name("builds")
        .with_region("eu-central-1")
        .with_metadata_endpoint(format!("http://127.0.0.1:{}", metadata.port))
        .with_endpoint(format!("http://localhost:{}", bucket.port));
    let options = BucketOptions::default().with_attempts(1);
    let error = BucketStore::<Cas>::open(Bucket::s3(builder, &once()).unwrap(), options).await.unwrap_err();
    assert_eq!(metadata.paths().len(), 3, "credentials are had");
    assert!(bucket.paths().is_empty(), "{:?}", bucket.paths());
    assert!(error.to_string().starts_with("probe of AmazonS3(builds): "), "{error}");
    assert!(error.message().ends_with("URL scheme is not allowed"), "{error}");
}

/// Fails to open `bucket`, and returns what was said.
async fn refused(bucket: Bucket) -> String {
    let requests = bucket.clone();
    let error = BucketStore::<Cas>::open(bucket, BucketOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
    assert!(!error.is_retryable(), "{error}");
    let requests = requests.requests();
    assert_eq!((requests.other, requests.total()), (1, 1), "only credentials are asked for, and once");
    error.message().to_owned()
}

#[tokio::test]
async fn a_bucket_without_credentials_says_which_variables_to_set() {
    // Nobody listens on the port of a listener that is gone.
    let port = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let s3 = AmazonS3Builder::new()
        .with_bucket_name("builds")
        .with_region("eu-central-1")
        .with_metadata_endpoint(format!("http://127.0.0.1:{port}"));
    let message = refused(Bucket::s3(s3, &once()).unwrap()).await;
    let expected = "no credentials for AmazonS3(builds): set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where \
                    instance metadata is offered (";
    assert!(message.starts_with(expected), "{message}");

    let azure = MicrosoftAzureBuilder::new()
        .with_account("builder")
        .with_container_name("builds")
        .with_msi_endpoint(format!("http://127.0.0.1:{port}"));
    let message = refused(Bucket::azure(azure, &once()).unwrap()).await;
    assert!(
        message.contains(": set AZURE_STORAGE_ACCOUNT_KEY, or run where instance metadata is offered ("),
        "{message}"
    );
}
