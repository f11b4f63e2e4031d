//! Two readers of one stream, a bounded number of bytes apart.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context as Poller, Poll, Wake, Waker};

use bytes::Bytes;
use futures::task::AtomicWaker;
use futures::{Stream, StreamExt};

use super::attachment;
use super::body::Body;
use super::provenance::{Check, Provenance};
use super::stream::BlobStream;
use super::{Blob, size_of_bytes};
use crate::locks::{Mutex, MutexGuard};
use crate::{Error, Result};

impl Blob {
    /// Splits this blob into two with the same contents.
    ///
    /// Contents that can be read again are shared. The halves of a stream are coupled: they are never more than
    /// `max_apart_bytes` and one piece apart. So **both must be read concurrently**, or the first stalls until the
    /// other is read or dropped. Dropping one frees the other.
    ///
    /// A compressed form is decoded and verified once for both halves, and is then lost. To keep it, each half would
    /// have to decode and verify separately as soon as it is read uncompressed, as a store on a disk does.
    #[must_use]
    pub fn tee(self, max_apart_bytes: u64) -> (Self, Self) {
        self.split(max_apart_bytes, false)
    }

    /// Splits this blob into two with the same contents, the second of which is expendable. If the halves are coupled
    /// and the second falls more than `max_apart_bytes` behind, it fails with `ResourceExhausted` instead of stalling
    /// the first. The first yields once before that, so that a second half that is ready to read can catch up.
    #[must_use]
    pub fn tee_expendable(self, max_apart_bytes: u64) -> (Self, Self) {
        self.split(max_apart_bytes, true)
    }

    /// Returns this blob, and a second one with the same contents if they are at hand or can be read from anywhere. Bytes
    /// at hand are verified for both.
    pub(crate) fn with_second(self) -> (Self, Option<Self>) {
        let has_guards_only = self.attachments.iter().all(attachment::Attachment::is_guard);
        match &self.body {
            Body::Bytes { .. } | Body::RandomAccess(_) if has_guards_only => {
                let (blob, second) = self.split(0, false);
                (blob, Some(second))
            }
            Body::Bytes { .. }
            | Body::RandomAccess(_)
            | Body::Stream { .. }
            | Body::Encoded { .. }
            | Body::Failed(_) => (self, None),
        }
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
        let fault = self.provenance.fault();
        let guards = attachment::guards(&self.attachments);
        if let Some(body) = rereadable
            && guards.len() == self.attachments.len()
        {
            let provenance = Provenance::of_fault(fault);
            let other = Self { size_bytes, body, digest, provenance, attachments: guards, ranges: None };
            return (self, other);
        }
        let half = |half: Half| Self {
            size_bytes,
            body: Body::Stream { stream: half.boxed(), vouched: true },
            digest: digest.clone(),
            // The verdict belongs to the source that both halves share.
            provenance: Provenance::of_fault(fault),
            // The source ends with the half that is ahead.
            attachments: attachment::guards(&guards),
            ranges: None,
        };
        let source = BlobStream::new(self.open(0..size_bytes, true), size_bytes);
        let (first, second) = tee(source, max_apart_bytes, expendable);
        (half(first), half(second))
    }
}

/// One of two readers.
struct Half {
    shared: Arc<Mutex<Shared>>,
    wakers: Arc<Wakers>,
    side: Side,
}

#[derive(Clone, Copy)]
enum Side {
    First,
    Second,
}

struct Shared {
    source: BlobStream,
    /// A waker that wakes both readers.
    waker: Waker,
    /// The result of the source, once it has ended.
    ended: Option<Result<()>>,
    first: Reader,
    second: Reader,
    max_apart_bytes: u64,
    /// Whether the second reader fails instead of stalling the first.
    second_is_expendable: bool,
}

#[derive(Default)]
struct Reader {
    gone: bool,
    /// Whether the reader was left behind because it was too slow.
    left_behind: bool,
    /// Whether the other reader has already yielded once for this one to catch up.
    warned: bool,
    /// The pieces that the other reader has had and this one has not.
    behind: VecDeque<Bytes>,
    behind_bytes: u64,
}

/// The wakers of both readers. They are not under the common lock, since the source may wake them while it is polled.
#[derive(Default)]
struct Wakers {
    first: AtomicWaker,
    second: AtomicWaker,
}

/// The result of a poll, and the readers to wake because of it.
struct Turn {
    next: Poll<Option<Result<Bytes>>>,
    wakes_other: bool,
    wakes_itself: bool,
}

/// The source remembers only the last reader that polled it, which may be dropped or busy. So it wakes both.
impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.first.wake();
        self.second.wake();
    }
}

impl Wakers {
    fn of(&self, side: Side) -> &AtomicWaker {
        match side {
            Side::First => &self.first,
            Side::Second => &self.second,
        }
    }
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

impl Reader {
    fn leave(&mut self) {
        self.behind = VecDeque::new();
        self.behind_bytes = 0;
    }

    fn is_reading(&self) -> bool {
        !self.gone && !self.left_behind
    }
}

impl Turn {
    fn ready(next: Option<Result<Bytes>>) -> Self {
        Self { next: Poll::Ready(next), wakes_other: false, wakes_itself: false }
    }

    fn pending() -> Self {
        Self { next: Poll::Pending, wakes_other: false, wakes_itself: false }
    }

    fn waking_other(self) -> Self {
        Self { wakes_other: true, ..self }
    }
}

/// Splits `source` between two readers. Whichever half is polled reads on for both.
fn tee(source: BlobStream, max_apart_bytes: u64, second_is_expendable: bool) -> (Half, Half) {
    let wakers = Arc::<Wakers>::default();
    let shared = Arc::new(Mutex::new(Shared {
        source,
        waker: Waker::from(Arc::clone(&wakers)),
        ended: None,
        first: Reader::default(),
        second: Reader::default(),
        max_apart_bytes,
        second_is_expendable,
    }));
    let half = |side| Half { shared: Arc::clone(&shared), wakers: Arc::clone(&wakers), side };
    (half(Side::First), half(Side::Second))
}

impl Half {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        // A source that panics while it is polled leaves the readers as they were.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn poll(&mut self, side: Side) -> Turn {
        let (mine, other) = match side {
            Side::First => (&mut self.first, &mut self.second),
            Side::Second => (&mut self.second, &mut self.first),
        };
        if mine.left_behind {
            let message = format!("reader fell more than {} bytes behind its sister", self.max_apart_bytes);
            return Turn::ready(Some(Err(Error::resource_exhausted(message))));
        }
        if let Some(piece) = mine.behind.pop_front() {
            mine.behind_bytes = mine.behind_bytes.saturating_sub(size_of_bytes(&piece));
            mine.warned = false;
            return Turn::ready(Some(Ok(piece))).waking_other();
        }
        if let Some(ended) = &self.ended {
            return Turn::ready(ended.clone().err().map(Err));
        }
        // The end of the source takes no space.
        let is_full = other.behind_bytes > self.max_apart_bytes && self.source.remaining_bytes() > 0;
        if is_full && other.is_reading() {
            if matches!(side, Side::Second) || !self.second_is_expendable {
                return Turn::pending();
            }
            if !other.warned {
                other.warned = true;
                return Turn { wakes_itself: true, ..Turn::pending().waking_other() };
            }
            other.left_behind = true;
            other.leave();
        }
        let Poll::Ready(next) = self.source.poll_next_unpin(&mut Poller::from_waker(&self.waker)) else {
            return Turn::pending();
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
        Turn::ready(next).waking_other()
    }
}

impl Stream for Half {
    type Item = Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, poller: &mut Poller<'_>) -> Poll<Option<Self::Item>> {
        self.wakers.of(self.side).register(poller.waker());
        let turn = self.lock().poll(self.side);
        if turn.wakes_other {
            self.wakers.of(self.side.other()).wake();
        }
        if turn.wakes_itself {
            poller.waker().wake_by_ref();
        }
        turn.next
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        {
            let mut shared = self.lock();
            let mine = match self.side {
                Side::First => &mut shared.first,
                Side::Second => &mut shared.second,
            };
            mine.gone = true;
            mine.leave();
        }
        drop(self.wakers.of(self.side).take());
        self.wakers.of(self.side.other()).wake();
    }
}
