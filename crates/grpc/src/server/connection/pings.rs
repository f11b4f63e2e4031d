//! Pings of clients, of which too many close the connection.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use blobaccess::Clock;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::activity::Activity;
use crate::server::listening::PingPolicy;

/// The length of the preface of HTTP/2, with which a client begins.
const PREFACE_BYTES: usize = 24;

/// The pings in a row that may come too early. The next one closes the connection, as in gRPC's own servers.
const MAX_EARLY_PINGS: u8 = 2;

/// The time between pings without a call, where none are permitted, as in gRPC's own servers.
const INTERVAL_WITHOUT_CALL: Duration = Duration::from_hours(2);

/// The frame of HTTP/2 that tells a client to ping less: `GOAWAY` with `ENHANCE_YOUR_CALM` and a text that clients of gRPC
/// know (RFC 9113, section 6.8; gRFC A8). The last stream is left open, as calls that have ended are not to be repeated.
const GOAWAY: &[u8] = b"\0\0\x16\x07\0\0\0\0\0\x7f\xff\xff\xff\0\0\0\x0btoo_many_pings";

/// The types of frames (RFC 9113, section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PING: u8 = 6;

/// The flag of a frame that answers another.
const ACK: u8 = 1;

/// The frames in one direction of a connection, from their bytes.
#[derive(Debug)]
struct Frames {
    /// The bytes of the preface, or of the current frame behind its header, that are to come.
    left: usize,
    header: [u8; 9],
    /// The bytes of the next header that have come.
    header_bytes: usize,
}

impl Frames {
    fn behind(preface_bytes: usize) -> Self {
        Self { left: preface_bytes, header: [0; 9], header_bytes: 0 }
    }

    /// Goes on by `bytes`, and tells `note` the type and the flags of each frame whose header ends in them.
    fn advance(&mut self, mut bytes: &[u8], mut note: impl FnMut(u8, u8)) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let skipped = self.left.min(bytes.len());
                self.left -= skipped;
                bytes = bytes.get(skipped..).unwrap_or_default();
                continue;
            }
            let taken = self.header.len().saturating_sub(self.header_bytes).min(bytes.len());
            let (come, rest) = bytes.split_at_checked(taken).unwrap_or((bytes, &[]));
            for (at, byte) in self.header.iter_mut().skip(self.header_bytes).zip(come) {
                *at = *byte;
            }
            self.header_bytes += taken;
            bytes = rest;
            if self.header_bytes == self.header.len() {
                let [first, second, third, kind, flags, ..] = self.header;
                let length = u32::from_be_bytes([0, first, second, third]);
                self.left = usize::try_from(length).unwrap_or(usize::MAX);
                self.header_bytes = 0;
                note(kind, flags);
            }
        }
    }

    /// Returns the bytes after which a frame ends for certain; zero if one has just ended.
    fn until_end(&self) -> usize {
        if self.left > 0 || self.header_bytes == 0 { self.left } else { self.header.len() - self.header_bytes }
    }
}

/// The count of early pings.
#[derive(Debug)]
struct EarlyPings {
    policy: PingPolicy,
    calls: Activity,
    clock: Arc<dyn Clock>,
    last: Option<Instant>,
    /// Whether a call has begun since the last ping, which may not be counted among the calls yet.
    has_begun_call: bool,
    count: u8,
}

impl EarlyPings {
    /// Counts a ping, and returns whether it is one too many.
    fn is_one_too_many(&mut self) -> bool {
        let now = self.clock.monotonic();
        let has_call = std::mem::take(&mut self.has_begun_call) || self.calls.has_call();
        let interval = match &self.policy {
            PingPolicy { permits_without_call: false, .. } if !has_call => INTERVAL_WITHOUT_CALL,
            PingPolicy { min_interval, .. } => *min_interval,
        };
        let last = self.last.replace(now);
        if last.is_some_and(|last| now.saturating_duration_since(last) < interval) {
            self.count = self.count.saturating_add(1);
        }
        self.count > MAX_EARLY_PINGS
    }
}

/// A connection that ends once its client has pinged too often.
#[derive(Debug)]
pub(super) struct WatchedPings<IO> {
    io: IO,
    /// `None` if clients may ping as often as they like.
    watch: Option<PingWatch>,
}

/// The frames of a connection, of which too many pings end it.
#[derive(Debug)]
pub(super) struct PingWatch {
    received: Frames,
    sent: Frames,
    pings: EarlyPings,
    /// The bytes of the last frame that were sent, once the connection is to end.
    last_frame_bytes: Option<usize>,
}

impl PingWatch {
    pub(super) fn new(policy: PingPolicy, calls: Activity, clock: Arc<dyn Clock>) -> Self {
        Self {
            received: Frames::behind(PREFACE_BYTES),
            sent: Frames::behind(0),
            pings: EarlyPings { policy, calls, clock, last: None, has_begun_call: false, count: 0 },
            last_frame_bytes: None,
        }
    }

    fn note_received(&mut self, bytes: &[u8]) {
        let Self { received, pings, last_frame_bytes, .. } = self;
        received.advance(bytes, |kind, flags| match kind {
            HEADERS => pings.has_begun_call = true,
            PING if flags & ACK == 0 && pings.is_one_too_many() && last_frame_bytes.is_none() => {
                tracing::debug!("client pings too often");
                *last_frame_bytes = Some(0);
            }
            _ => {}
        });
    }

    /// Notes the bytes that the client is sent. Behind contents it may ping, to measure the way that they take.
    fn note_sent(&mut self, bytes: &[u8]) {
        let Self { sent, pings, .. } = self;
        sent.advance(bytes, |kind, _| {
            if matches!(kind, DATA | HEADERS) {
                pings.count = 0;
                pings.last = None;
            }
        });
    }

    /// Returns whether the connection is to end.
    fn is_over(&self) -> bool {
        self.last_frame_bytes.is_some()
    }

    /// Sends what is left of the current frame, and then the last one.
    fn poll_last_write<IO: AsyncWrite + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let until_end = self.sent.until_end();
        if until_end > 0 {
            let bytes = bytes.get(..until_end).unwrap_or(bytes);
            let written = ready!(Pin::new(io).poll_write(cx, bytes))?;
            self.note_sent(bytes.get(..written).unwrap_or(bytes));
            return Poll::Ready(Ok(written));
        }
        while let Some(sent) = self.last_frame_bytes {
            let rest = GOAWAY.get(sent..).unwrap_or_default();
            let written = if rest.is_empty() { 0 } else { ready!(Pin::new(&mut *io).poll_write(cx, rest))? };
            if written == 0 {
                break;
            }
            self.last_frame_bytes = Some(sent.saturating_add(written));
        }
        ready!(Pin::new(io).poll_flush(cx))?;
        Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "client pings too often")))
    }
}

impl<IO> WatchedPings<IO> {
    pub(super) fn new(io: IO, watch: Option<PingWatch>) -> Self {
        Self { io, watch }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for WatchedPings<IO> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { io, watch } = &mut *self;
        let Some(watch) = watch else { return Pin::new(io).poll_read(cx, buf) };
        if watch.is_over() {
            // The answer to the last ping is sent, which ends the connection.
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let polled = Pin::new(io).poll_read(cx, buf);
        watch.note_received(buf.filled().get(before..).unwrap_or_default());
        polled
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for WatchedPings<IO> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let Self { io, watch } = &mut *self;
        let Some(watch) = watch else { return Pin::new(io).poll_write(cx, buf) };
        if watch.is_over() {
            return watch.poll_last_write(io, cx, buf);
        }
        let written = ready!(Pin::new(io).poll_write(cx, buf))?;
        watch.note_sent(buf.get(..written).unwrap_or(buf));
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { io, watch } = &mut *self;
        let Some(watch) = watch else { return Pin::new(io).poll_write_vectored(cx, bufs) };
        if watch.is_over() {
            let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| buf);
            return watch.poll_last_write(io, cx, first);
        }
        let written = ready!(Pin::new(io).poll_write_vectored(cx, bufs))?;
        let mut left = written;
        for buf in bufs {
            let bytes = buf.get(..left).unwrap_or(buf);
            watch.note_sent(bytes);
            left -= bytes.len();
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use blobaccess_testkit::ManualClock;

    use super::*;

    /// Returns a frame with an empty stream.
    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0, 0, u8::try_from(payload.len()).unwrap(), kind, flags, 0, 0, 0, 0];
        frame.extend(payload);
        frame
    }

    fn noted(bytes: &[u8], size: usize) -> Vec<(u8, u8)> {
        let (mut frames, mut found) = (Frames::behind(3), Vec::new());
        for piece in bytes.chunks(size) {
            frames.advance(piece, |kind, flags| found.push((kind, flags)));
        }
        assert_eq!(frames.until_end(), 0);
        found
    }

    #[test]
    fn frames_are_found_wherever_their_bytes_are_cut() {
        let mut bytes = b"PRI".to_vec();
        bytes.extend(
            [frame(4, 0, &[]), frame(PING, 0, &[6; 8]), frame(DATA, 1, &[0; 200]), frame(PING, ACK, &[0; 8])].concat(),
        );
        for size in 1..=bytes.len() {
            assert_eq!(noted(&bytes, size), [(4, 0), (PING, 0), (DATA, 1), (PING, ACK)], "{size}");
        }
    }

    #[test]
    fn the_last_frame_is_what_it_says() {
        assert_eq!(&GOAWAY[..9], frame(7, 0, &[0; 22])[..9].to_vec());
        assert_eq!(GOAWAY.len(), 9 + 22);
    }

    #[test]
    fn pings_may_come_after_each_interval_and_early_a_few_times() {
        let minute = Duration::from_mins(1);
        let clock = ManualClock::new();
        let calls = Activity::default();
        let watched = |permits_without_call: bool| {
            let policy = PingPolicy { min_interval: minute, permits_without_call };
            PingWatch::new(policy, calls.clone(), Arc::new(clock.clone()))
        };
        let ping = frame(PING, 0, &[0; 8]);
        let ping = |watched: &mut PingWatch| {
            watched.note_received(&ping);
            watched.is_over()
        };
        let begin = |watched: &mut PingWatch| watched.note_received(&[0; PREFACE_BYTES]);

        let mut permitted = watched(true);
        begin(&mut permitted);
        for _ in 0..10 {
            assert!(!ping(&mut permitted));
            clock.advance(minute);
        }
        assert!(!ping(&mut permitted) && !ping(&mut permitted) && !ping(&mut permitted), "two may be early");
        // The client measures the way of what it receives.
        permitted.note_sent(&frame(DATA, 0, b"contents"));
        assert!(!ping(&mut permitted) && !ping(&mut permitted) && !ping(&mut permitted));
        permitted.note_received(&frame(PING, ACK, &[0; 8]));
        assert!(!permitted.is_over(), "an answer is no ping");
        assert!(ping(&mut permitted));

        let mut forbidden = watched(false);
        begin(&mut forbidden);
        for expected in [false, false, false, true] {
            assert_eq!(ping(&mut forbidden), expected, "without a call");
            clock.advance(minute);
        }
        let call = calls.begin();
        let mut in_call = watched(false);
        begin(&mut in_call);
        for _ in 0..10 {
            assert!(!ping(&mut in_call));
            clock.advance(minute);
        }
        drop(call);
        assert!(!ping(&mut in_call));
        in_call.note_received(&frame(HEADERS, 4, b"a call"));
        clock.advance(minute);
        assert!(!ping(&mut in_call) && in_call.pings.count == 1, "a call that has just begun counts");
    }
}
