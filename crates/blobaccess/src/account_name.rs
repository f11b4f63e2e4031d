//! To whose account what is stored goes.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use crate::{Context, Digest};

/// The name of an account: a tenant, a project or a repository, whose stored bytes are added up on their own.
///
/// It is nothing but a label: it decides neither who may read a blob nor whether two blobs are the same one.
///
/// ```
/// use blobaccess::{Context, Digest, DigestFunction, InstanceName, AccountName};
///
/// let digest = Digest::of(InstanceName::new("acme/main")?, DigestFunction::Sha256, b"contents");
/// let ctx = Context::background();
/// assert_eq!(AccountName::of(&ctx, &digest).as_str(), "acme/main");
/// assert_eq!(AccountName::of(&ctx.with_account_name(AccountName::new("acme")), &digest).as_str(), "acme");
/// # Ok::<(), blobaccess::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountName(Arc<str>);

impl AccountName {
    /// The account of this name. Any text will do; an empty one is the account of those who name none.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// Whose account a call about `digest` goes to: the one that the context names, else the digest's instance name.
    #[must_use]
    pub fn of(ctx: &Context, digest: &Digest) -> Self {
        ctx.account_name().cloned().unwrap_or_else(|| Self::new(digest.instance_name().as_str()))
    }

    /// The name.
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
