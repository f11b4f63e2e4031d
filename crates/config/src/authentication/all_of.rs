//! A policy that takes all of several others to agree.

use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::Result;
use blobaccess_grpc::{Authenticator, Identity, RequestParts};

use super::AuthenticationMetadata;

/// A policy that serves requests that all of several others let in. Their metadata is merged, first to last.
///
/// Without any others, all requests are served.
#[derive(Debug)]
pub(super) struct AllOf {
    authenticators: Vec<Arc<dyn Authenticator>>,
}

impl AllOf {
    /// Asks `authenticators` one after the other.
    pub(super) fn new(authenticators: Vec<Arc<dyn Authenticator>>) -> Self {
        Self { authenticators }
    }
}

#[async_trait]
impl Authenticator for AllOf {
    async fn authenticate(&self, request: &RequestParts<'_>) -> Result<Identity> {
        let mut merged = AuthenticationMetadata::default();
        for authenticator in &self.authenticators {
            let identity = authenticator.authenticate(request).await?;
            if let Some(metadata) = AuthenticationMetadata::in_identity(&identity) {
                merged.merge(metadata);
            }
        }
        Ok(merged.into_identity())
    }
}
