//! Refuses what a caller may not do.

use std::collections::BTreeSet;
use std::fmt::{self, Debug, Display, Formatter};
use std::slice;
use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    Blob, BlobAccess, Capabilities, Context, Digest, DigestSet, Error, ErrorKind, InstanceName, KeyFormat, PutOutcome,
    Result, Slicer,
};

/// Tells whether a caller may work in instance names.
#[async_trait]
pub trait Authorizer: Debug + Send + Sync + 'static {
    /// Returns one answer for each of `instance_names`, in their order: whether the caller of `ctx` may use it.
    ///
    /// `PermissionDenied` is the error of a caller who may not. Any other says that it cannot be told, and does not
    /// let the caller pass either.
    async fn authorize(&self, ctx: &Context, instance_names: &[InstanceName]) -> Vec<Result<()>>;
}

/// An [`Authorizer`] that gives everybody the same answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StaticAuthorizer {
    /// Everybody may.
    Allow,
    /// Nobody may.
    Deny,
}

#[async_trait]
impl Authorizer for StaticAuthorizer {
    async fn authorize(&self, _ctx: &Context, instance_names: &[InstanceName]) -> Vec<Result<()>> {
        let answer = || match self {
            Self::Allow => Ok(()),
            Self::Deny => Err(Error::permission_denied("permission denied")),
        };
        instance_names.iter().map(|_| answer()).collect()
    }
}

/// The [`Authorizer`] of each operation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Authorizers {
    /// The authorizer of `get` and `get_from_composite`.
    pub get: Arc<dyn Authorizer>,
    /// The authorizer of `put`.
    pub put: Arc<dyn Authorizer>,
    /// The authorizer of `find_missing`.
    pub find_missing: Arc<dyn Authorizer>,
}

impl Authorizers {
    /// Makes a set of one authorizer for each operation.
    #[must_use]
    pub fn new(get: Arc<dyn Authorizer>, put: Arc<dyn Authorizer>, find_missing: Arc<dyn Authorizer>) -> Self {
        Self { get, put, find_missing }
    }

    /// Makes a set with the same authorizer for every operation.
    #[must_use]
    pub fn all(authorizer: Arc<dyn Authorizer>) -> Self {
        Self { get: Arc::clone(&authorizer), put: Arc::clone(&authorizer), find_missing: authorizer }
    }
}

/// A [`BlobAccess`] that asks an [`Authorizer`] before each call whether the caller may work in the instance name.
///
/// A part of a composite is authorized by the instance name of the composite. A question about several instance names
/// is one question to the authorizer, and is refused if one of them is.
///
/// Capabilities are not restricted, but callers that may not put see updates disabled. So clients can skip uploads that
/// would be refused one by one.
///
/// # Order
///
/// Outermost. Everything inside may then remember answers without regard to who asked.
///
/// # Cancel safety
///
/// Nothing is asked of the inner store before the authorizer has answered.
///
/// # Errors
///
/// Those of the authorizer, from `authorization`, or of several instance names from
/// `authorization of instance name "x"`. A put that it refuses has stored nothing.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use std::sync::Arc;
///
/// use blobaccess::decorators::{Authorizers, Authorizing, StaticAuthorizer};
/// use blobaccess::{BlobAccessExt, Cas, Context, Digest, DigestFunction, ErrorKind, InstanceName, MemoryStore};
///
/// let (allow, deny) = (Arc::new(StaticAuthorizer::Allow), Arc::new(StaticAuthorizer::Deny));
/// let read_only = Authorizers::new(allow.clone(), deny, allow);
/// let store = Authorizing::new(MemoryStore::<Cas>::new(1 << 20), read_only);
///
/// let (ctx, digest) = (Context::background(), Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello"));
/// assert!(!store.contains(&ctx, &digest).await?);
/// let refused = store.put_bytes(&ctx, &digest, "hello").await;
/// assert!(refused.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Authorizing<B> {
    inner: B,
    authorizers: Authorizers,
}

impl<B: BlobAccess> Authorizing<B> {
    /// Forwards to `inner` the calls that `authorizers` allow.
    pub const fn new(inner: B, authorizers: Authorizers) -> Self {
        Self { inner, authorizers }
    }

    /// Returns the inner store.
    pub const fn inner(&self) -> &B {
        &self.inner
    }

    /// Returns the inner store.
    pub fn into_inner(self) -> B {
        self.inner
    }
}

/// Checks that the caller may work in `instance_name`.
async fn authorize(authorizer: &dyn Authorizer, ctx: &Context, instance_name: &InstanceName) -> Result<()> {
    let answers = authorizer.authorize(ctx, slice::from_ref(instance_name)).await;
    let answer = answers.into_iter().next().unwrap_or_else(|| Err(no_answer(authorizer)));
    answer.map_err(|error| error.at("authorization").not_stored())
}

/// Checks that the caller may work in all of `instance_names`.
async fn authorize_all(authorizer: &dyn Authorizer, ctx: &Context, instance_names: &[InstanceName]) -> Result<()> {
    let mut answers = authorizer.authorize(ctx, instance_names).await.into_iter();
    instance_names.iter().try_for_each(|name| {
        let answer = answers.next().unwrap_or_else(|| Err(no_answer(authorizer)));
        answer.map_err(|error| error.at(format!("authorization of instance name {:?}", name.as_str())))
    })
}

#[cold]
fn no_answer(authorizer: &dyn Authorizer) -> Error {
    Error::internal(format!("{authorizer:?} gave fewer answers than it was asked for"))
}

/// Returns each instance name of `digests` once, in order.
fn instance_names(digests: &DigestSet) -> Vec<InstanceName> {
    let mut names = BTreeSet::new();
    let mut last = None;
    for digest in digests {
        // Mostly there is one name, and then nothing is to be looked up.
        let name = digest.instance_name();
        if last != Some(name) {
            names.insert(name);
            last = Some(name);
        }
    }
    names.into_iter().cloned().collect()
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<B: BlobAccess> BlobAccess for Authorizing<B> {
    type Kind = B::Kind;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        authorize(&*self.authorizers.get, ctx, digest.instance_name()).await?;
        self.inner.get(ctx, digest).await
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        authorize(&*self.authorizers.get, ctx, parent.instance_name()).await?;
        self.inner.get_from_composite(ctx, parent, child, slicer).await
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        authorize(&*self.authorizers.put, ctx, digest.instance_name()).await?;
        self.inner.put(ctx, digest, blob).await
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        if digests.is_empty() {
            return Ok(DigestSet::new());
        }
        let names = instance_names(digests);
        authorize_all(&*self.authorizers.find_missing, ctx, &names).await?;
        self.inner.find_missing(ctx, digests).await
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        let capabilities = self.inner.capabilities(ctx, instance_name).await?;
        if !capabilities.updates_allowed {
            return Ok(capabilities);
        }
        match authorize(&*self.authorizers.put, ctx, instance_name).await {
            Ok(()) => Ok(capabilities),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(capabilities.with_updates_allowed(false)),
            Err(error) => Err(error),
        }
    }

    fn key_format(&self) -> KeyFormat {
        self.inner.key_format()
    }

    fn finds_in_bulk(&self) -> bool {
        self.inner.finds_in_bulk()
    }
}

impl<B: Display> Display for Authorizing<B> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "authorizing({})", self.inner)
    }
}
