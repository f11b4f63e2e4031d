//! A store that fails at random.

use std::fmt::{self, Display, Formatter};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use blobaccess::{
    Blob, BlobAccess, Capabilities, Context, Digest, DigestSet, Error, InstanceName, KeyFormat, PutCertainty,
    PutOutcome, Result, Slicer,
};

use crate::Numbers;

/// A store that passes calls on to `inner` and fails some of them, drawn at random, with `Unavailable`.
///
/// A call fails in one of two ways. It is lost before it reaches `inner`: then a put certainly stored nothing. Or its
/// answer is lost: then a put may have stored its blob. `find_missing` of no digests does not fail.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use blobaccess::{BlobAccess, Cas, Context, ErrorKind, MemoryStore};
/// use blobaccess_testkit::fakes::UnreliableStore;
/// use blobaccess_testkit::{Numbers, digest_of};
///
/// // Every second call fails.
/// let store = UnreliableStore::new(MemoryStore::<Cas>::new(1 << 20), Numbers::new(7), 50);
/// let mut kinds = Vec::new();
/// for _ in 0..100 {
///     kinds.push(store.get(&Context::background(), &digest_of("absent")).await.unwrap_err().kind());
/// }
/// assert!(kinds.contains(&ErrorKind::Unavailable) && kinds.contains(&ErrorKind::NotFound));
/// # }
/// ```
#[derive(Debug)]
pub struct UnreliableStore<B> {
    inner: B,
    numbers: Mutex<Numbers>,
    failures_per_hundred: usize,
}

/// The fate of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Succeeds,
    CallIsLost,
    AnswerIsLost,
}

impl<B> UnreliableStore<B> {
    /// Makes a store that fails `failures_per_hundred` of 100 calls of `inner`, as `numbers` decide.
    pub fn new(inner: B, numbers: Numbers, failures_per_hundred: usize) -> Self {
        Self { inner, numbers: Mutex::new(numbers), failures_per_hundred }
    }

    /// Returns the store that calls are passed on to, which does not fail.
    pub const fn inner(&self) -> &B {
        &self.inner
    }

    fn draw(&self) -> Fate {
        // Each use of the lock is a few additions.
        let mut numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        if numbers.below(100) >= self.failures_per_hundred {
            Fate::Succeeds
        } else if numbers.below(2) == 0 {
            Fate::CallIsLost
        } else {
            Fate::AnswerIsLost
        }
    }

    async fn pass<T>(&self, call: impl Future<Output = Result<T>> + Send) -> Result<T>
    where
        B: Sync,
    {
        let fate = self.draw();
        if fate == Fate::CallIsLost {
            let error = Error::unavailable("the call was lost, at random");
            return Err(error.with_put_certainty(PutCertainty::NotStored));
        }
        let result = call.await;
        if fate == Fate::AnswerIsLost {
            return Err(Error::unavailable("the answer was lost, at random"));
        }
        result
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<B: BlobAccess> BlobAccess for UnreliableStore<B> {
    type Kind = B::Kind;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        self.pass(self.inner.get(ctx, digest)).await
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        self.pass(self.inner.get_from_composite(ctx, parent, child, slicer)).await
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        self.pass(self.inner.put(ctx, digest, blob)).await
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        if digests.is_empty() {
            return self.inner.find_missing(ctx, digests).await;
        }
        self.pass(self.inner.find_missing(ctx, digests)).await
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        self.pass(self.inner.capabilities(ctx, instance_name)).await
    }

    fn key_format(&self) -> KeyFormat {
        self.inner.key_format()
    }

    fn finds_in_bulk(&self) -> bool {
        self.inner.finds_in_bulk()
    }
}

impl<B: Display> Display for UnreliableStore<B> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "unreliable({})", self.inner)
    }
}
