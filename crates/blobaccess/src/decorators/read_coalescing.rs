//! Fetches a blob once, however many callers read it at the same time.

use std::collections::{HashMap, VecDeque};
use std::fmt::{self, Debug, Display, Formatter};
use std::sync::{Arc, PoisonError, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use crate::locks::{Mutex, MutexGuard};
use crate::{
    Blob, BlobAccess, BlobStream, Capabilities, Cas, Context, Digest, DigestKey, DigestSet, Error, ErrorKind,
    InstanceName, KeyFormat, Provenance, PutOutcome, RandomAccess, Result, Slicer,
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
/// Whichever reader is ahead drives the fetch on, and the others read what it left. So it does not matter if the reader that
/// began it goes away or stops. A reader that falls more than 4 MiB behind goes on with a fetch of its own: nobody waits for
/// it. If the fetch breaks off, it is begun again once where it stopped. Every reader verifies what it reads.
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
}

impl<B: BlobAccess<Kind = Cas>> ReadCoalescing<B> {
    /// Makes a layer around `inner`.
    pub fn new(inner: B) -> Self {
        Self { inner: Arc::new(inner), fetches: Mutex::default() }
    }

    /// Returns the inner store.
    #[must_use]
    pub fn inner(&self) -> &B {
        &self.inner
    }

    /// Returns the fetch of a blob that can still be followed from its beginning, or a new one.
    fn fetch(&self, ctx: &Context, digest: &Digest) -> Arc<Fetch<B>> {
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
            ctx: ctx.clone(),
            digest: digest.clone(),
            source: tokio::sync::Mutex::new(Source::default()),
            window: Mutex::default(),
        });
        fetches.insert(key, Arc::downgrade(&fetch));
        fetch
    }
}

/// A fetch of a blob, which all of its readers drive on.
struct Fetch<B> {
    inner: Arc<B>,
    ctx: Context,
    digest: Digest,
    /// The contents that are yet to come. Whoever holds the lock fetches.
    source: tokio::sync::Mutex<Source>,
    window: Mutex<Window>,
}

#[derive(Default)]
struct Source {
    stream: Option<BlobStream>,
    broke_off: bool,
}

/// The contents that came last.
#[derive(Default)]
struct Window {
    pieces: VecDeque<Bytes>,
    /// The offsets of the first byte that is kept, and of the next one to come.
    begin: u64,
    end: u64,
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

impl<B: BlobAccess<Kind = Cas>> Fetch<B> {
    fn window(&self) -> MutexGuard<'_, Window> {
        // Nothing that panics runs while a window is half changed.
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, ended: Result<()>) {
        self.window().ended = Some(ended);
    }

    /// Begins the fetch, unless somebody has. A failure that is not the caller's own is that of all who wait.
    async fn begin(&self, ctx: &Context) -> Result<()> {
        let mut source = self.source.lock().await;
        if let Some(Err(error)) = &self.window().ended {
            return Err(error.clone());
        }
        if source.stream.is_some() || self.window().end > 0 || self.window().ended.is_some() {
            return Ok(());
        }
        match self.inner.get(ctx, &self.digest).await.and_then(|blob| blob.into_stream(..)) {
            Ok(stream) => {
                source.stream = Some(stream);
                Ok(())
            }
            Err(error) => {
                if !is_callers_own(&error) {
                    self.end(Err(error.clone()));
                }
                Err(error)
            }
        }
    }

    /// Fetches the next piece, unless somebody else has since.
    async fn advance(&self, offset: u64) {
        let mut source = self.source.lock().await;
        {
            let window = self.window();
            if window.end > offset || window.ended.is_some() {
                return;
            }
        }
        let piece = match &mut source.stream {
            Some(stream) => stream.try_next().await,
            // It broke off, or whoever resumed it has gone.
            None => match self.open(&self.ctx, offset).await {
                Ok(stream) => {
                    source.stream = Some(stream);
                    return;
                }
                Err(error) => Err(error),
            },
        };
        match piece {
            Ok(Some(piece)) => self.window().push(piece),
            Ok(None) => {
                source.stream = None;
                self.end(Ok(()));
            }
            Err(error) if source.broke_off || error.kind() == ErrorKind::DataLoss => self.end(Err(error)),
            Err(_) => *source = Source { stream: None, broke_off: true },
        }
    }

    /// Reads the blob from `offset` on, in a fetch of its own.
    async fn open(&self, ctx: &Context, offset: u64) -> Result<BlobStream> {
        self.inner.get(ctx, &self.digest).await?.into_stream(offset..)
    }
}

/// A reader of a fetch.
struct Reader<B> {
    fetch: Arc<Fetch<B>>,
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
            match step {
                Step::Piece(piece) => {
                    self.offset += size_of(&piece);
                    return Ok(Some(piece));
                }
                Step::End(ended) => return ended.map(|()| None),
                Step::Ahead => self.fetch.advance(self.offset).await,
                Step::Behind => self.own = Some(self.fetch.open(&self.fetch.ctx, self.offset).await?),
            }
        }
    }
}

/// Ranges of a blob, each of which is read from the inner store.
struct Ranges<B> {
    fetch: Arc<Fetch<B>>,
    /// The open read, and where it is.
    open: tokio::sync::Mutex<Option<(u64, BlobStream)>>,
}

#[async_trait]
impl<B: BlobAccess<Kind = Cas>> RandomAccess for Ranges<B> {
    async fn read_at(&self, offset: u64, length: usize) -> Result<Bytes> {
        let mut slot = self.open.lock().await;
        let mut stream = match slot.take() {
            Some((at, stream)) if at == offset => stream,
            _ => self.fetch.open(&self.fetch.ctx, offset).await?,
        };
        let piece = stream.try_next().await?.unwrap_or_default();
        if piece.len() > length {
            // The rest of the piece is read again, if it is wanted.
            return Ok(piece.slice(..length));
        }
        *slot = Some((offset + size_of(&piece), stream));
        Ok(piece)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<B: BlobAccess<Kind = Cas>> BlobAccess for ReadCoalescing<B> {
    type Kind = Cas;

    async fn get(&self, ctx: &Context, digest: &Digest) -> Result<Blob> {
        let fetch = self.fetch(ctx, digest);
        fetch.begin(ctx).await?;
        let reader = Reader { fetch: Arc::clone(&fetch), offset: 0, own: None };
        let stream = stream::try_unfold(reader, |mut reader| async move {
            let piece = reader.next().await?;
            Ok::<_, Error>(piece.map(|piece| (piece, reader)))
        });
        let ranges = Arc::new(Ranges { fetch, open: tokio::sync::Mutex::default() });
        Ok(Blob::from_untrusted_stream(digest, stream.boxed(), Provenance::store()).with_ranges(ranges))
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
