//! Policies that give all requests the same answer.

use async_trait::async_trait;
use blobaccess::{Error, ErrorKind, Result};
use blobaccess_grpc::{Authenticator, Identity, RequestParts};

use super::AuthenticationMetadata;

/// A policy that serves all requests under the same identity.
#[derive(Debug)]
pub(super) struct AllowEverybody {
    identity: Identity,
}

impl AllowEverybody {
    /// Serves all requests under the identity that `metadata` tells of.
    pub(super) fn new(metadata: AuthenticationMetadata) -> Self {
        Self { identity: metadata.into_identity() }
    }
}

#[async_trait]
impl Authenticator for AllowEverybody {
    async fn authenticate(&self, _request: &RequestParts<'_>) -> Result<Identity> {
        Ok(self.identity.clone())
    }
}

/// A policy that refuses all requests, for a reason that clients are told.
#[derive(Debug)]
pub(super) struct DenyEverybody {
    reason: String,
}

impl DenyEverybody {
    /// Refuses all requests for this reason.
    pub(super) fn new(reason: &str) -> Self {
        Self { reason: reason.to_owned() }
    }
}

#[async_trait]
impl Authenticator for DenyEverybody {
    async fn authenticate(&self, _request: &RequestParts<'_>) -> Result<Identity> {
        Err(Error::new(ErrorKind::Unauthenticated, self.reason.clone()))
    }
}
