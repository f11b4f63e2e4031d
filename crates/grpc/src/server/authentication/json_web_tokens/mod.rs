//! Identifies callers by signed tokens (JWT).

mod accepted_tokens;
mod compact_token;
mod json_web_keys;
#[cfg(test)]
mod tests;

use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use async_trait::async_trait;
use blobaccess::{Caller, Claims, Clock, Error, ErrorKind, Result, SystemClock};
use ring::digest::{SHA256, digest};
use serde_json::{Map, Value};

use self::accepted_tokens::{AcceptedToken, AcceptedTokens};
use self::compact_token::CompactToken;
pub use self::json_web_keys::JsonWebKeys;
use super::{Authenticator, Identity, RequestParts};

/// The maximum length of a token.
const MAX_TOKEN_BYTES: usize = 16 << 10;

/// The maximum number of tokens of a request that are looked at.
const MAX_TOKENS: usize = 8;

/// The default of the number of tokens that are remembered.
const DEFAULT_REMEMBERED_TOKENS: usize = 1000;

/// Turns the claims of a token into an identity.
type Identify = Box<dyn Fn(&Map<String, Value>) -> Result<Identity> + Send + Sync>;

/// An [`Authenticator`] that knows callers by JSON Web Tokens (RFC 7519) that they send as
/// `authorization: Bearer TOKEN`.
///
/// A token must be signed by one of the [keys](JsonWebKeys), and be within its times (`exp`, `nbf`), to the second and
/// without leeway. A token without these times is good for ever. If a token names its key (`kid`), only that key is
/// tried. Tokens that name extensions which must be understood (`crit`), and those of more than 16 KiB, are refused.
///
/// By default, the name of the caller is that of the claim `sub`, and the identity's [`Claims`] are all claims of the
/// token, as a `serde_json::Map<String, serde_json::Value>`. [`with_identity`](Self::with_identity) decides otherwise.
///
/// # Memory
///
/// Tokens that were found good are remembered by their hashes, so that a signature is verified once. Each takes as much
/// as its identity does. The least recently used one is forgotten.
///
/// # Errors
///
/// `Unauthenticated` if no token is good.
///
/// # Examples
///
/// ```
/// use blobaccess::{Caller, Error, ErrorKind};
/// use blobaccess_grpc::{Identity, JsonWebKeys, JsonWebTokens, ServiceOptions, Services};
///
/// # fn main() -> blobaccess::Result<()> {
/// let keys = r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
/// let tokens = JsonWebTokens::new(JsonWebKeys::from_json(keys)?).with_identity(|claims| {
///     let refused = |reason| Error::new(ErrorKind::Unauthenticated, reason);
///     if claims.get("aud").is_none_or(|audience| audience != "cache") {
///         return Err(refused("token is for another audience"));
///     }
///     let email = claims.get("email").and_then(|email| email.as_str());
///     Ok(Identity::new(Caller::new(email.ok_or_else(|| refused("token has no email"))?)))
/// });
/// let services = Services::new(ServiceOptions::default()).with_authenticator(tokens);
/// # Ok(())
/// # }
/// ```
pub struct JsonWebTokens {
    keys: RwLock<Arc<JsonWebKeys>>,
    identify: Identify,
    accepted: AcceptedTokens,
    clock: Arc<dyn Clock>,
}

/// The state of a [`JsonWebTokens`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct JsonWebTokensSnapshot {
    /// The number of keys.
    pub keys: usize,
    /// The number of tokens that are remembered as good.
    pub remembered_tokens: usize,
    /// The maximum of that.
    pub max_remembered_tokens: usize,
}

impl JsonWebTokens {
    /// Makes an authenticator that takes tokens signed by one of `keys`.
    #[must_use]
    pub fn new(keys: JsonWebKeys) -> Self {
        Self {
            keys: RwLock::new(Arc::new(keys)),
            identify: Box::new(identify_subject),
            accepted: AcceptedTokens::new(DEFAULT_REMEMBERED_TOKENS),
            clock: Arc::new(SystemClock),
        }
    }

    /// Sets how the claims of a token, whose signature is right, become an identity. An error refuses the token.
    ///
    /// The answer is remembered with the token. So it must not depend on anything else that changes.
    #[must_use]
    pub fn with_identity<F>(mut self, identify: F) -> Self
    where
        F: Fn(&Map<String, Value>) -> Result<Identity> + Send + Sync + 'static,
    {
        self.identify = Box::new(identify);
        self
    }

    /// Sets the number of tokens that are remembered. The default is 1,000; 0 remembers none.
    #[must_use]
    pub fn with_remembered_tokens(mut self, tokens: usize) -> Self {
        self.accepted = AcceptedTokens::new(tokens);
        self
    }

    /// Sets the clock that tells whether tokens have expired. The default is that of the system.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Takes tokens signed by one of `keys` from now on. Tokens that are remembered are forgotten.
    pub fn replace_keys(&self, keys: JsonWebKeys) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
        self.accepted.clear();
    }

    /// Returns the state now.
    #[must_use]
    pub fn snapshot(&self) -> JsonWebTokensSnapshot {
        JsonWebTokensSnapshot {
            keys: self.keys().len(),
            remembered_tokens: self.accepted.len(),
            max_remembered_tokens: self.accepted.capacity(),
        }
    }

    fn keys(&self) -> Arc<JsonWebKeys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn check(&self, token: &str, now: f64) -> Result<Identity> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(refused(format!("token is {} bytes; the maximum is {MAX_TOKEN_BYTES}", token.len())));
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        if let Some(accepted) = self.accepted.get(&hash) {
            return accepted.identity_at(now);
        }
        // In this order, so that keys which are replaced from here on have another generation.
        let generation = self.accepted.generation();
        let keys = self.keys();
        let token = CompactToken::parse(token).ok_or_else(|| refused("token is not a signed JWT"))?;
        let claims = token.verify(&keys).ok_or_else(|| refused("signature of the token is not that of a known key"))?;
        let accepted = AcceptedToken::new((self.identify)(&claims)?, &claims)?;
        let identity = accepted.identity_at(now);
        if identity.is_ok() {
            self.accepted.insert(hash, accepted, generation);
        }
        identity
    }
}

fn refused(reason: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::Unauthenticated, reason)
}

fn identify_subject(claims: &Map<String, Value>) -> Result<Identity> {
    let subject = claims.get("sub").and_then(Value::as_str).filter(|subject| !subject.is_empty());
    let subject = subject.ok_or_else(|| refused("token has no subject"))?;
    Ok(Identity::new(Caller::new(subject)).with_claims(Claims::new(claims.clone())))
}

#[async_trait]
impl Authenticator for JsonWebTokens {
    async fn authenticate(&self, request: &RequestParts<'_>) -> Result<Identity> {
        let since_epoch = self.clock.now().duration_since(SystemTime::UNIX_EPOCH);
        let now = since_epoch.map_or_else(|before| -before.duration().as_secs_f64(), |after| after.as_secs_f64());
        let mut error = None;
        for token in request.bearer_tokens().take(MAX_TOKENS) {
            match self.check(token, now) {
                Ok(identity) => return Ok(identity),
                Err(refusal) => error = error.or(Some(refusal)),
            }
        }
        Err(error.unwrap_or_else(|| refused("no bearer token was sent")))
    }
}

impl Debug for JsonWebTokens {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonWebTokens").field("state", &self.snapshot()).finish_non_exhaustive()
    }
}
