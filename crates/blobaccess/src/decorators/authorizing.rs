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
    /// Whether the caller of `ctx` may: one answer for each of `instance_names`, in their order.
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

/// Who may do what: an [`Authorizer`] for each operation.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Authorizers {
    /// Of `get` and `get_from_composite`.
    pub get: Arc<dyn Authorizer>,
    /// Of `put`.
    pub put: Arc<dyn Authorizer>,
    /// Of `find_missing`.
    pub find_missing: Arc<dyn Authorizer>,
}

impl Authorizers {
    /// One for each operation.
    #[must_use]
    pub fn new(get: Arc<dyn Authorizer>, put: Arc<dyn Authorizer>, find_missing: Arc<dyn Authorizer>) -> Self {
        Self { get, put, find_missing }
    }

    /// The same for every operation.
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
/// What the store can do is told to everybody, but who may not put is told that there are no updates. A client can so
/// leave out uploads that would be refused one by one.
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
#[derive(Debug)]
pub struct Authorizing<B> {
    inner: B,
    authorizers: Authorizers,
}

impl<B> Authorizing<B> {
    /// Lets those pass to `inner` whom `authorizers` let.
    pub const fn new(inner: B, authorizers: Authorizers) -> Self {
        Self { inner, authorizers }
    }
}

/// Whether the caller may work in `instance_name`.
async fn authorize(authorizer: &dyn Authorizer, ctx: &Context, instance_name: &InstanceName) -> Result<()> {
    let answers = authorizer.authorize(ctx, slice::from_ref(instance_name)).await;
    let answer = answers.into_iter().next().unwrap_or_else(|| Err(no_answer(authorizer)));
    answer.map_err(|error| error.at("authorization").not_stored())
}

/// Whether the caller may work in all of `instance_names`.
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

/// Each instance name of `digests` once, in order.
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::decorators::fakes::{Beginning, Noting, digest_of, instance_name};
    use crate::{Caller, Cas, Operation, PutCertainty};

    static CTX: Context = Context::background();

    /// Lets the caller named as the instance name is pass, and notes what it is asked.
    #[derive(Debug, Default)]
    struct OwnName {
        asked: Mutex<Vec<Vec<InstanceName>>>,
        failure: Option<Error>,
        silent: bool,
    }

    #[async_trait]
    impl Authorizer for OwnName {
        async fn authorize(&self, ctx: &Context, instance_names: &[InstanceName]) -> Vec<Result<()>> {
            self.asked.lock().unwrap().push(instance_names.to_vec());
            if self.silent {
                return Vec::new();
            }
            let caller = ctx.caller().map_or("", Caller::name);
            let answer = |name: &InstanceName| match &self.failure {
                Some(error) => Err(error.clone()),
                None if name.as_str() == caller => Ok(()),
                None => Err(Error::permission_denied(format!("caller {caller:?} is not welcome"))),
            };
            instance_names.iter().map(answer).collect()
        }
    }

    type Inner = Arc<Noting<Cas>>;

    fn stack(get: bool, put: bool, find_missing: bool) -> (Inner, Authorizing<Inner>) {
        let [get, put, find_missing] = [get, put, find_missing].map(|allow| -> Arc<dyn Authorizer> {
            Arc::new(if allow { StaticAuthorizer::Allow } else { StaticAuthorizer::Deny })
        });
        let inner = Noting::new();
        (Arc::clone(&inner), Authorizing::new(inner, Authorizers::new(get, put, find_missing)))
    }

    fn with(authorizer: OwnName) -> (Inner, Arc<OwnName>, Authorizing<Inner>) {
        let (inner, authorizer) = (Noting::new(), Arc::new(authorizer));
        let authorizers = Authorizers::all(Arc::<OwnName>::clone(&authorizer));
        (Arc::clone(&inner), authorizer, Authorizing::new(inner, authorizers))
    }

    #[tokio::test]
    async fn who_may_reaches_the_inner_store() {
        let (inner, store) = stack(true, true, true);
        let digest = digest_of("hello");
        assert!(store.find_missing(&CTX, &digest.clone().into()).await.unwrap().contains(&digest));
        let outcome = store.put(&CTX, &digest, Blob::from_bytes("hello")).await.unwrap();
        assert_eq!(outcome, PutOutcome::Created { stored_bytes: 5 });
        assert_eq!(store.get(&CTX, &digest).await.unwrap().into_bytes(9).await.unwrap(), "hello");
        store.get_from_composite(&CTX, &digest, &digest_of("he"), Arc::new(Beginning)).await.unwrap();
        inner.fail_with(Error::unavailable("gone fishing"));
        assert_eq!(store.get(&CTX, &digest).await.unwrap_err().to_string(), "gone fishing");
    }

    #[tokio::test]
    async fn each_operation_has_its_own_authorizer_and_who_may_not_does_not_reach_the_inner_store() {
        let digest = digest_of("hello");
        let asked = DigestSet::from(digest.clone());
        for denied in 0..3 {
            let (inner, store) = stack(denied != 0, denied != 1, denied != 2);
            let hello = inner.hold_contents("hello").await;
            let results = [
                (0, store.get(&CTX, &hello).await.map(drop)),
                (0, store.get_from_composite(&CTX, &hello, &digest_of("he"), Arc::new(Beginning)).await.map(drop)),
                (1, store.put(&CTX, &digest, Blob::from_bytes("hello")).await.map(drop)),
                (2, store.find_missing(&CTX, &asked).await.map(drop)),
            ];
            let mut allowed = 0;
            for (group, result) in results {
                if group == denied {
                    let error = result.unwrap_err();
                    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
                    let place = if group == 2 { r#"authorization of instance name """# } else { "authorization" };
                    assert_eq!(error.to_string(), format!("{place}: permission denied"));
                } else {
                    result.unwrap();
                    allowed += 1;
                }
            }
            assert_eq!(inner.noted().len(), allowed);
        }
    }

    #[tokio::test]
    async fn a_part_is_authorized_by_its_composite() {
        let (inner, authorizer, store) = with(OwnName::default());
        let parent = inner.hold_contents("hello").await;
        let child = digest_of("he").with_instance_name(instance_name("elsewhere"));
        store.get_from_composite(&CTX, &parent, &child, Arc::new(Beginning)).await.unwrap();
        assert_eq!(*authorizer.asked.lock().unwrap(), [[InstanceName::empty()]]);
    }

    #[tokio::test]
    async fn all_instance_names_are_asked_about_at_once() {
        let (inner, authorizer, store) = with(OwnName::default());
        let ctx = CTX.clone().with_caller(Caller::new("b"));
        let digests: DigestSet = ["c", "b", "a", "b", "c"]
            .into_iter()
            .zip(["1", "2", "3", "4", "5"])
            .map(|(name, contents)| digest_of(contents).with_instance_name(instance_name(name)))
            .collect();
        let error = store.find_missing(&ctx, &digests).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert_eq!(error.to_string(), r#"authorization of instance name "a": caller "b" is not welcome"#);
        assert_eq!(*authorizer.asked.lock().unwrap(), [["a", "b", "c"].map(instance_name)]);
        assert!(inner.noted().is_empty());

        let own = digests.filter(|digest| digest.instance_name().as_str() == "b");
        assert_eq!(store.find_missing(&ctx, &own).await.unwrap(), own);
        assert_eq!(inner.count(Operation::FindMissing), 1);
        assert!(store.find_missing(&CTX, &DigestSet::new()).await.unwrap().is_empty());
        assert_eq!(authorizer.asked.lock().unwrap().len(), 2);
    }

    #[tokio::test]
    async fn a_refused_put_has_stored_nothing_whatever_it_is_refused_for() {
        let failure = Some(Error::unavailable("no directory"));
        let (inner, _, store) = with(OwnName { failure, ..OwnName::default() });
        let error = store.put(&CTX, &digest_of("hello"), Blob::from_bytes("hello")).await.unwrap_err();
        assert_eq!(error.to_string(), "authorization: no directory");
        assert_eq!(error.put_certainty(), PutCertainty::NotStored);
        assert_eq!(inner.memory.snapshot().blobs, 0);
    }

    #[tokio::test]
    async fn an_authorizer_that_says_nothing_lets_nobody_pass() {
        let (inner, _, store) = with(OwnName { silent: true, ..OwnName::default() });
        let digest = inner.hold_contents("hello").await;
        assert_eq!(store.get(&CTX, &digest).await.unwrap_err().kind(), ErrorKind::Internal);
        assert_eq!(store.find_missing(&CTX, &digest.into()).await.unwrap_err().kind(), ErrorKind::Internal);
        assert!(inner.noted().is_empty());
    }

    #[tokio::test]
    async fn who_may_not_put_is_told_of_no_updates() {
        let name = InstanceName::empty();
        let (inner, store) = stack(false, true, false);
        assert!(store.capabilities(&CTX, &name).await.unwrap().updates_allowed);
        assert_eq!(inner.count(Operation::GetCapabilities), 1);
        let (inner, store) = stack(true, false, true);
        let capabilities = store.capabilities(&CTX, &name).await.unwrap();
        let expected = inner.memory.capabilities(&CTX, &name).await.unwrap().with_updates_allowed(false);
        assert_eq!(capabilities, expected);
        inner.fail_with(Error::unavailable("gone fishing"));
        assert_eq!(store.capabilities(&CTX, &name).await.unwrap_err().to_string(), "gone fishing");
    }

    #[tokio::test]
    async fn if_it_cannot_be_told_who_may_put_neither_can_the_capabilities() {
        let failure = Some(Error::unavailable("no directory"));
        let (_, _, store) = with(OwnName { failure, ..OwnName::default() });
        let error = store.capabilities(&CTX, &InstanceName::empty()).await.unwrap_err();
        assert_eq!(error.to_string(), "authorization: no directory");
    }

    #[tokio::test]
    async fn a_store_without_updates_needs_no_authorizer_to_say_so() {
        let inner = Authorizing::new(Noting::<Cas>::new(), Authorizers::all(Arc::new(StaticAuthorizer::Deny)));
        let authorizer = Arc::new(OwnName::default());
        let store = Authorizing::new(inner, Authorizers::all(Arc::<OwnName>::clone(&authorizer)));
        assert!(!store.capabilities(&CTX, &InstanceName::empty()).await.unwrap().updates_allowed);
        assert!(authorizer.asked.lock().unwrap().is_empty());
        assert_eq!(store.to_string(), "authorizing(authorizing(noting))");
        assert_eq!(store.key_format(), KeyFormat::WithoutInstanceName);
    }
}
