//! Two readers of one stream, a bounded number of bytes apart.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as Poller, Poll, Waker};

use bytes::Bytes;
use futures::{Stream, StreamExt};

use super::attachment;
use super::body::Body;
use super::provenance::{Check, Provenance};
use super::stream::BlobStream;
use super::{Blob, size_of_bytes};
use crate::{Error, Result};

impl Blob {
    /// Two blobs with the contents of this one.
    ///
    /// What can be read again is simply shared. The halves of a stream are coupled: they are never more than
    /// `max_apart_bytes` and one piece apart, so that **both must be read at the same time**, or the first stalls
    /// until the other is read or dropped. To drop one frees the other.
    #[must_use]
    pub fn tee(self, max_apart_bytes: u64) -> (Self, Self) {
        self.split(max_apart_bytes, false)
    }

    /// Two blobs with the contents of this one, the second of which is expendable: where the halves are coupled, the
    /// second fails with `ResourceExhausted` when it is more than `max_apart_bytes` behind, rather than stall the
    /// first.
    #[must_use]
    pub fn tee_expendable(self, max_apart_bytes: u64) -> (Self, Self) {
        self.split(max_apart_bytes, true)
    }

    fn split(mut self, max_apart_bytes: u64, expendable: bool) -> (Self, Self) {
        if let Body::Bytes { bytes, trusted: false } = &self.body
            && !self.has_handler()
            && let Some(digest) = &self.digest
        {
            let provenance = std::mem::replace(&mut self.provenance, Provenance::store());
            self.body = match Check::new(digest.clone(), provenance).verify(bytes) {
                Ok(()) => Body::Bytes { bytes: bytes.clone(), trusted: true },
                Err(error) => Body::Failed(error),
            };
        }
        let rereadable = match &self.body {
            Body::Bytes { bytes, trusted: true } => Some(Body::Bytes { bytes: bytes.clone(), trusted: true }),
            Body::RandomAccess(source) => Some(Body::RandomAccess(Arc::clone(source))),
            Body::Failed(error) => Some(Body::Failed(error.clone())),
            Body::Bytes { trusted: false, .. } | Body::Stream { .. } | Body::Encoded { .. } => None,
        };
        let size_bytes = self.size_bytes;
        let digest = self.digest.clone();
        let provenance = self.provenance.without_verdict();
        if let Some(body) = rereadable
            && let Some(attachments) = attachment::share(&self.attachments)
        {
            let other = Self { size_bytes, body, digest, provenance, attachments };
            return (self, other);
        }
        let half = |half: Half| Self {
            size_bytes,
            body: Body::Stream { stream: half.boxed(), vouched: true },
            digest: digest.clone(),
            // The verdict is the business of the source that both halves share.
            provenance: provenance.without_verdict(),
            attachments: Vec::new(),
        };
        let source = BlobStream::new(self.open(0..size_bytes, true), size_bytes);
        let (first, second) = tee(source, max_apart_bytes, expendable);
        (half(first), half(second))
    }
}

/// One of two readers.
struct Half {
    shared: Arc<Mutex<Shared>>,
    side: Side,
}

#[derive(Clone, Copy)]
enum Side {
    First,
    Second,
}

struct Shared {
    source: BlobStream,
    /// How the source ended, once it has.
    ended: Option<Result<()>>,
    first: Reader,
    second: Reader,
    max_apart_bytes: u64,
    /// Whether the second reader fails rather than stalls the first.
    second_is_expendable: bool,
}

#[derive(Default)]
struct Reader {
    gone: bool,
    /// Left behind, because it was too slow.
    left_behind: bool,
    /// What the other reader has had and this one has not.
    behind: VecDeque<Bytes>,
    behind_bytes: u64,
    waker: Option<Waker>,
}

impl Reader {
    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn leave(&mut self) {
        self.behind = VecDeque::new();
        self.behind_bytes = 0;
    }

    fn is_reading(&self) -> bool {
        !self.gone && !self.left_behind
    }
}

/// Splits `source`, which stays whole: whichever half is polled reads on for both.
fn tee(source: BlobStream, max_apart_bytes: u64, second_is_expendable: bool) -> (Half, Half) {
    let shared = Arc::new(Mutex::new(Shared {
        source,
        ended: None,
        first: Reader::default(),
        second: Reader::default(),
        max_apart_bytes,
        second_is_expendable,
    }));
    (Half { shared: Arc::clone(&shared), side: Side::First }, Half { shared, side: Side::Second })
}

impl Half {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        // A source that panics while it is polled leaves the readers as they were.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn poll(&mut self, side: Side, poller: &mut Poller<'_>) -> Poll<Option<Result<Bytes>>> {
        let (mine, other) = match side {
            Side::First => (&mut self.first, &mut self.second),
            Side::Second => (&mut self.second, &mut self.first),
        };
        if mine.left_behind {
            let message = format!("reader fell more than {} bytes behind its sister", self.max_apart_bytes);
            return Poll::Ready(Some(Err(Error::resource_exhausted(message))));
        }
        if let Some(piece) = mine.behind.pop_front() {
            mine.behind_bytes = mine.behind_bytes.saturating_sub(size_of_bytes(&piece));
            other.wake();
            return Poll::Ready(Some(Ok(piece)));
        }
        if let Some(ended) = &self.ended {
            return Poll::Ready(ended.clone().err().map(Err));
        }
        if other.is_reading() && other.behind_bytes > 0 && other.behind_bytes >= self.max_apart_bytes {
            if matches!(side, Side::Second) || !self.second_is_expendable {
                mine.waker = Some(poller.waker().clone());
                return Poll::Pending;
            }
            other.left_behind = true;
            other.leave();
            other.wake();
        }
        // The source remembers only who polled last: the other waits for a piece, and is woken when it is there.
        let Poll::Ready(next) = self.source.poll_next_unpin(poller) else {
            mine.waker = Some(poller.waker().clone());
            return Poll::Pending;
        };
        match &next {
            Some(Ok(piece)) if other.is_reading() => {
                other.behind_bytes = other.behind_bytes.saturating_add(size_of_bytes(piece));
                other.behind.push_back(piece.clone());
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => self.ended = Some(Err(error.clone())),
            None => self.ended = Some(Ok(())),
        }
        other.wake();
        Poll::Ready(next)
    }
}

impl Stream for Half {
    type Item = Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, poller: &mut Poller<'_>) -> Poll<Option<Self::Item>> {
        self.lock().poll(self.side, poller)
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        let mut shared = self.lock();
        let Shared { first, second, .. } = &mut *shared;
        let (mine, other) = match self.side {
            Side::First => (first, second),
            Side::Second => (second, first),
        };
        mine.gone = true;
        mine.leave();
        other.wake();
    }
}
