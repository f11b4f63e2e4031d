//! Identifies callers in the first way that succeeds.

use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{Error, ErrorKind, Result};

use super::{Authenticator, Identity, RequestParts};

/// An [`Authenticator`] that asks several others, in their order, until one knows the caller.
///
/// If none does, the error has the reasons of all of them. An error other than `Unauthenticated` is preferred, since the
/// caller may be known once its cause is gone.
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
///
/// use blobaccess::Caller;
/// use blobaccess_grpc::{AnyOf, BearerTokens, CertificateName, ClientCertificates};
///
/// let people = BearerTokens::new().with_token("CyzAVbDPUQzKXV8rVLYJZg", Caller::new("alice"));
/// let machines = ClientCertificates::new(CertificateName::CommonName);
/// let authenticator = AnyOf::new(vec![Arc::new(people), Arc::new(machines)]);
/// ```
#[derive(Clone, Debug, Default)]
pub struct AnyOf {
    authenticators: Vec<Arc<dyn Authenticator>>,
}

impl AnyOf {
    /// Asks `authenticators` one after the other. Without any, all requests are refused.
    #[must_use]
    pub const fn new(authenticators: Vec<Arc<dyn Authenticator>>) -> Self {
        Self { authenticators }
    }
}

#[async_trait]
impl Authenticator for AnyOf {
    async fn authenticate(&self, request: &RequestParts<'_>) -> Result<Identity> {
        let (mut reasons, mut unable) = (Vec::new(), None);
        for authenticator in &self.authenticators {
            match authenticator.authenticate(request).await {
                Ok(identity) => return Ok(identity),
                Err(error) if error.kind() == ErrorKind::Unauthenticated => {
                    let reason = error.message().to_owned();
                    if !reasons.contains(&reason) {
                        reasons.push(reason);
                    }
                }
                Err(error) => unable = unable.or(Some(error)),
            }
        }
        let none = if reasons.is_empty() { "no authenticator is configured".to_owned() } else { reasons.join(", ") };
        Err(unable.unwrap_or_else(|| Error::new(ErrorKind::Unauthenticated, none)))
    }
}
