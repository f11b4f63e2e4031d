//! Counts every put, in front of any store.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{
    Blob, BlobAccess, Capabilities, Context, Digest, DigestSet, InstanceName, KeyFormat, Kind, PutOutcome, Result,
    Slicer,
};

use crate::Accounts;

/// A [`BlobAccess`] of which every put ends in exactly one outcome, which is counted.
///
/// Each put is given a token, unless its context has one, so that it can be found out what became of it after its
/// answer was lost. Everything else passes by.
///
/// # Order
///
/// Directly above a backend: what is counted is what that has stored. Never above a mirror, which stores twice: above
/// each half of it, with accounts of its own for each. Inside of an existence cache, whose answers cost the store
/// nothing.
///
/// # Memory
///
/// No allocation but the one that any layer takes for its future. A account that is seen for the first time takes
/// those of its account.
///
/// # Cancel safety
///
/// A put that is dropped has its outcome: what the store says about it if that can be asked, else an ambiguous error.
///
/// # Errors
///
/// Those of the inner store come as they are. `ResourceExhausted` for a put that would lead beyond the quota of its
/// account; the store is not asked then.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, InstanceName, MemoryStore};
/// use blobaccess_accounting::{Accounted, Accounts, AccountsOptions, Class, Reporter};
///
/// let accounts = Accounts::open(AccountsOptions::new(Reporter::new("host-7")))?;
/// let store = Accounted::new(MemoryStore::<Cas>::new(1 << 20), accounts.clone());
/// let digest = Digest::of(InstanceName::new("acme")?, DigestFunction::Sha256, b"hello");
/// for _ in 0..3 {
///     store.put(&Context::background(), &digest, Blob::from_bytes("hello")).await?;
/// }
/// let (account, tally) = accounts.tallies().accounts.remove(0);
/// assert_eq!(account.to_string(), "cas of acme");
/// assert_eq!((tally.of(Class::Created).objects, tally.of(Class::AlreadyExists).objects), (1, 2));
/// assert_eq!(tally.net_bytes(), 5);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Accounted<B> {
    inner: B,
    accounts: Arc<Accounts>,
}

impl<B> Accounted<B> {
    /// Counts what is put to `inner` in `accounts`.
    pub const fn new(inner: B, accounts: Arc<Accounts>) -> Self {
        Self { inner, accounts }
    }

    #[cfg(test)]
    #[cfg(not(loom))]
    pub(crate) const fn inner_for_tests(&self) -> &B {
        &self.inner
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<B: BlobAccess> BlobAccess for Accounted<B> {
    type Kind = B::Kind;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        self.inner.get(ctx, digest).await
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        self.inner.get_from_composite(ctx, parent, child, slicer).await
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        let mut ticket = self.accounts.begin_borrowed(ctx, digest, B::Kind::STORAGE_TYPE, blob.size_bytes())?;
        let ctx = ticket.send(ctx);
        match self.inner.put(&ctx, digest, blob).await {
            Ok(outcome) => {
                ticket.finish(outcome.into());
                Ok(outcome)
            }
            Err(error) => {
                ticket.fail(&error);
                Err(error)
            }
        }
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        self.inner.find_missing(ctx, digests).await
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        self.inner.capabilities(ctx, instance_name).await
    }

    fn key_format(&self) -> KeyFormat {
        self.inner.key_format()
    }

    fn finds_in_bulk(&self) -> bool {
        self.inner.finds_in_bulk()
    }
}

impl<B: Display> Display for Accounted<B> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "accounted({})", self.inner)
    }
}
