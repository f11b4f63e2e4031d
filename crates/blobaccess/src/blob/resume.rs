//! Continues from another source when one fails midway.

use std::ops::Range;

use async_trait::async_trait;
use futures::{StreamExt, stream};

use super::{Blob, Provenance, RawStream, size_of_bytes};
use crate::{Compressor, Digest, Error, ErrorKind, Result};

/// A handler that is asked what to do when reading a blob fails.
#[async_trait]
pub trait ErrorHandler: Send + 'static {
    /// Returns a blob with the same contents to continue from, or the error to fail with.
    ///
    /// The handler is asked again if the replacement fails too. It is dropped once it cannot be asked any more: when
    /// reading has ended, or immediately if the contents cannot fail. To learn how reading ended, attach a
    /// [callback](Blob::on_finish).
    ///
    /// A replacement of another size ends reading with `Internal`. A replacement for another digest is verified against
    /// the first digest.
    ///
    /// # Errors
    ///
    /// The given error, or the one that the reader is to see in its place.
    async fn on_error(&mut self, error: Error) -> Result<Blob>;
}

/// The requirements on a replacement.
#[derive(Clone)]
pub(super) struct Expected {
    size_bytes: u64,
    digest: Option<Digest>,
    fault: ErrorKind,
}

impl Expected {
    pub(super) fn of(blob: &Blob) -> Self {
        Self { size_bytes: blob.size_bytes, digest: blob.digest.clone(), fault: blob.provenance.fault() }
    }

    fn hold_to_size(&self, replacement: Blob) -> Result<Blob> {
        let (size, expected) = (replacement.size_bytes, self.size_bytes);
        if size != expected {
            return Err(Error::internal(format!("replacement is {size} bytes, while {expected} were expected")));
        }
        Ok(replacement)
    }

    /// Returns the replacement, to be verified unless it is known to have the expected contents.
    pub(super) fn hold(&self, replacement: Blob) -> Result<Blob> {
        let replacement = self.hold_to_size(replacement)?;
        Ok(match &self.digest {
            Some(digest) => replacement.held_to(digest, Provenance::of_fault(self.fault)),
            None => replacement,
        })
    }
}

struct Resuming {
    stream: RawStream,
    /// The handler; `None` once a replacement has it.
    handler: Option<Box<dyn ErrorHandler>>,
    /// The range that is still to be read.
    range: Range<u64>,
    expected: Expected,
    verified_above: bool,
}

/// Passes on `stream`, which yields the contents within `range`. Where it fails, continues from the replacement of
/// `handler`.
///
/// If nobody verifies the whole above, the bytes handed out so far are vouched for, and replacements verify themselves.
pub(super) fn resume(
    stream: RawStream,
    handler: Box<dyn ErrorHandler>,
    range: Range<u64>,
    expected: Expected,
    verified_above: bool,
) -> RawStream {
    let state = Resuming { stream, handler: Some(handler), range, expected, verified_above };
    stream::try_unfold(state, |mut state| async move {
        loop {
            match state.stream.next().await {
                None => return Ok(None),
                Some(Ok(piece)) => {
                    state.range.start = state.range.start.saturating_add(size_of_bytes(&piece));
                    return Ok(Some((piece, state)));
                }
                Some(Err(error)) => state.replace(error).await?,
            }
        }
    })
    .boxed()
}

impl Resuming {
    async fn replace(&mut self, error: Error) -> Result<()> {
        let Some(handler) = &mut self.handler else {
            return Err(error);
        };
        let replacement = handler.on_error(error).await?;
        // A source that nobody vouches for may have yielded more than was announced: the verification finds that.
        let range = self.range.start.min(self.range.end)..self.range.end;
        if self.verified_above {
            self.stream = self.expected.hold_to_size(replacement)?.open(range, false);
            return Ok(());
        }
        let mut replacement = self.expected.hold(replacement)?;
        // Contents that are not vouched for are wrong or right as a whole. If the replacement fails midway, its
        // completion must come under the same verification. So the handler moves into the replacement.
        if !replacement.vouches_for_ranges() {
            replacement = replacement.handled_by(self.handler.take());
        }
        self.stream = replacement.open(range, true);
        Ok(())
    }
}

/// The compressed form that a replacement must have.
#[derive(Clone, Copy)]
pub(super) struct ExpectedForm {
    pub(super) compressor: Compressor,
    /// The size of the compressed form, if it was announced.
    pub(super) size_bytes: Option<u64>,
    /// The size of the contents.
    pub(super) contents_bytes: u64,
}

impl ExpectedForm {
    /// Returns the compressed form of `replacement`, if it is the one expected.
    fn take(self, replacement: Blob) -> Option<RawStream> {
        if replacement.size_bytes != self.contents_bytes {
            return None;
        }
        let encoded = replacement.into_encoded(&[self.compressor]).ok()?;
        let has_size = self.size_bytes.is_none() || encoded.size_bytes() == self.size_bytes;
        has_size.then(|| encoded.boxed())
    }
}

/// Passes on a compressed `stream`. If it fails before its first bytes, continues from the replacement of `handler`, if
/// that has the same compressed form. Otherwise it fails with the same error.
pub(super) fn resume_encoded(stream: RawStream, handler: Box<dyn ErrorHandler>, expected: ExpectedForm) -> RawStream {
    stream::try_unfold((stream, Some(handler)), move |(mut stream, mut handler)| async move {
        loop {
            match stream.next().await {
                None => return Ok(None),
                Some(Ok(piece)) if piece.is_empty() => {}
                // From here on, the stream cannot be replaced.
                Some(Ok(piece)) => return Ok(Some((piece, (stream, None)))),
                Some(Err(error)) => {
                    let Some(handler) = &mut handler else { return Err(error) };
                    let replacement = handler.on_error(error.clone()).await?;
                    stream = expected.take(replacement).ok_or(error)?;
                }
            }
        }
    })
    .boxed()
}
