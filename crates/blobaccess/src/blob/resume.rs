//! Goes on from another source when one fails midway.

use std::ops::Range;

use async_trait::async_trait;
use futures::{StreamExt, stream};

use super::{Blob, Provenance, RawStream, size_of_bytes};
use crate::{Compressor, Digest, Error, ErrorKind, Result};

/// Is asked what to do when reading a blob fails.
#[async_trait]
pub trait ErrorHandler: Send + 'static {
    /// A blob with the same contents to go on from, or the error to fail with.
    ///
    /// It is asked again if the replacement fails too, and dropped once it cannot be asked any more: when reading has
    /// ended, however it ended, or at once if the contents cannot fail. To learn how reading ended, attach a
    /// [callback](Blob::on_finish). A
    /// replacement of another size ends reading with `Internal`; one that is for another digest is verified against
    /// the first.
    ///
    /// # Errors
    ///
    /// The one given, or what the reader is to see in its place.
    async fn on_error(&mut self, error: Error) -> Result<Blob>;
}

/// What a replacement must be.
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

    /// The replacement, to be verified unless it is known to be what is expected.
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
    /// `None` once a replacement has it.
    handler: Option<Box<dyn ErrorHandler>>,
    /// What is still to come.
    range: Range<u64>,
    expected: Expected,
    verified_above: bool,
}

/// Passes `stream` on, which yields the contents within `range`, and where it fails, goes on from what `handler` says.
///
/// Where nobody verifies the whole above, what has been handed out is vouched for, and replacements verify themselves.
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
        // More than was announced may have come from a source that nobody vouches for: that is for the verification.
        let range = self.range.start.min(self.range.end)..self.range.end;
        if self.verified_above {
            self.stream = self.expected.hold_to_size(replacement)?.open(range, false);
            return Ok(());
        }
        let mut replacement = self.expected.hold(replacement)?;
        // What is not vouched for is wrong or right as a whole. If it fails midway, whatever completes it must come
        // under the same verification: so it is the replacement that the handler is asked about from now on.
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

/// Passes a compressed `stream` on. Where it fails before its first bytes, goes on from what `handler` says, if that has
/// the same compressed form to offer, and else fails as before.
pub(super) fn resume_encoded(stream: RawStream, handler: Box<dyn ErrorHandler>, expected: ExpectedForm) -> RawStream {
    stream::try_unfold((stream, Some(handler)), move |(mut stream, mut handler)| async move {
        loop {
            match stream.next().await {
                None => return Ok(None),
                Some(Ok(piece)) if piece.is_empty() => {}
                // From here on, it cannot be replaced.
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
