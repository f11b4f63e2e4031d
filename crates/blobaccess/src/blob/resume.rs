//! Goes on from another source when one fails midway.

use std::ops::Range;

use async_trait::async_trait;
use futures::{StreamExt, stream};

use super::{Blob, RawStream, size_of_bytes};
use crate::{Error, Result};

/// Is asked what to do when reading a blob fails.
#[async_trait]
pub trait ErrorHandler: Send + 'static {
    /// A blob with the same contents to go on from, or the error to fail with.
    ///
    /// It is asked again if the replacement fails too, and dropped once reading has ended, however it ended.
    ///
    /// # Errors
    ///
    /// The one given, or what the reader is to see in its place.
    async fn on_error(&mut self, error: Error) -> Result<Blob>;
}

struct Resuming {
    stream: RawStream,
    handler: Box<dyn ErrorHandler>,
    /// What is still to come.
    range: Range<u64>,
    verified_above: bool,
}

/// Passes `stream` on, which yields the contents within `range`, and where it fails, goes on from what `handler` says.
///
/// Where nobody verifies the whole above, the replacement verifies itself.
pub(super) fn resume(
    stream: RawStream,
    handler: Box<dyn ErrorHandler>,
    range: Range<u64>,
    verified_above: bool,
) -> RawStream {
    let state = Resuming { stream, handler, range, verified_above };
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
        let replacement = self.handler.on_error(error).await?;
        // More than was announced may have come from a source that nobody vouches for: that is for the verification.
        let range = self.range.start.min(self.range.end)..self.range.end;
        let size = replacement.size_bytes();
        if size < range.end {
            return Err(Error::internal(format!("replacement is {size} bytes, while {} were expected", range.end)));
        }
        self.stream = replacement.open(range, !self.verified_above);
        Ok(())
    }
}
