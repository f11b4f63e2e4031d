//! Reads that follow a copy: from the sink once it has the blob, otherwise from the source.

use std::fmt::{self, Debug, Formatter};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::{Blob, BlobAccess, Clock, Context, Error, ErrorHandler, ReadRequest, Result, SystemClock};

/// The time that a reader waits for its copy unless set. At 1 Gbit/s, 7 GB are copied in that time.
const MAX_WAIT: Duration = Duration::from_mins(1);

/// The stores of a replicator that copies before it reads, and the time that its readers wait.
pub(super) struct CopiedReads<A: ?Sized, B: ?Sized> {
    pub(super) source: Arc<A>,
    pub(super) sink: Arc<B>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) max_wait: Duration,
    from_source: AtomicU64,
}

impl<A: BlobAccess + ?Sized, B: BlobAccess<Kind = A::Kind> + ?Sized> CopiedReads<A, B> {
    pub(super) fn new(source: Arc<A>, sink: Arc<B>) -> Self {
        Self { source, sink, clock: Arc::new(SystemClock), max_wait: MAX_WAIT, from_source: AtomicU64::new(0) }
    }

    /// Returns the number of reads that were not served by the sink, because a copy failed or took too long.
    pub(super) fn reads_from_source(&self) -> u64 {
        self.from_source.load(Ordering::Relaxed)
    }

    /// Waits for `copy` and reads from the sink. Where the copy or the sink fails, the contents are read from the
    /// source, whose answer is the one that counts.
    pub(super) async fn read<F>(&self, ctx: &Context, request: &ReadRequest, copy: F) -> Result<Blob>
    where
        F: Future<Output = Result<()>> + Send,
    {
        match self.clock.timeout(self.wait_until(ctx), copy).await {
            Ok(Ok(())) => match request.read_from(&*self.sink, ctx).await {
                Ok(blob) => {
                    let (source, ctx, request) = (Arc::clone(&self.source), ctx.clone(), request.clone());
                    return Ok(blob.with_error_handler(FromSource { source: Some(source), ctx, request }));
                }
                Err(error) if error.is_part_missing() => return Err(error),
                Err(error) => self.note(request, &error.at("sink")),
            },
            Ok(Err(error)) => self.note(request, &error),
            Err(elapsed) => {
                let error = Error::deadline_exceeded("the copy has not ended").with_source(elapsed);
                if ctx.is_overdue(self.clock.monotonic()) {
                    return Err(error.at(request.digest().to_string()));
                }
                self.note(request, &error);
            }
        }
        self.from_source.fetch_add(1, Ordering::Relaxed);
        request.read_from(&*self.source, ctx).await
    }

    fn note(&self, request: &ReadRequest, error: &Error) {
        let (digest, sink) = (request.digest(), &self.sink);
        tracing::debug!(%error, %digest, %sink, "a blob is read from the source, as its copy is not to be had");
    }

    fn wait_until(&self, ctx: &Context) -> Option<Instant> {
        let patience = self.clock.monotonic().checked_add(self.max_wait);
        ctx.deadline().into_iter().chain(patience).min()
    }
}

/// Goes on from the source when the sink fails midway.
struct FromSource<A: ?Sized> {
    source: Option<Arc<A>>,
    ctx: Context,
    request: ReadRequest,
}

#[async_trait]
impl<A: BlobAccess + ?Sized> ErrorHandler for FromSource<A> {
    async fn on_error(&mut self, error: Error) -> Result<Blob> {
        let error = error.at("sink");
        match self.source.take() {
            Some(source) if error.is_store_fault() => {
                tracing::warn!(%error, %source, "going on from the source of a copy");
                self.request.read_from(&*source, &self.ctx).await
            }
            _ => Err(error),
        }
    }
}

impl<A: Debug + ?Sized, B: Debug + ?Sized> Debug for CopiedReads<A, B> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopiedReads")
            .field("source", &self.source)
            .field("sink", &self.sink)
            .field("max_wait", &self.max_wait)
            .finish_non_exhaustive()
    }
}
