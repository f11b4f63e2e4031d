//! A replicator that copies in this process.

use std::fmt::{self, Display, Formatter};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use futures::channel::oneshot;
use futures::future::{Either, select};
use futures::{Stream, StreamExt, TryStreamExt, stream};

use super::active_copies::ActiveCopies;
use super::copy_counts::{CopyCounter, CopyCounts};
use super::{EntryLocks, Replicator};
use crate::{
    Blob, BlobAccess, Clock, Context, Digest, DigestKey, DigestSet, Error, Kind, ReadRequest, Result, SingleFlight,
    SystemClock,
};

/// The distance by which a copy may be behind its reader unless set, in bytes: 4 MiB. At 1 GB/s, the sink may pause for
/// 4 ms; over a network of 1 Gbit/s, for 34 ms.
const MAX_APART_BYTES: u64 = 4 << 20;

/// The largest message that is copied unless set, in bytes: 64 MiB, 16 times the common limit of a message on the wire.
const MAX_MESSAGE_BYTES: u64 = 64 << 20;

/// The time that a reader that has read all waits for its copy unless set. A sink on a disk or in the same network takes
/// milliseconds, a bucket up to a second.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// The number of blobs that one [`Replicator::replicate_all`] copies at the same time. With 10 ms for a get and a put,
/// 16 make 1,600 copies a second of small blobs, and two large ones fill most networks.
const COPIES_AT_ONCE: usize = 16;

/// A [`Replicator`] that copies in this process, between stores that it can call.
///
/// * **Contents** are copied while they are read, by their reader. The copy is expendable: it is given up rather than
///   hold the reader up, and its failure is logged and not returned. Once the source has ended, the copy has 2 s to end
///   too ([`with_max_wait`](Self::with_max_wait)). Of several readers of one blob at the same time, one makes the copy.
/// * **Messages** are read whole and put before they are returned, unless the sink has got a value meanwhile. That value
///   is newer, and is returned in place of the source's.
///
/// # Order
///
/// Innermost among replicators. A sink of messages is waited for, and so are both stores by
/// [`replicate_all`](Replicator::replicate_all): put a deadline around a store that may hang.
///
/// # Weakens
///
/// Of a compressed blob, the copy and its reader get the contents: the two halves share one decoding and one
/// verification. Were each half to take the compressed form where it can, two halves that cannot would decode and hash
/// twice, and SHA-256 alone takes 0.6 ms a MiB.
///
/// # Memory
///
/// Up to 4 MiB for each copy under way ([`with_max_apart_bytes`](Self::with_max_apart_bytes)). A message is held whole.
///
/// # Cancel safety
///
/// A reader that goes away abandons its copy, which hurts nobody: the next reader begins another. A dropped
/// [`replicate_all`](Replicator::replicate_all) leaves some of the blobs copied. A copy that another caller waits for
/// goes on.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use std::sync::Arc;
///
/// use blobaccess::replication::{LocalReplicator, Replicator};
/// use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, InstanceName, MemoryStore, ReadRequest};
///
/// let source = Arc::new(MemoryStore::<Cas>::new(1 << 20));
/// let sink = Arc::new(MemoryStore::<Cas>::new(1 << 20));
/// let replicator = LocalReplicator::new(Arc::clone(&source), Arc::clone(&sink));
///
/// let (ctx, digest) = (Context::background(), Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello"));
/// source.put(&ctx, &digest, Blob::from_bytes("hello")).await?;
/// let blob = replicator.replicate(&ctx, &ReadRequest::blob(&digest)).await?;
/// assert_eq!(blob.into_bytes(1024).await?, "hello");
/// assert_eq!(sink.get(&ctx, &digest).await?.into_bytes(1024).await?, "hello");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct LocalReplicator<A: ?Sized, B: ?Sized> {
    source: Arc<A>,
    sink: Arc<B>,
    max_apart_bytes: u64,
    max_message_bytes: u64,
    max_wait: Duration,
    clock: Arc<dyn Clock>,
    /// Copies that are made while a blob is read.
    copying: ActiveCopies,
    /// Copies that callers wait for.
    flights: SingleFlight<DigestKey, Result<()>>,
    locks: Arc<EntryLocks>,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    copies: CopyCounter,
    given_up: AtomicU64,
}

/// The copies of a [`LocalReplicator`] under way at one moment, and those made so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LocalReplicatorSnapshot {
    /// The number of blobs that are being copied while they are read.
    pub under_way_while_read: usize,
    /// The number of blobs that are being copied for callers that wait for the copy.
    pub under_way: usize,
    /// The copies made so far. A message for which the sink had a newer value counts as copied.
    pub copies: CopyCounts,
    /// The number of copies that were given up rather than hold a reader up, or because the reader went away.
    pub given_up: u64,
}

impl<A: BlobAccess + ?Sized, B: BlobAccess<Kind = A::Kind> + ?Sized> LocalReplicator<A, B> {
    /// Makes a replicator from `source` into `sink`.
    #[must_use]
    pub fn new(source: Arc<A>, sink: Arc<B>) -> Self {
        Self {
            source,
            sink,
            max_apart_bytes: MAX_APART_BYTES,
            max_message_bytes: MAX_MESSAGE_BYTES,
            max_wait: MAX_WAIT,
            clock: Arc::new(SystemClock),
            copying: ActiveCopies::default(),
            flights: SingleFlight::new(),
            locks: Arc::default(),
            counters: Arc::default(),
        }
    }

    /// Sets the number of bytes by which a copy may be behind its reader before it is given up: 4 MiB unless set.
    ///
    /// If it is too small, copies are given up whenever the sink pauses. Each copy under way may take this much memory.
    #[must_use]
    pub const fn with_max_apart_bytes(mut self, max_apart_bytes: u64) -> Self {
        self.max_apart_bytes = max_apart_bytes;
        self
    }

    /// Sets the size of the largest message that is copied, in bytes: 64 MiB unless set. Larger ones are passed on.
    #[must_use]
    pub const fn with_max_message_bytes(mut self, max_message_bytes: u64) -> Self {
        self.max_message_bytes = max_message_bytes;
        self
    }

    /// Sets the time that a copy may go on after the source has ended: 2 s unless set. The reader gets its last bytes
    /// when the copy has ended or this time has passed.
    ///
    /// If it is too short, copies into a sink that acknowledges slowly are given up. If it is too long, a sink that hangs
    /// holds each reader up for as long.
    #[must_use]
    pub const fn with_max_wait(mut self, max_wait: Duration) -> Self {
        self.max_wait = max_wait;
        self
    }

    /// Takes the time from `clock`.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Takes the locks of entries from `locks`, which a layer shares that puts messages into the sink itself.
    ///
    /// Then no copy replaces a newer value of that layer.
    #[must_use]
    pub fn with_entry_locks(mut self, locks: Arc<EntryLocks>) -> Self {
        self.locks = locks;
        self
    }

    /// Returns the store that is copied from.
    #[must_use]
    pub const fn source(&self) -> &Arc<A> {
        &self.source
    }

    /// Returns the store that is copied into.
    #[must_use]
    pub const fn sink(&self) -> &Arc<B> {
        &self.sink
    }

    /// Returns the number of copies under way and made.
    #[must_use]
    pub fn snapshot(&self) -> LocalReplicatorSnapshot {
        LocalReplicatorSnapshot {
            under_way_while_read: self.copying.len(),
            under_way: self.flights.len(),
            copies: self.counters.copies.counts(),
            given_up: self.counters.given_up.load(Ordering::Relaxed),
        }
    }

    /// Returns `blob`, which is copied into the sink while it is read.
    fn copied_while_read(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<Blob> {
        let Some(permit) = self.copying.begin(digest.cache_key(self.sink.key_format())) else { return Ok(blob) };
        // As a stream, of which both readers together read each byte once, even if the source has random access.
        let stream = blob.into_stream(..)?;
        let (blob, ended) = if let Some(bytes) = stream.at_hand() {
            (Blob::from_verified_bytes(digest, bytes.clone()), None)
        } else {
            let (sender, ended) = oneshot::channel::<()>();
            (Blob::from_verified_stream(digest, stream.chain(tell_end(sender))), Some(ended))
        };
        let (blob, copy) = blob.tee_expendable(self.max_apart_bytes);
        let (sink, ctx, digest) = (Arc::clone(&self.sink), ctx.clone(), digest.clone());
        let (clock, max_wait) = (Arc::clone(&self.clock), self.max_wait);
        let abandoned = Abandoned(Some(Arc::clone(&self.counters)));
        Ok(blob.with_task(async move {
            let is_late = pin!(async {
                if let Some(ended) = ended {
                    // The sender is dropped when the source has ended.
                    let _: std::result::Result<(), _> = ended.await;
                }
                match clock.monotonic().checked_add(max_wait) {
                    Some(deadline) => clock.sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            });
            match select(sink.put(&ctx, &digest, copy), is_late).await {
                Either::Left((Ok(_), _)) => abandoned.copied(&digest),
                Either::Left((Err(error), _)) => {
                    tracing::debug!(%error, %digest, %sink, "a blob was not copied");
                    abandoned.failed();
                }
                Either::Right(_) => {
                    tracing::debug!(?max_wait, %digest, %sink, "a copy was given up: it has not ended in time");
                    drop(abandoned);
                }
            }
            drop(permit);
            Ok(())
        }))
    }

    /// Copies a message, unless the sink has a value by now, which is newer.
    async fn copied_message(&self, ctx: &Context, digest: &Digest, blob: Blob) -> Result<Blob> {
        if blob.size_bytes() > self.max_message_bytes {
            return Ok(blob);
        }
        let value = blob.into_bytes(self.max_message_bytes).await?;
        let _guard = self.locks.lock(&digest.cache_key(self.sink.key_format())).await;
        if let Some(newer) = newer_value(&*self.sink, ctx, digest).await? {
            return Ok(newer);
        }
        match self.sink.put(ctx, digest, Blob::from_bytes(value.clone())).await {
            Ok(_) => self.counters.copies.add(1, u64::try_from(value.len()).unwrap_or(u64::MAX)),
            Err(error) => {
                tracing::debug!(%error, %digest, sink = %self.sink, "a message was not copied");
                self.counters.copies.add_failure();
            }
        }
        Ok(Blob::from_bytes(value))
    }

    /// Copies one blob, or waits for the copy that another caller makes.
    async fn copy(&self, ctx: &Context, digest: Digest) -> Result<()> {
        let work = {
            let (source, sink, locks) = (Arc::clone(&self.source), Arc::clone(&self.sink), Arc::clone(&self.locks));
            let (ctx, digest) = (ctx.clone(), digest.clone());
            let counters = Arc::clone(&self.counters);
            move || async move {
                let result = copy(&*source, &*sink, &locks, &ctx, &digest).await;
                counters.copies.count(&digest.into(), &result);
                result
            }
        };
        let joined = self.flights.join(digest.cache_key(self.sink.key_format()), work.clone());
        match joined.flight.await {
            // The caller that began it may have failed for reasons of its own, such as its deadline.
            Err(_) if !joined.is_own => work().await,
            result => result,
        }
        .map_err(|error| error.at(digest.to_string()))
    }
}

/// Counts a copy as given up when it is dropped before it has ended.
struct Abandoned(Option<Arc<Counters>>);

impl Abandoned {
    /// Counts the copy as made.
    fn copied(mut self, digest: &Digest) {
        if let Some(counters) = self.0.take() {
            counters.copies.add(1, digest.size_bytes());
        }
    }

    /// Counts the copy as failed.
    fn failed(mut self) {
        if let Some(counters) = self.0.take() {
            counters.copies.add_failure();
        }
    }
}

impl Drop for Abandoned {
    fn drop(&mut self) {
        if let Some(counters) = &self.0 {
            counters.given_up.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Returns an empty stream that drops `sender` when it is read: when the stream before it has ended.
fn tell_end<T>(sender: oneshot::Sender<()>) -> impl Stream<Item = T> {
    let mut sender = Some(sender);
    stream::poll_fn(move |_| {
        sender.take();
        Poll::Ready(None)
    })
}

/// Copies the blob of `digest`. A message is copied only if the sink has no value, which would be newer.
async fn copy<A, B>(source: &A, sink: &B, locks: &EntryLocks, ctx: &Context, digest: &Digest) -> Result<()>
where
    A: BlobAccess + ?Sized,
    B: BlobAccess<Kind = A::Kind> + ?Sized,
{
    let read = source.get(ctx, digest).await;
    let blob = read.map_err(|error| error.into_inconsistency().at("source"))?;
    let _guard;
    if A::Kind::STORAGE_TYPE.is_mutable() {
        _guard = locks.lock(&digest.cache_key(sink.key_format())).await;
        if newer_value(sink, ctx, digest).await?.is_some() {
            return Ok(());
        }
    }
    sink.put(ctx, digest, blob).await.map_err(|error| error.at("sink"))?;
    Ok(())
}

/// Returns the value that the sink has of a message, which is newer than that of the source. The caller has the lock of
/// the entry.
async fn newer_value<B: BlobAccess + ?Sized>(sink: &B, ctx: &Context, digest: &Digest) -> Result<Option<Blob>> {
    match sink.get(ctx, digest).await {
        Ok(newer) => Ok(Some(newer)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.at("sink")),
    }
}

#[async_trait]
impl<A: BlobAccess + ?Sized, B: BlobAccess<Kind = A::Kind> + ?Sized> Replicator for LocalReplicator<A, B> {
    type Kind = A::Kind;

    async fn replicate(&self, ctx: &Context, request: &ReadRequest) -> Result<Blob> {
        let digest = request.digest();
        let blob = self.source.get(ctx, digest).await?;
        let blob = if A::Kind::STORAGE_TYPE.is_mutable() {
            self.copied_message(ctx, digest, blob).await?
        } else {
            self.copied_while_read(ctx, digest, blob)?
        };
        match request.as_part() {
            None => Ok(blob),
            Some((child, slicer)) => {
                let found = slicer.slice(blob, child).await.map_err(Error::with_part_missing)?;
                Ok(found.child)
            }
        }
    }

    async fn replicate_all(&self, ctx: &Context, digests: &DigestSet) -> Result<()> {
        let copies = digests.iter().cloned().map(|digest| Ok(self.copy(ctx, digest)));
        stream::iter(copies).try_buffer_unordered(COPIES_AT_ONCE).try_collect::<()>().await
    }
}

impl<A: Display + ?Sized, B: Display + ?Sized> Display for LocalReplicator<A, B> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "local({} to {})", self.source, self.sink)
    }
}
