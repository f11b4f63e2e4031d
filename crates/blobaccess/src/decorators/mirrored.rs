//! Keeps the same blobs in two stores.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures::future::join;

use crate::replication::Replicator;
use crate::{
    Blob, BlobAccess, Capabilities, Context, Digest, DigestSet, Error, ErrorHandler, InstanceName, KeyFormat, Kind,
    PutOutcome, ReadRequest, Result, Slicer, combine_puts,
};

/// The distance that the puts into the two halves may be apart, in bytes: 4 MiB. At 1 GB/s, one half may pause for 4 ms
/// without holding up the other.
const MAX_APART_BYTES: u64 = 4 << 20;

type Store<K> = Arc<dyn BlobAccess<Kind = K>>;

/// A [`BlobAccess`] that keeps the same blobs in two stores, so that reads go on when one of them fails.
///
/// * **get**: from the halves in turn. What one half lacks is read from the other and copied. If a half
///   [is at fault](Error::is_store_fault), from the start or midway, reading goes on from the other.
/// * **put**: into both at the same time; it succeeds if both do.
/// * **find missing**: a digest is missing if both halves lack it. What one half has is copied into the other before the
///   answer.
///
/// # Order
///
/// Around a deadline for each half, so that one that hangs is given up in time. Inside layers that cache existence.
///
/// # Weakens
///
/// * While one half is down, nothing can be put and no query is answered.
/// * Of puts at the same time, exactly one is `Created` in the first half, whose outcomes count.
/// * Of a mutable kind, puts of one entry at the same time may leave different values in the two halves.
///
/// # Memory
///
/// Up to 4 MiB for each put, and that of the replicators.
///
/// # Cancel safety
///
/// A dropped put may have stored the blob in one half. The next query about it or read of it repairs the other.
///
/// # Errors
///
/// Those of the two halves, with the places `a` and `b`. The certainty of a failed put is that of
/// [`combine_puts`].
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use std::sync::Arc;
///
/// use blobaccess::decorators::Mirrored;
/// use blobaccess::replication::LocalReplicator;
/// use blobaccess::{BlobAccessExt, Cas, Context, Digest, DigestFunction, InstanceName, MemoryStore};
///
/// let (a, b) = (Arc::new(MemoryStore::<Cas>::new(1 << 20)), Arc::new(MemoryStore::<Cas>::new(1 << 20)));
/// let a_to_b = Arc::new(LocalReplicator::new(Arc::clone(&a), Arc::clone(&b)));
/// let b_to_a = Arc::new(LocalReplicator::new(Arc::clone(&b), Arc::clone(&a)));
/// let store = Mirrored::new(a.clone(), b.clone(), a_to_b, b_to_a);
///
/// let (ctx, digest) = (Context::background(), Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello"));
/// store.put_bytes(&ctx, &digest, "hello").await?;
/// assert!(a.contains(&ctx, &digest).await? && b.contains(&ctx, &digest).await?);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Mirrored<K: Kind> {
    a: Store<K>,
    b: Store<K>,
    a_to_b: Arc<dyn Replicator<Kind = K>>,
    b_to_a: Arc<dyn Replicator<Kind = K>>,
    /// Whether the next read begins with `b`.
    begins_with_b: AtomicBool,
}

/// One half, and the name of its place in errors.
struct Half<K: Kind> {
    name: &'static str,
    store: Store<K>,
}

impl<K: Kind> Mirrored<K> {
    /// Makes a mirror of `a` and `b`, with a replicator for each direction.
    ///
    /// The halves are shared with blobs that are being read, which may have to go on from the other half.
    pub fn new(
        a: Arc<dyn BlobAccess<Kind = K>>,
        b: Arc<dyn BlobAccess<Kind = K>>,
        a_to_b: Arc<dyn Replicator<Kind = K>>,
        b_to_a: Arc<dyn Replicator<Kind = K>>,
    ) -> Self {
        Self { a, b, a_to_b, b_to_a, begins_with_b: AtomicBool::new(false) }
    }

    /// Returns the two halves.
    #[must_use]
    pub fn halves(&self) -> [&Arc<dyn BlobAccess<Kind = K>>; 2] {
        [&self.a, &self.b]
    }

    async fn read(&self, ctx: &Context, request: ReadRequest) -> Result<Blob> {
        let a = Half { name: "a", store: Arc::clone(&self.a) };
        let b = Half { name: "b", store: Arc::clone(&self.b) };
        let (first, other, to_first) = if self.begins_with_b.fetch_xor(true, Ordering::Relaxed) {
            (b, a, &self.a_to_b)
        } else {
            (a, b, &self.b_to_a)
        };
        match request.read_from(&first.store, ctx).await {
            Err(error) if error.is_blob_missing() => {
                let replicated = to_first.replicate(ctx, &request).await;
                replicated.map_err(|error| if error.is_not_found() { error } else { error.at(other.name) })
            }
            Err(error) => {
                GoOn { name: first.name, other: Some(other), ctx: ctx.clone(), request }.on_error(error).await
            }
            Ok(blob) => {
                Ok(blob.with_error_handler(GoOn { name: first.name, other: Some(other), ctx: ctx.clone(), request }))
            }
        }
    }
}

/// Goes on from the other half when a half is at fault.
struct GoOn<K: Kind> {
    /// The half that is read from.
    name: &'static str,
    /// The half to go on from, unless that has been done.
    other: Option<Half<K>>,
    ctx: Context,
    request: ReadRequest,
}

#[async_trait]
impl<K: Kind> ErrorHandler for GoOn<K> {
    async fn on_error(&mut self, error: Error) -> Result<Blob> {
        let at_fault = error.is_store_fault();
        let error = error.at(self.name);
        match self.other.take() {
            Some(other) if at_fault => {
                tracing::warn!(%error, other = other.name, "going on from the other half of a mirror");
                self.name = other.name;
                match self.request.read_from(&other.store, &self.ctx).await {
                    // Whether the half at fault has the blob is not known, so it cannot be called absent.
                    Err(absent) if absent.is_blob_missing() => Err(error),
                    result => result.map_err(|error| error.at(other.name)),
                }
            }
            _ => Err(error),
        }
    }
}

fn in_a(error: Error) -> Error {
    error.at("a")
}

fn in_b(error: Error) -> Error {
    error.at("b")
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<K: Kind> BlobAccess for Mirrored<K> {
    type Kind = K;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        self.read(ctx, ReadRequest::blob(digest)).await
    }

    async fn get_from_composite(
        &self,
        ctx: &Context,
        parent: &Digest,
        child: &Digest,
        slicer: Arc<dyn Slicer>,
    ) -> Result<Blob> {
        self.read(ctx, ReadRequest::part(parent, child, slicer)).await
    }

    async fn put(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<PutOutcome> {
        let (to_a, to_b) = blob.tee(MAX_APART_BYTES);
        let (from_a, from_b) = join(self.a.put(ctx, digest, to_a), self.b.put(ctx, digest, to_b)).await;
        combine_puts(from_a.map_err(in_a), from_b.map_err(in_b))
    }

    async fn find_missing(&self, ctx: &Context, digests: &DigestSet) -> Result<DigestSet> {
        if digests.is_empty() {
            return Ok(DigestSet::new());
        }
        if !self.finds_in_bulk() {
            return Err(Error::unimplemented("one half of the mirror does not find in bulk"));
        }
        let (from_a, from_b) = join(self.a.find_missing(ctx, digests), self.b.find_missing(ctx, digests)).await;
        let (only_from_a, missing, only_from_b) = from_a.map_err(in_a)?.split(&from_b.map_err(in_b)?);
        let (to_b, to_a) =
            join(self.a_to_b.replicate_all(ctx, &only_from_b), self.b_to_a.replicate_all(ctx, &only_from_a)).await;
        to_b.map_err(|error| error.into_inconsistency().at("replication from a to b"))?;
        to_a.map_err(|error| error.into_inconsistency().at("replication from b to a"))?;
        Ok(missing)
    }

    async fn capabilities(&self, ctx: &Context, instance_name: &InstanceName) -> Result<Capabilities> {
        let (a, b) = join(self.a.capabilities(ctx, instance_name), self.b.capabilities(ctx, instance_name)).await;
        Ok(a.map_err(in_a)?.intersection(&b.map_err(in_b)?))
    }

    fn key_format(&self) -> KeyFormat {
        self.a.key_format().combine(self.b.key_format())
    }

    fn finds_in_bulk(&self) -> bool {
        self.a.finds_in_bulk() && self.b.finds_in_bulk()
    }
}

impl<K: Kind> Display for Mirrored<K> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "mirrored({}, {})", self.a, self.b)
    }
}
