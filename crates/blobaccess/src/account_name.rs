//! The account that a stored blob is charged to.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use crate::{Context, Digest};

/// The name of an account, such as a tenant, a project or a repository, whose stored bytes are counted separately.
///
/// It is only a label. It decides neither who may read a blob nor whether two blobs are equal.
///
/// ```
/// use blobaccess::{Context, Digest, DigestFunction, InstanceName, AccountName};
///
/// let digest = Digest::of(InstanceName::new("acme/main")?, DigestFunction::Sha256, b"contents");
/// let ctx = Context::background();
/// assert_eq!(AccountName::for_call(&ctx, &digest).as_str(), "acme/main");
/// assert_eq!(AccountName::for_call(&ctx.with_account_name(AccountName::new("acme")), &digest).as_str(), "acme");
/// # Ok::<(), blobaccess::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountName(Arc<str>);

impl AccountName {
    /// Makes the name of an account. Any text is valid; the empty text names the account of callers that name none.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// Returns the account that a call about `digest` is charged to: that of the context, or else the digest's instance
    /// name.
    #[must_use]
    pub fn for_call(ctx: &Context, digest: &Digest) -> Self {
        ctx.account_name().cloned().unwrap_or_else(|| Self::new(digest.instance_name().as_str()))
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Display for AccountName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
