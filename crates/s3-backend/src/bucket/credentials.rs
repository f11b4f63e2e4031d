//! The credentials that requests to a provider are signed with.

use blobaccess::{Error, Result};
#[cfg(feature = "aws")]
use object_store::aws::AwsCredentialProvider;
#[cfg(feature = "azure")]
use object_store::azure::AzureCredentialProvider;
#[cfg(feature = "gcp")]
use object_store::gcp::GcpCredentialProvider;

use crate::error::excerpt;

/// The source of a provider's credentials.
#[derive(Clone, Debug)]
pub(super) enum Credentials {
    #[cfg(feature = "aws")]
    Aws(AwsCredentialProvider),
    #[cfg(feature = "gcp")]
    Gcp(GcpCredentialProvider),
    #[cfg(feature = "azure")]
    Azure(AzureCredentialProvider),
}

impl Credentials {
    /// Fails with `Unauthenticated` if there are no credentials, and says how to give some.
    pub(super) async fn check(&self, bucket: &str) -> Result<()> {
        let (result, variables) = match self {
            #[cfg(feature = "aws")]
            Self::Aws(provider) => {
                (provider.get_credential().await.map(drop), "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
            }
            #[cfg(feature = "gcp")]
            Self::Gcp(provider) => (provider.get_credential().await.map(drop), "GOOGLE_APPLICATION_CREDENTIALS"),
            #[cfg(feature = "azure")]
            Self::Azure(provider) => (provider.get_credential().await.map(drop), "AZURE_STORAGE_ACCOUNT_KEY"),
        };
        result.map_err(|error| {
            Error::unauthenticated(format!(
                "no credentials for {bucket}: set {variables}, or run where instance metadata is offered ({})",
                excerpt(&error)
            ))
            .with_source(error)
        })
    }
}
