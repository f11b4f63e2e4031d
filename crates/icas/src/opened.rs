//! A source that has answered, and the stream of what it sends.

use std::sync::Arc;

use blobaccess::{Error, Result};
use bytes::{Buf, Bytes};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use reqwest::header::HeaderValue;
use url::Url;

use crate::http_source::HttpSource;
use crate::reference::Window;
use crate::time_limits::TimeLimits;

pub(crate) type Pieces = BoxStream<'static, Result<Bytes>>;

/// A source that has answered.
pub(crate) struct Opened {
    pub(crate) pieces: Pieces,
    /// The bytes that come before those that are wanted.
    pub(crate) skip: u64,
    /// The bytes that are wanted, if that is known.
    pub(crate) left: Option<u64>,
    /// The version of the source, if it told a strong one.
    pub(crate) e_tag: Option<HeaderValue>,
}

/// The means of a new request, after an answer was cut.
pub(crate) struct Resumption {
    pub(crate) source: Arc<HttpSource>,
    pub(crate) url: Url,
    pub(crate) left: u32,
}

/// The state of reading a source.
struct Reading {
    opened: Opened,
    /// The offset in the source of the next byte that is handed out.
    at: u64,
    limits: TimeLimits,
    resumption: Option<Resumption>,
}

impl Opened {
    /// Returns the wanted bytes as a stream, which begins at `offset` of the source.
    ///
    /// The stream reads on as it is polled. Dropping it closes the connection, unless the whole answer was read.
    pub(crate) fn into_pieces(self, offset: u64, limits: TimeLimits, resumption: Option<Resumption>) -> Pieces {
        let reading = Reading { opened: self, at: offset, limits, resumption };
        stream::try_unfold(reading, |mut reading| async move {
            let piece = reading.next().await?;
            Ok(piece.map(|piece| (piece, reading)))
        })
        .boxed()
    }
}

impl Reading {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        while self.opened.left != Some(0) {
            let piece = self.limits.wait_for_piece(self.opened.pieces.next()).await?;
            let error = match piece {
                Some(Ok(piece)) => match self.take(piece) {
                    Some(wanted) => return Ok(Some(wanted)),
                    None => continue,
                },
                Some(Err(error)) => error,
                None if self.opened.left.is_none() && self.opened.skip == 0 => return Ok(None),
                None => Error::unavailable(format!("source was cut short at {} bytes", self.at)),
            };
            self.resume(error).await?;
        }
        Ok(None)
    }

    /// Takes the wanted bytes of a piece.
    fn take(&mut self, mut piece: Bytes) -> Option<Bytes> {
        let opened = &mut self.opened;
        if opened.skip > 0 {
            let skipped = usize::try_from(opened.skip).unwrap_or(usize::MAX).min(piece.len());
            piece.advance(skipped);
            opened.skip -= bytes(skipped);
        }
        if let Some(left) = &mut opened.left {
            piece.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left -= bytes(piece.len());
        }
        self.at += bytes(piece.len());
        (!piece.is_empty()).then_some(piece)
    }

    /// Goes on with a new request after `error`, or fails with it.
    async fn resume(&mut self, error: Error) -> Result<()> {
        let Some(resumption) = self.resumption.as_mut().filter(|resumption| resumption.left > 0) else {
            return Err(error);
        };
        resumption.left -= 1;
        let window = Window { offset: self.at, size: self.opened.left };
        let request = resumption.source.open(&resumption.url, window, self.opened.e_tag.as_ref());
        let opened = self.limits.wait_for_answer(request).await??;
        let opened = opened.ok_or_else(|| Error::data_loss("source was removed while it was read"))?;
        resumption.source.counts.add_resumed();
        self.opened = Opened { left: self.opened.left.or(opened.left), ..opened };
        Ok(())
    }
}

/// Fails once `pieces` are more than `max` bytes.
pub(crate) fn limit(pieces: Pieces, max: u64) -> Pieces {
    let mut seen: u64 = 0;
    pieces
        .map(move |piece| {
            let piece = piece?;
            seen = seen.saturating_add(bytes(piece.len()));
            if seen > max { Err(too_large(format_args!("more than {max}"), max)) } else { Ok(piece) }
        })
        .boxed()
}

/// Makes the error of a source of `size` bytes.
#[cold]
pub(crate) fn too_large(size: impl std::fmt::Display, max: u64) -> Error {
    Error::resource_exhausted(format!("source is {size} bytes; the maximum is {max}"))
}

fn bytes(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}
