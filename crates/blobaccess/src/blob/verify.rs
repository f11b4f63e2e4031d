//! Holds a stream to its digest: size and hash, at the latest when it ends.

use bytes::Bytes;
use futures::stream;
use futures::{StreamExt, TryStreamExt};

use super::RawStream;
use super::provenance::Check;
use crate::Result;
use crate::digest::Hasher;

struct Verifying {
    stream: RawStream,
    check: Check,
    /// `None` if only the size is verified.
    hasher: Option<Hasher>,
    observed: u64,
}

/// Passes `stream` on, and ends with an error unless it was what `check` says.
///
/// A piece too many is found before it is handed out. The last piece is handed out before the hash is known: whoever
/// reads holds it back until the stream has ended.
pub(super) fn verify(stream: RawStream, check: Check) -> RawStream {
    let hasher = check.hasher();
    let state = Verifying { stream, check, hasher, observed: 0 };
    stream::try_unfold(Some(state), |state| async move {
        match state {
            Some(state) => state.next().await,
            None => Ok(None),
        }
    })
    .boxed()
}

impl Verifying {
    async fn next(mut self) -> Result<Option<(Bytes, Option<Self>)>> {
        while let Some(piece) = self.stream.try_next().await? {
            if piece.is_empty() {
                continue;
            }
            self.observed = self.observed.saturating_add(super::size_of_bytes(&piece));
            if self.observed > self.check.size_bytes() {
                return Err(self.check.wrong_size(self.observed, true));
            }
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&piece);
            }
            return Ok(Some((piece, Some(self))));
        }
        if self.observed != self.check.size_bytes() {
            return Err(self.check.wrong_size(self.observed, false));
        }
        self.check.judge(self.hasher)?;
        Ok(None)
    }
}
