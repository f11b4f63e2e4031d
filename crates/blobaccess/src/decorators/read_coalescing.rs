//! Fetches a blob once, however many callers read it at the same time.

use std::collections::{HashMap, VecDeque};
use std::fmt::{self, Debug, Display, Formatter};
use std::sync::{Arc, PoisonError, Weak};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::future::{BoxFuture, Shared};
use futures::{FutureExt, StreamExt, TryStreamExt, stream};

use crate::locks::{Mutex, MutexGuard};
use crate::{
    Blob, BlobAccess, BlobStream, Capabilities, Cas, Clock, Context, DeadlineElapsed, Digest, DigestKey, DigestSet,
    Error, ErrorKind, InstanceName, KeyFormat, Provenance, PutOutcome, RandomAccess, Result, Slicer, SystemClock,
};

/// The number of bytes of a fetch that are kept for those who follow.
const WINDOW_BYTES: u64 = 4 << 20;

/// The number of fetches that are remembered before those that ended are forgotten.
const FETCHES: usize = 1_024;

/// A [`BlobAccess`] that fetches a blob from the inner store once, however many callers read it at the same time.
///
/// Many build clients miss the same blob at the same moment. Without this layer, each miss is a request of its own to a
/// bucket or to another server.
///
/// Whichever reader waits drives the fetch on, and the others read what it left. So it does not matter if the reader that
/// began it goes away, stops, or is kept without being polled. A reader that falls more than 4 MiB behind goes on with a
/// fetch of its own: nobody waits for it. If the fetch breaks off, it is begun again once where it stopped. Every reader
/// verifies what it reads.
///
/// A failure that concerns one caller (`Cancelled`, `DeadlineExceeded`, `PermissionDenied`, `Unauthenticated`) does not fail
/// the others: they go on with a fetch of their own. A caller waits for another one's fetch until its own deadline.
///
/// A range of a blob is read by itself where the inner store vouches for ranges. Otherwise the whole blob is read and
/// verified.
///
/// # Order
///
/// Around a store that lies behind a network, inside layers that check a caller's rights: a fetch is the same for every
/// caller.
///
/// # Weakens
///
/// * A fetch runs in the [`Context`] of the caller that began it, and serves others too.
/// * A blob that the inner store has compressed is decompressed.
///
/// # Memory
///
/// Up to 4 MiB for each blob that is being read.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> blobaccess::Result<()> {
/// use blobaccess::decorators::ReadCoalescing;
/// use blobaccess::{Blob, BlobAccess, Cas, Context, Digest, DigestFunction, InstanceName, MemoryStore};
///
/// let store = ReadCoalescing::new(MemoryStore::<Cas>::new(1 << 20));
/// let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, b"hello");
/// let ctx = Context::background();
/// store.put(&ctx, &digest, Blob::from_bytes("hello")).await?;
/// // Of these two, one is fetched.
/// let (first, second) = futures::try_join!(store.get(&ctx, &digest), store.get(&ctx, &digest))?;
/// assert_eq!(first.into_bytes(9).await?, second.into_bytes(9).await?);
/// # Ok(())
/// # }
/// ```
pub struct ReadCoalescing<B> {
    inner: Arc<B>,
    fetches: Mutex<HashMap<DigestKey, Weak<Fetch<B>>>>,
    clock: Arc<dyn Clock>,
}

impl<B: BlobAccess<Kind = Cas>> ReadCoalescing<B> {
    /// Makes a layer around `inner`.
    pub fn new(inner: B) -> Self {
        Self { inner: Arc::new(inner), fetches: Mutex::default(), clock: Arc::new(SystemClock) }
    }

    /// Takes the time from `clock`, which must be the one by which callers set their deadlines.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Returns the inner store.
    #[must_use]
    pub fn inner(&self) -> &B {
        &self.inner
    }

    /// Returns the fetch of a blob that can still be followed from its beginning, or a new one.
    fn fetch(&self, digest: &Digest) -> Arc<Fetch<B>> {
        let key = digest.cache_key(self.inner.key_format());
        // A panic cannot leave the map half changed: each use of it is one call.
        let mut fetches = self.fetches.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fetch) = fetches.get(&key).and_then(Weak::upgrade)
            && fetch.window().can_be_followed()
        {
            return fetch;
        }
        if fetches.len() >= FETCHES {
            fetches.retain(|_, fetch| fetch.strong_count() > 0);
        }
        let fetch = Arc::new(Fetch {
            inner: Arc::clone(&self.inner),
            clock: Arc::clone(&self.clock),
            digest: digest.clone(),
            turn: Mutex::default(),
            window: Arc::default(),
        });
        fetches.insert(key, Arc::downgrade(&fetch));
        fetch
    }
}

/// A step of a fetch: its opening, or its next piece. Each reader that waits for it drives it on, and all are woken.
type Turn = Shared<BoxFuture<'static, Result<()>>>;

/// A fetch of a blob, which all of its readers drive on.
struct Fetch<B> {
    inner: Arc<B>,
    clock: Arc<dyn Clock>,
    digest: Digest,
    /// The turn that began last. It has no share in the fetch, which would never be dropped otherwise.
    turn: Mutex<Option<Turn>>,
    /// Locked while `turn` is, never the other way round.
    window: Arc<Mutex<Window>>,
}

/// The goal that a reader waits for.
#[derive(Clone, Copy)]
enum Goal {
    Opened,
    /// More than this number of bytes have come, or the end.
    Beyond(u64),
}

/// The way in which a turn has ended for a reader that waited for it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reached {
    /// The reader began the turn.
    Itself,
    ThroughOthers,
    /// The turn failed for a reason of the caller that began it.
    Not,
}

/// The contents that came last.
#[derive(Default)]
struct Window {
    pieces: VecDeque<Bytes>,
    /// The offsets of the first byte that is kept, and of the next one to come.
    begin: u64,
    end: u64,
    /// The contents that are yet to come, unless a turn has them.
    stream: Option<BlobStream>,
    opened: bool,
    broke_off: bool,
    /// Whether the inner store vouches for ranges of the blob.
    has_ranges: bool,
    /// The ranges in the context of the caller that opened the fetch, until it takes them.
    ranges: Option<Arc<dyn RandomAccess>>,
    /// The end of the fetch, if it has ended.
    ended: Option<Result<()>>,
}

/// A step of a reader.
enum Step {
    Piece(Bytes),
    End(Result<()>),
    /// The reader is ahead of all that has come.
    Ahead,
    /// The piece that the reader wants next is no longer kept.
    Behind,
}

impl Window {
    /// Returns whether a new reader finds the beginning. A fetch that failed is followed by nobody new.
    fn can_be_followed(&self) -> bool {
        self.begin == 0 && !matches!(self.ended, Some(Err(_)))
    }

    fn step(&self, offset: u64) -> Step {
        if offset < self.begin {
            return Step::Behind;
        }
        let mut skip = usize::try_from(offset - self.begin).unwrap_or(usize::MAX);
        for piece in &self.pieces {
            if skip < piece.len() {
                return Step::Piece(piece.slice(skip..));
            }
            skip -= piece.len();
        }
        self.ended.clone().map_or(Step::Ahead, Step::End)
    }

    fn has_reached(&self, goal: Goal) -> bool {
        self.ended.is_some()
            || match goal {
                Goal::Opened => self.opened,
                Goal::Beyond(offset) => self.end > offset,
            }
    }

    fn push(&mut self, piece: Bytes) {
        self.end += size_of(&piece);
        self.pieces.push_back(piece);
        while self.end - self.begin > WINDOW_BYTES && self.pieces.len() > 1 {
            if let Some(oldest) = self.pieces.pop_front() {
                self.begin += size_of(&oldest);
            }
        }
    }
}

fn size_of(piece: &Bytes) -> u64 {
    u64::try_from(piece.len()).unwrap_or(u64::MAX)
}

/// Returns whether a failure is one of the caller's own, which says nothing to the others.
fn is_callers_own(error: &Error) -> bool {
    let kind = error.kind();
    matches!(
        kind,
        ErrorKind::Cancelled | ErrorKind::DeadlineExceeded | ErrorKind::PermissionDenied | ErrorKind::Unauthenticated
    )
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that panics runs while a window or a turn is half changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<B: BlobAccess<Kind = Cas>> Fetch<B> {
    fn window(&self) -> MutexGuard<'_, Window> {
        lock(&self.window)
    }

    /// Waits until the fetch has reached `goal`, or for one turn.
    ///
    /// # Errors
    ///
    /// The error of the turn, unless it is that of another caller; `DeadlineExceeded` at the caller's deadline.
    async fn reach(&self, ctx: &Context, goal: Goal) -> Result<Reached> {
        let Some((turn, is_own)) = self.join(ctx, goal) else { return Ok(Reached::ThroughOthers) };
        match self.clock.timeout(ctx.deadline(), turn).await {
            Err(DeadlineElapsed) => Err(late(&self.digest)),
            Ok(Ok(())) if is_own => Ok(Reached::Itself),
            Ok(Ok(())) => Ok(Reached::ThroughOthers),
            Ok(Err(error)) if !is_own && is_callers_own(&error) => Ok(Reached::Not),
            Ok(Err(error)) => Err(error),
        }
    }

    /// Returns the turn that is under way, or begins one, and whether it began one. There is none if `goal` is reached.
    fn join(&self, ctx: &Context, goal: Goal) -> Option<(Turn, bool)> {
        let mut turn = lock(&self.turn);
        if self.window().has_reached(goal) {
            return None;
        }
        if let Some(turn) = turn.as_ref().filter(|turn| turn.peek().is_none()) {
            return Some((turn.clone(), false));
        }
        let (inner, ctx, digest) = (Arc::clone(&self.inner), ctx.clone(), self.digest.clone());
        let began = take_turn(inner, ctx, digest, Arc::clone(&self.window)).boxed().shared();
        *turn = Some(began.clone());
        Some((began, true))
    }

    /// Reads the blob from `offset` on, in a fetch of its own.
    async fn open(&self, ctx: &Context, offset: u64) -> Result<BlobStream> {
        self.inner.get(ctx, &self.digest).await?.into_stream(offset..)
    }
}

/// Fetches the next piece. A fetch that has not begun, or that broke off, is opened instead.
async fn take_turn<B: BlobAccess<Kind = Cas>>(
    inner: Arc<B>,
    ctx: Context,
    digest: Digest,
    window: Arc<Mutex<Window>>,
) -> Result<()> {
    let (stream, offset) = {
        let mut window = lock(&window);
        (window.stream.take(), window.end)
    };
    let Some(mut stream) = stream else {
        let opened = inner.get(&ctx, &digest).await.and_then(|blob| {
            let ranges = (blob.has_ranges(), blob.shared_ranges());
            Ok((blob.into_stream(offset..)?, ranges))
        });
        let mut window = lock(&window);
        return match opened {
            Ok((stream, (has_ranges, ranges))) => {
                if !window.opened {
                    (window.has_ranges, window.ranges) = (has_ranges, ranges);
                }
                window.opened = true;
                window.stream = Some(stream);
                Ok(())
            }
            Err(error) => {
                if !is_callers_own(&error) {
                    window.ended = Some(Err(error.clone()));
                }
                Err(error)
            }
        };
    };
    let piece = stream.try_next().await;
    let mut window = lock(&window);
    match piece {
        Ok(Some(piece)) => {
            window.push(piece);
            window.stream = Some(stream);
        }
        Ok(None) => window.ended = Some(Ok(())),
        Err(error) if window.broke_off || error.kind() == ErrorKind::DataLoss => window.ended = Some(Err(error)),
        Err(_) => window.broke_off = true,
    }
    Ok(())
}

#[cold]
fn late(digest: &Digest) -> Error {
    Error::deadline_exceeded(format!("the fetch of blob {digest} did not go on by the caller's deadline"))
}

/// A reader of a fetch.
struct Reader<B> {
    fetch: Arc<Fetch<B>>,
    ctx: Context,
    offset: u64,
    /// The fetch of its own that the reader goes on with.
    own: Option<BlobStream>,
}

impl<B: BlobAccess<Kind = Cas>> Reader<B> {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            if let Some(own) = &mut self.own {
                return own.try_next().await;
            }
            let step = self.fetch.window().step(self.offset);
            let goes_alone = match step {
                Step::Piece(piece) => {
                    self.offset += size_of(&piece);
                    return Ok(Some(piece));
                }
                Step::End(Err(error)) if is_callers_own(&error) => true,
                Step::End(ended) => return ended.map(|()| None),
                Step::Ahead => self.fetch.reach(&self.ctx, Goal::Beyond(self.offset)).await? == Reached::Not,
                Step::Behind => true,
            };
            if goes_alone {
                self.own = Some(self.fetch.open(&self.ctx, self.offset).await?);
            }
        }
    }
}

/// Ranges of a blob for whose ranges the inner store vouches.
struct Ranges<B> {
    fetch: Arc<Fetch<B>>,
    ctx: Context,
    source: Mutex<Option<Arc<dyn RandomAccess>>>,
}

#[async_trait]
impl<B: BlobAccess<Kind = Cas>> RandomAccess for Ranges<B> {
    async fn read_at(&self, offset: u64, length: usize) -> Result<Bytes> {
        let known = lock(&self.source).clone();
        if let Some(source) = known {
            return source.read_at(offset, length).await;
        }
        let blob = self.fetch.inner.get(&self.ctx, &self.fetch.digest).await?;
        if let Some(source) = blob.shared_ranges() {
            *lock(&self.source) = Some(Arc::clone(&source));
            return source.read_at(offset, length).await;
        }
        // What is read to its end is right, whoever vouches for it.
        let end = offset.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        let mut stream = blob.into_stream(offset..end)?;
        let mut bytes = BytesMut::new();
        while let Some(piece) = stream.try_next().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes.freeze())
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<B: BlobAccess<Kind = Cas>> BlobAccess for ReadCoalescing<B> {
    type Kind = Cas;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        let fetch = self.fetch(digest);
        let mut reached = fetch.reach(ctx, Goal::Opened).await?;
        if reached == Reached::Not {
            // To wait for no third caller bounds how long this takes.
            reached = fetch.reach(ctx, Goal::Opened).await?;
        }
        if reached == Reached::Not {
            return self.inner.get(ctx, digest).await;
        }
        let (failed, has_ranges, source) = {
            let mut window = fetch.window();
            let source = if reached == Reached::Itself { window.ranges.take() } else { None };
            (window.ended.clone().and_then(Result::err), window.has_ranges, source)
        };
        // After another caller's failure, the reader goes on in its own context.
        if let Some(error) = failed.filter(|error| !is_callers_own(error)) {
            return Err(error);
        }
        let reader = Reader { fetch: Arc::clone(&fetch), ctx: ctx.clone(), offset: 0, own: None };
        let stream = stream::try_unfold(reader, |mut reader| async move {
            let piece = reader.next().await?;
            Ok::<_, Error>(piece.map(|piece| (piece, reader)))
        });
        let blob = Blob::from_untrusted_stream(digest, stream.boxed(), Provenance::store());
        if !has_ranges {
            return Ok(blob);
        }
        Ok(blob.with_ranges(Arc::new(Ranges { fetch, ctx: ctx.clone(), source: Mutex::new(source) })))
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
        self.inner.put(ctx, digest, blob).await
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

impl<B: Display> Display for ReadCoalescing<B> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "read_coalescing({})", self.inner)
    }
}

impl<B: Debug> Debug for ReadCoalescing<B> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadCoalescing").field("inner", &self.inner).finish_non_exhaustive()
    }
}
