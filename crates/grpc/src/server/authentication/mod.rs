//! Turns requests into identities: the callers that authorizers see, and the accounts that puts go to.

mod any_of;
mod bearer_tokens;
#[cfg(feature = "tls")]
mod client_certificates;
#[cfg(feature = "tls")]
mod common_name;
#[cfg(feature = "jwt")]
mod json_web_tokens;
mod layer;
mod request_parts;

use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{AccountName, Caller, Claims, Result};

pub use self::any_of::AnyOf;
pub use self::bearer_tokens::BearerTokens;
#[cfg(feature = "tls")]
pub use self::client_certificates::{CertificateName, ClientCertificates};
#[cfg(feature = "jwt")]
pub use self::json_web_tokens::{JsonWebKeys, JsonWebTokens, JsonWebTokensSnapshot};
pub(crate) use self::layer::AuthenticationLayer;
#[cfg(unix)]
pub use self::request_parts::PeerUser;
pub use self::request_parts::RequestParts;

/// The identity that a request is served under: its caller, the caller's claims, and the account that its puts go to.
///
/// Stores find all of it in the [`Context`](blobaccess::Context) of each call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identity {
    /// The caller; `None` for an anonymous request.
    pub caller: Option<Caller>,
    /// The claims of the caller, for authorizers that need more than a name.
    pub claims: Option<Claims>,
    /// The account that puts go to; `None` for the account of the digest's instance name.
    pub account_name: Option<AccountName>,
}

impl Identity {
    /// Makes the identity of `caller`, whose puts go to the account of the digest's instance name.
    #[must_use]
    pub const fn new(caller: Caller) -> Self {
        Self { caller: Some(caller), claims: None, account_name: None }
    }

    /// Makes the identity of a request that names no caller.
    #[must_use]
    pub const fn anonymous() -> Self {
        Self { caller: None, claims: None, account_name: None }
    }

    /// Sets the claims of the caller.
    #[must_use]
    pub fn with_claims(mut self, claims: Claims) -> Self {
        self.claims = Some(claims);
        self
    }

    /// Sets the account that puts go to.
    #[must_use]
    pub fn with_account_name(mut self, account_name: AccountName) -> Self {
        self.account_name = Some(account_name);
        self
    }
}

impl From<Caller> for Identity {
    fn from(caller: Caller) -> Self {
        Self::new(caller)
    }
}

/// Identifies the callers of [`Services`](crate::Services).
///
/// Given to [`Services::with_authenticator`](crate::Services::with_authenticator), it sees each request to a storage
/// service before the service does. Health and reflection are answered without it. Its answer is the identity that the
/// request is served under; [`Authorizing`](blobaccess::decorators::Authorizing) stores decide what that identity may
/// do.
///
/// Ready-made: [`BearerTokens`], `ClientCertificates` (with the feature `tls`), `JsonWebTokens` (with the feature `jwt`),
/// [`AnyOf`] several, and [`authenticator_fn`] for a closure.
#[async_trait]
pub trait Authenticator: Debug + Send + Sync + 'static {
    /// Returns the identity that `request` is to be served under.
    ///
    /// A call that is waiting here ends at its deadline like any other.
    ///
    /// # Errors
    ///
    /// The client gets the error as it is. `Unauthenticated` is for requests without valid credentials, and
    /// `Unavailable` for requests whose credentials cannot be verified now.
    async fn authenticate(&self, request: &RequestParts<'_>) -> Result<Identity>;
}

#[async_trait]
impl<T: Authenticator + ?Sized> Authenticator for Arc<T> {
    async fn authenticate(&self, request: &RequestParts<'_>) -> Result<Identity> {
        (**self).authenticate(request).await
    }
}

/// Makes an [`Authenticator`] of a closure that decides at once.
///
/// # Examples
///
/// ```
/// use blobaccess::Caller;
/// use blobaccess_grpc::{Identity, ServiceOptions, Services, authenticator_fn};
///
/// // A proxy in front of this server has verified the user.
/// let authenticator = authenticator_fn(|request| {
///     let user = request.metadata("x-verified-user");
///     Ok(user.map_or_else(Identity::anonymous, |user| Identity::new(Caller::new(user))))
/// });
/// let services = Services::new(ServiceOptions::default()).with_authenticator(authenticator);
/// ```
pub fn authenticator_fn<F>(authenticate: F) -> impl Authenticator
where
    F: Fn(&RequestParts<'_>) -> Result<Identity> + Send + Sync + 'static,
{
    FnAuthenticator(authenticate)
}

struct FnAuthenticator<F>(F);

#[async_trait]
impl<F> Authenticator for FnAuthenticator<F>
where
    F: Fn(&RequestParts<'_>) -> Result<Identity> + Send + Sync + 'static,
{
    async fn authenticate(&self, request: &RequestParts<'_>) -> Result<Identity> {
        (self.0)(request)
    }
}

impl<F> Debug for FnAuthenticator<F> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("FnAuthenticator").finish_non_exhaustive()
    }
}
