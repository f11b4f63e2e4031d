//! A store that counts and keeps the calls that it passes on.

use std::fmt::{self, Display, Formatter};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use blobaccess::{
    Blob, BlobAccess, Capabilities, Context, Digest, DigestSet, InstanceName, KeyFormat, Operation, PutOutcome, Result,
    Slicer,
};

/// A store that passes calls on to `inner`, counts them, and keeps what each was about.
///
/// Behind an [`Arc`], one clone goes beneath the layer under test and another is asked for its
/// [`counts`](Self::counts) and [`calls`](Self::calls).
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use blobaccess::{BlobAccess, Cas, Context, MemoryStore, Operation};
/// use blobaccess_testkit::{digest_of, fakes::CountingStore};
///
/// let store = CountingStore::new(MemoryStore::<Cas>::new(1 << 20));
/// assert!(store.get(&Context::background(), &digest_of("hello")).await.is_err());
/// assert_eq!(store.counts().gets, 1);
/// assert_eq!(store.digests_of_each(Operation::Get), [[digest_of("hello")]]);
/// # }
/// ```
#[derive(Debug)]
pub struct CountingStore<B> {
    inner: B,
    log: Mutex<Log>,
}

#[derive(Debug, Default)]
struct Log {
    counts: Counts,
    calls: Vec<CountedCall>,
}

/// A call that a [`CountingStore`] passed on, kept for as long as the store.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CountedCall {
    /// The method that was called.
    pub operation: Operation,
    /// The digests that the call was about: of a part of a composite, the composite's and the part's.
    pub digests: Vec<Digest>,
    /// The context that the call came with.
    pub context: Context,
}

/// The numbers of calls, digests and bytes that a [`CountingStore`] passed on. Calls that failed count too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// The number of calls of `get`.
    pub gets: u64,
    /// The number of calls of `get_from_composite`.
    pub gets_from_composite: u64,
    /// The number of calls of `put`.
    pub puts: u64,
    /// The number of calls of `find_missing`.
    pub finds: u64,
    /// The number of calls of `capabilities`.
    pub capabilities: u64,
    /// The number of digests in all calls of `find_missing`.
    pub digests_asked: u64,
    /// The total size of the blobs that were returned, in bytes, whether or not they were read.
    pub bytes_got: u64,
    /// The total size of the blobs that were put, in bytes, whether or not they were read.
    pub bytes_put: u64,
}

impl Counts {
    /// Returns the number of calls of any method.
    #[must_use]
    pub const fn calls(&self) -> u64 {
        self.gets + self.gets_from_composite + self.puts + self.finds + self.capabilities
    }
}

impl<B> CountingStore<B> {
    /// Makes a store that passes calls on to `inner`.
    pub fn new(inner: B) -> Self {
        Self { inner, log: Mutex::default() }
    }

    /// Returns the counts so far.
    pub fn counts(&self) -> Counts {
        self.lock().counts
    }

    /// Returns the calls so far, in the order in which they came.
    pub fn calls(&self) -> Vec<CountedCall> {
        self.lock().calls.clone()
    }

    /// Returns how often `operation` was called.
    pub fn count_of(&self, operation: Operation) -> usize {
        self.lock().calls.iter().filter(|call| call.operation == operation).count()
    }

    /// Returns the digests of each call of `operation`.
    pub fn digests_of_each(&self, operation: Operation) -> Vec<Vec<Digest>> {
        let log = self.lock();
        log.calls.iter().filter(|call| call.operation == operation).map(|call| call.digests.clone()).collect()
    }

    /// Returns the store that calls are passed on to. Calls of that store are not counted.
    pub const fn inner(&self) -> &B {
        &self.inner
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        // Each use of the lock is a few additions and at most one push.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count_bytes_got(&self, blob: &Blob) {
        self.lock().counts.bytes_got += blob.size_bytes();
    }

    fn begin(&self, context: &Context, operation: Operation, digests: Vec<Digest>) {
        let mut log = self.lock();
        let counts = &mut log.counts;
        match operation {
            Operation::Get => counts.gets += 1,
            Operation::GetFromComposite => counts.gets_from_composite += 1,
            Operation::Put => counts.puts += 1,
            Operation::FindMissing => {
                counts.finds += 1;
                counts.digests_asked += u64::try_from(digests.len()).unwrap_or(u64::MAX);
            }
            Operation::GetCapabilities => counts.capabilities += 1,
        }
        log.calls.push(CountedCall { operation, digests, context: context.clone() });
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<B: BlobAccess> BlobAccess for CountingStore<B> {
    type Kind = B::Kind;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        self.begin(ctx, Operation::Get, vec![digest.clone()]);
        let blob = self.inner.get(ctx, digest).await?;
        self.count_bytes_got(&blob);
        Ok(blob)
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        self.begin(ctx, Operation::GetFromComposite, vec![parent.clone(), child.clone()]);
        let blob = self.inner.get_from_composite(ctx, parent, child, slicer).await?;
        self.count_bytes_got(&blob);
        Ok(blob)
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        self.begin(ctx, Operation::Put, vec![digest.clone()]);
        self.lock().counts.bytes_put += blob.size_bytes();
        self.inner.put(ctx, digest, blob).await
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        self.begin(ctx, Operation::FindMissing, digests.as_slice().to_vec());
        self.inner.find_missing(ctx, digests).await
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        self.begin(ctx, Operation::GetCapabilities, Vec::new());
        self.inner.capabilities(ctx, instance_name).await
    }

    fn key_format(&self) -> KeyFormat {
        self.inner.key_format()
    }

    fn finds_in_bulk(&self) -> bool {
        self.inner.finds_in_bulk()
    }
}

impl<B: Display> Display for CountingStore<B> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "counting({})", self.inner)
    }
}
