//! Buckets of the providers, each over two clients that share their connections.

use std::sync::Arc;

use blobaccess::{Error, Result};
#[cfg(feature = "aws")]
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
#[cfg(feature = "azure")]
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
#[cfg(feature = "gcp")]
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};

use super::connector::Connector;
use super::credentials::Credentials;
use super::{Bucket, Connection, Parts, Provider};
use crate::requests::Requests;

fn cannot_build(error: object_store::Error) -> Error {
    Error::invalid_argument(format!("the bucket cannot be reached as it is described: {error}")).with_source(error)
}

macro_rules! bucket {
    ($provider:expr, $credentials:expr, $builder:expr, $connection:expr, $skip_signature:expr) => {{
        let requests = Arc::<Requests>::default();
        let connector = Connector::new($connection, Arc::clone(&requests))?;
        let builder = $builder.with_client_options($connection.client_options());
        let signs = !builder.get_config_value(&$skip_signature).is_some_and(|skips| is_on(&skips));
        let store = builder.clone().with_http_connector(connector.clone()).with_retry($connection.retry());
        let store = store.build().map_err(cannot_build).map(Arc::new)?;
        // All clients share the credentials, so that they are fetched once.
        let builder = builder.with_credentials(Arc::clone(store.credentials()));
        let build = move |connector: Connector, retry| {
            builder.clone().with_http_connector(connector).with_retry(retry).build().map_err(cannot_build).map(Arc::new)
        };
        let once = build(connector.sending_once(), $connection.no_retry())?;
        let bucket = Bucket::new($provider, store.to_string(), store.clone(), once, Parts::Provider(store.clone()));
        let credentials = signs.then(|| $credentials(Arc::clone(store.credentials())));
        let retry_budget = Some(connector.retry_budget());
        (Bucket { pages: Some(store.clone()), requests, credentials, retry_budget, ..bucket }, build, connector, store)
    }};
}

/// Returns whether `value` switches an option of the client library on.
fn is_on(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "1" | "true" | "on" | "yes" | "y")
}

impl Bucket {
    /// Makes the bucket that `builder` describes, at S3 or a compatible server.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` if the description does not suffice, `FailedPrecondition` if no client can be set up.
    #[cfg(feature = "aws")]
    pub fn s3(builder: AmazonS3Builder, connection: &Connection) -> Result<Self> {
        let builder = builder.with_conditional_put(S3ConditionalPut::ETagMatch).with_disable_bulk_delete(true);
        let (mut bucket, build, connector, _) =
            bucket!(Provider::S3, Credentials::Aws, builder, connection, AmazonS3ConfigKey::SkipSignature);
        let conditional = build(connector.completing_conditionally(), connection.retry())?;
        bucket.conditional_parts = Some(Parts::Provider(conditional));
        Ok(bucket)
    }

    /// Makes the bucket of Google Cloud Storage that `builder` describes.
    ///
    /// # Errors
    ///
    /// As those of [`s3`](Self::s3).
    #[cfg(feature = "gcp")]
    pub fn gcs(builder: GoogleCloudStorageBuilder, connection: &Connection) -> Result<Self> {
        let (bucket, ..) =
            bucket!(Provider::Gcs, Credentials::Gcp, builder, connection, GoogleConfigKey::SkipSignature);
        Ok(bucket)
    }

    /// Makes the bucket of Azure Blob Storage that `builder` describes: a container, in Azure's words.
    ///
    /// # Errors
    ///
    /// As those of [`s3`](Self::s3).
    #[cfg(feature = "azure")]
    pub fn azure(builder: MicrosoftAzureBuilder, connection: &Connection) -> Result<Self> {
        let (mut bucket, build, connector, store) =
            bucket!(Provider::Azure, Credentials::Azure, builder, connection, AzureConfigKey::SkipSignature);
        let connector = connector.completing_with_tokens(Arc::clone(store.credentials()));
        bucket.parts = Parts::Provider(build(connector.clone(), connection.retry())?);
        bucket.conditional_parts =
            Some(Parts::Provider(build(connector.completing_conditionally(), connection.retry())?));
        Ok(bucket)
    }
}
