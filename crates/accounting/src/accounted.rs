//! A layer that counts every put, in front of any store.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use async_trait::async_trait;
use blobaccess::{
    Blob, BlobAccess, Capabilities, Context, Digest, DigestSet, InstanceName, KeyFormat, Kind, PutOutcome, Result,
    Slicer,
};

use crate::Accounts;

/// A [`BlobAccess`] that counts the outcome of every put, exactly one for each.
///
/// Each put gets a token of its own, so that the store can be asked about the put after its answer was lost. All other
/// calls are forwarded.
///
/// A token in the context is that of a peer: it decides what the peer is answered, and nothing that is counted. A peer
/// that repeats a put after a lost answer is told `Created` once more, as the lost answer did, while the repeated put is
/// counted as one that found the blob.
///
/// # Order
///
/// Directly above a backend, as the outcomes counted are those of the inner store. Not above a mirror, which stores
/// everything twice, but above each of its halves, with separate accounts. Inside an existence cache, whose answers cost
/// the store nothing.
///
/// # Memory
///
/// A put allocates no more than the future of any layer does. The first put to an account also allocates its counters.
///
/// # Cancel safety
///
/// A put that is dropped has its outcome too: the store is asked about it if it can be, else it is an ambiguous error.
///
/// # Errors
///
/// Errors of the inner store are returned unchanged. `ResourceExhausted` for a put that could pass the quota of its
/// account; the inner store is not called then.
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
/// assert_eq!((tally.get(Class::Created).objects, tally.get(Class::AlreadyExists).objects), (1, 2));
/// assert_eq!(tally.net_bytes(), 5);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Accounted<B> {
    inner: B,
    accounts: Arc<Accounts>,
}

impl<B: BlobAccess> Accounted<B> {
    /// Counts the puts to `inner` in `accounts`.
    pub const fn new(inner: B, accounts: Arc<Accounts>) -> Self {
        Self { inner, accounts }
    }

    /// Returns the store in which puts are counted.
    pub const fn inner(&self) -> &B {
        &self.inner
    }

    /// Returns the store in which puts are counted, and stops counting.
    pub fn into_inner(self) -> B {
        self.inner
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
        let counted = ticket.send(ctx);
        match self.inner.put(&counted, digest, blob).await {
            Ok(outcome) => {
                ticket.finish(outcome.into());
                match ctx.upload_token() {
                    None => Ok(outcome),
                    Some(peer) => Ok(self.accounts.answer(ctx, B::Kind::STORAGE_TYPE, digest, *peer, outcome).await),
                }
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
