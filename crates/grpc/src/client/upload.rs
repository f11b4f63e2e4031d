//! The messages of one upload, made as they are taken.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use blobaccess::{Error, Result};
use blobaccess_proto::bytestream::WriteRequest;
use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, TryStreamExt};
use tokio::sync::oneshot;

/// The largest part of a blob in one message, in bytes, where messages may be that large. More would only make larger
/// buffers on both sides.
const MAX_PART_BYTES: usize = 256 << 10;

/// Pieces that are no larger than this together, in bytes, are joined: a message each would cost more than the copy.
const JOINED_BYTES: usize = 64 << 10;

pub(super) type Pieces = BoxStream<'static, Result<Bytes>>;

/// The contents to be sent.
pub(super) enum UploadContents {
    /// All at hand, so that it can be sent again.
    AtHand(Bytes),
    /// To be read once; `None` once sending has begun.
    Once(Mutex<Option<Source>>),
}

/// A source that can be read once.
pub(super) struct Source {
    /// The piece that has been waited for.
    first: Option<Bytes>,
    pieces: Pieces,
}

impl UploadContents {
    pub(super) fn once(pieces: Pieces) -> Self {
        Self::Once(Mutex::new(Some(Source { first: None, pieces })))
    }

    /// Returns whether the contents can be sent from the beginning.
    pub(super) fn is_whole(&self) -> bool {
        match self {
            Self::AtHand(_) => true,
            Self::Once(source) => lock(source).is_some(),
        }
    }

    /// Waits for the first piece. A source that fails at once, as that of a small blob with wrong contents does, is
    /// worth no call: servers close connections of clients that reset many.
    pub(super) async fn prepare(&self) -> Result<()> {
        let Self::Once(source) = self else { return Ok(()) };
        let Some(mut taken) = lock(source).take() else { return Ok(()) };
        if taken.first.is_none() {
            taken.first = taken.pieces.try_next().await?;
        }
        *lock(source) = Some(taken);
        Ok(())
    }

    fn take(&self) -> Pieces {
        let source = match self {
            Self::AtHand(bytes) => return stream::iter([Ok(bytes.clone())]).boxed(),
            Self::Once(source) => lock(source).take(),
        };
        match source {
            Some(Source { first: Some(first), pieces }) => stream::iter([Ok(first)]).chain(pieces).boxed(),
            Some(Source { first: None, pieces }) => pieces,
            None => stream::iter([Err(Error::internal("a blob was sent twice"))]).boxed(),
        }
    }
}

fn lock(source: &Mutex<Option<Source>>) -> MutexGuard<'_, Option<Source>> {
    // A panic cannot leave it half changed: each use of it is one call.
    source.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How far an upload has got.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// How many bytes were handed to the connection.
    pub(super) sent: AtomicU64,
    /// How many times a message was taken or a piece came.
    pub(super) steps: AtomicU64,
    /// Whether the source is being waited for, rather than the server.
    pub(super) in_source: AtomicBool,
    /// Whether the message that ends the upload was handed to the connection. Before that, nothing can be stored.
    pub(super) finished: AtomicBool,
}

struct Upload {
    contents: Arc<UploadContents>,
    /// `None` until the first message is asked for.
    pieces: Option<Pieces>,
    /// The data that has come and was not sent: the last message must say that it is the last.
    held: Bytes,
    ended: bool,
    offset: u64,
    /// The largest part of the blob in one message.
    max_part_bytes: usize,
    /// Only the first message has it.
    resource_name: String,
    progress: Arc<Progress>,
    failed: Option<oneshot::Sender<Error>>,
}

/// Returns the messages that upload `contents`, with at most `max_bytes` of it in each. If the source fails, `failed` is told, and no further message comes: the
/// stream does not end, as its end would look like that of an upload.
pub(super) fn messages(
    contents: Arc<UploadContents>,
    resource_name: String,
    max_bytes: u64,
    progress: Arc<Progress>,
    failed: oneshot::Sender<Error>,
) -> impl Stream<Item = WriteRequest> + Send + 'static {
    let upload = Upload {
        contents,
        pieces: None,
        held: Bytes::new(),
        ended: false,
        offset: 0,
        max_part_bytes: usize::try_from(max_bytes).map_or(MAX_PART_BYTES, |max| max.clamp(1, MAX_PART_BYTES)),
        resource_name,
        progress,
        failed: Some(failed),
    };
    stream::unfold(Some(upload), |upload| async move {
        let mut upload = upload?;
        upload.progress.steps.fetch_add(1, Ordering::Relaxed);
        let message = upload.next().await;
        let finished = message.finish_write;
        Some((message, (!finished).then_some(upload)))
    })
}

impl Upload {
    async fn next(&mut self) -> WriteRequest {
        loop {
            if self.held.len() > self.max_part_bytes {
                let data = self.held.split_to(self.max_part_bytes);
                return self.message(data, false);
            }
            match self.pull().await {
                Some(piece) if self.held.is_empty() => self.held = piece,
                Some(piece) if self.held.len() + piece.len() <= JOINED_BYTES => self.join(&piece),
                Some(piece) => {
                    let data = std::mem::replace(&mut self.held, piece);
                    return self.message(data, false);
                }
                None => {
                    let data = std::mem::take(&mut self.held);
                    return self.message(data, true);
                }
            }
        }
    }

    /// Returns the next piece that is not empty. Does not return once the source has failed.
    async fn pull(&mut self) -> Option<Bytes> {
        while !self.ended {
            let pieces = self.pieces.get_or_insert_with(|| self.contents.take());
            self.progress.in_source.store(true, Ordering::Relaxed);
            let piece = pieces.next().await;
            self.progress.in_source.store(false, Ordering::Relaxed);
            self.progress.steps.fetch_add(1, Ordering::Relaxed);
            match piece {
                Some(Ok(piece)) if piece.is_empty() => {}
                Some(Ok(piece)) => return Some(piece),
                Some(Err(error)) => {
                    if let Some(failed) = self.failed.take() {
                        // Whoever is gone has given up already.
                        let _gone = failed.send(error);
                    }
                    return std::future::pending().await;
                }
                None => self.ended = true,
            }
        }
        None
    }

    fn join(&mut self, piece: &Bytes) {
        let held = std::mem::take(&mut self.held);
        let mut joined = held.try_into_mut().unwrap_or_else(|held| {
            let mut joined = BytesMut::with_capacity(JOINED_BYTES);
            joined.extend_from_slice(&held);
            joined
        });
        joined.extend_from_slice(piece);
        self.held = joined.freeze();
    }

    fn message(&mut self, data: Bytes, finish_write: bool) -> WriteRequest {
        let write_offset = crate::message::size(self.offset);
        self.offset = self.offset.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
        self.progress.sent.store(self.offset, Ordering::Relaxed);
        if finish_write {
            self.progress.finished.store(true, Ordering::Relaxed);
        }
        WriteRequest { resource_name: std::mem::take(&mut self.resource_name), write_offset, finish_write, data }
    }
}
