//! Identifies callers by the users that their processes run as.

use async_trait::async_trait;
use blobaccess::{Error, ErrorKind, Result};
use blobaccess_grpc::{Authenticator, Identity, RequestParts};
use serde_json::json;

use super::AuthenticationMetadata;
use crate::jmespath::{Expression, node_of};

/// A policy that serves clients that are connected by a UNIX socket. An expression extracts metadata from `uid`, and
/// from `groups`, which has the group that the client's process runs as.
#[derive(Debug)]
pub(super) struct PeerAuthenticator {
    extraction: Expression,
}

impl PeerAuthenticator {
    /// Serves clients with the metadata that `extraction` extracts.
    pub(super) fn new(extraction: Expression) -> Self {
        Self { extraction }
    }
}

#[async_trait]
impl Authenticator for PeerAuthenticator {
    async fn authenticate(&self, request: &RequestParts<'_>) -> Result<Identity> {
        let refused = |reason| Error::new(ErrorKind::Unauthenticated, reason);
        let user = request.peer_user().ok_or_else(|| refused("the connection is not that of a UNIX socket"))?;
        let input = [("uid", node_of(&json!(user.uid))), ("groups", node_of(&json!([user.gid])))];
        let metadata = self.extraction.evaluate_to_json(input);
        let metadata = metadata.and_then(|metadata| AuthenticationMetadata::of_json(&metadata)).map_err(|error| {
            tracing::warn!(error, "no metadata can be extracted from the user of a client");
            refused("no metadata can be extracted from the user of the client")
        })?;
        Ok(metadata.into_identity())
    }
}
