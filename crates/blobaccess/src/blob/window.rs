//! Ranges of contents: the requested bytes within the existing ones.

use std::ops::{Bound, Range, RangeBounds};

use bytes::Bytes;
use futures::StreamExt;
use futures::future;

use super::{RawStream, size_of_bytes};
use crate::{Error, Result};

/// Returns the bytes that `range` denotes in contents of `size` bytes.
pub(super) fn resolve(range: &impl RangeBounds<u64>, size: u64) -> Result<Range<u64>> {
    let start = match range.start_bound() {
        Bound::Included(&start) => start,
        Bound::Excluded(&before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(&last) => last.saturating_add(1),
        Bound::Excluded(&end) => end,
        Bound::Unbounded => size,
    };
    if start > size {
        return Err(Error::out_of_range(format!("blob is {size} bytes, while a read at offset {start} was requested")));
    }
    Ok(start..end.min(size).max(start))
}

/// Returns the part of `bytes` within `range`, as far as it exists.
pub(super) fn slice(bytes: &Bytes, range: &Range<u64>) -> Bytes {
    let clip = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
    bytes.slice(clip(range.start)..clip(range.end).max(clip(range.start)))
}

/// Returns the part within `range` of a stream that starts with the first byte.
///
/// The stream is nevertheless read to its end, so that errors found only there are reported.
pub(super) fn window(stream: RawStream, range: Range<u64>, size: u64) -> RawStream {
    if range == (0..size) {
        return stream;
    }
    let mut position = 0;
    stream
        .filter_map(move |piece| {
            let piece = piece.map(|piece| {
                let start = range.start.saturating_sub(position);
                let end = range.end.saturating_sub(position);
                position += size_of_bytes(&piece);
                slice(&piece, &(start..end))
            });
            future::ready(if piece.as_ref().is_ok_and(Bytes::is_empty) { None } else { Some(piece) })
        })
        .boxed()
}
