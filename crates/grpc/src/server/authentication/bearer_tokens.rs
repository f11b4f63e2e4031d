//! Identifies callers by secret tokens.

use std::collections::HashMap;
use std::fmt::{self, Debug, Formatter};

use async_trait::async_trait;
use blobaccess::{Digest, DigestFunction, Error, ErrorKind, InstanceName, Result};

use super::{Authenticator, Identity, RequestParts};

/// An [`Authenticator`] that knows callers by the tokens that they send as `authorization: Bearer TOKEN`.
///
/// Bazel sends one with `--remote_header="authorization=Bearer TOKEN"`. A request with an unknown token is refused with
/// `Unauthenticated`; so is one without a token, unless [anonymous requests](Self::with_anonymous) are let in.
///
/// Only the SHA-256 hashes of tokens are kept, and tokens are looked up by these, so that the time of a look-up tells
/// nothing about a token. Tokens should be random: 16 bytes or more.
///
/// # Examples
///
/// ```
/// use blobaccess::{AccountName, Caller};
/// use blobaccess_grpc::{BearerTokens, Identity};
///
/// let tokens = BearerTokens::new()
///     .with_token("CyzAVbDPUQzKXV8rVLYJZg", Caller::new("ci"))
///     .with_token("JsXGv+yXn7ZQyEr2UAHl2g", Identity::new(Caller::new("alice")).with_account_name(AccountName::new("apps")));
/// ```
#[derive(Clone, Default)]
pub struct BearerTokens {
    /// The identities by the hashes of their tokens.
    identities: HashMap<Digest, Identity>,
    anonymous: bool,
}

impl BearerTokens {
    /// Makes an authenticator that knows no token yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves requests that send `token` under `identity`.
    #[must_use]
    pub fn with_token(mut self, token: &str, identity: impl Into<Identity>) -> Self {
        self.identities.insert(hash(token), identity.into());
        self
    }

    /// Serves requests that send no token as [anonymous](Identity::anonymous). An unknown token is still refused.
    #[must_use]
    pub const fn with_anonymous(mut self) -> Self {
        self.anonymous = true;
        self
    }
}

fn hash(token: &str) -> Digest {
    Digest::of(InstanceName::empty(), DigestFunction::Sha256, token.as_bytes())
}

#[async_trait]
impl Authenticator for BearerTokens {
    async fn authenticate(&self, request: &RequestParts<'_>) -> Result<Identity> {
        let refused = |reason| Error::new(ErrorKind::Unauthenticated, reason);
        match request.bearer_token() {
            Some(token) => self.identities.get(&hash(token)).cloned().ok_or_else(|| refused("bearer token is unknown")),
            // Credentials of another scheme are not the same as none.
            None if self.anonymous && request.metadata("authorization").is_none() => Ok(Identity::anonymous()),
            None => Err(refused("no bearer token was sent")),
        }
    }
}

impl Debug for BearerTokens {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerTokens")
            .field("tokens", &self.identities.len())
            .field("anonymous", &self.anonymous)
            .finish_non_exhaustive()
    }
}
