//! The bodies of requests, whose bytes count while they are held, and which must go on arriving.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use blobaccess::Result;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use http_body::{Body, Frame, SizeHint};
use tonic::Status;

use super::call::Call;
use super::in_flight::FREE_BYTES;
use super::memory_pool::Share;
use super::message_count::MessageCount;

/// A method whose requests are streams of messages, each of which is done with when the next one is read. It has time-outs of its own,
/// by message.
const WRITE: &str = "/google.bytestream.ByteStream/Write";

/// The methods whose requests are streams of questions, which clients keep open as long as they may have one more.
const QUESTIONS: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// The memory that is taken in one step, in bytes, if there is as much.
const STEP_BYTES: u64 = 64 << 10;

/// The bytes that have to arrive within the idle time-out, unless the request ends: 64 KiB. In a minute, this is about
/// 1 KiB a second, which the slowest lines carry.
const PROGRESS_BYTES: u64 = 64 << 10;

/// The time in which nothing may arrive of a request that holds memory which others need. It is longer than a lost
/// packet takes to be sent again.
const PRESSED_TIMEOUT: Duration = Duration::from_secs(1);

/// The time that a request waits for memory before it is refused. In that time, those that do not go on are ended.
const PATIENCE: Duration = Duration::from_secs(3);

/// The body of a request.
///
/// The bytes of one message beyond the first [`FREE_BYTES`] are taken from the memory of requests as they arrive.
/// A request that cannot have more is refused after a moment: as long as it waits, it holds the window of its connection.
pub(crate) struct ReceivedBody<B> {
    body: B,
    call: Call,
    share: Share,
    /// The bytes since the message began that is not done with.
    held_bytes: u64,
    /// The ends of messages, in a stream of them.
    messages: Option<MessageCount>,
    /// The time in which more of the request has to arrive.
    timeout: Duration,
    alarm: Option<Alarm>,
    /// The data that waits for its share, the future of that, and the one that ends the wait.
    short: Option<(Bytes, BoxFuture<'static, Result<Share>>, BoxFuture<'static, ()>)>,
}

/// The alarm that looks after a client that does not send.
struct Alarm {
    at: BoxFuture<'static, ()>,
    /// The time that it was set for.
    step: Duration,
    /// The time since the last progress, as far as it is over.
    waited: Duration,
    /// The bytes that have arrived since the last progress.
    received_bytes: u64,
    /// The bytes that have arrived since it was set.
    new_bytes: u64,
}

impl<B> ReceivedBody<B> {
    /// Makes the body of `call` to the method at `path`.
    pub(crate) fn new(body: B, call: Call, path: &str) -> Self {
        let messages = (path == WRITE || QUESTIONS.contains(&path)).then(MessageCount::default);
        let timeout = if path == WRITE { Duration::MAX } else { call.limits().idle_timeout };
        let share = call.request_share();
        Self { body, call, share, held_bytes: 0, messages, timeout, alarm: None, short: None }
    }

    /// Takes memory for what has arrived. Returns false if there is none now.
    fn take(&mut self) -> Result<(), u64> {
        let beyond = self.held_bytes.saturating_sub(FREE_BYTES);
        let Some(lacking) = beyond.checked_sub(self.share.bytes()).filter(|lacking| *lacking > 0) else {
            return Ok(());
        };
        if lacking < STEP_BYTES && self.share.grow(STEP_BYTES) || self.share.grow(lacking) {
            return Ok(());
        }
        Err(lacking)
    }

    /// Looks after the time in which nothing comes.
    fn check_progress(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        let limits = self.call.limits();
        let holds = self.share.bytes() > 0;
        let timeout = self.timeout;
        if !holds && self.messages.is_some() {
            // A stream of messages that holds nothing may wait for its next one.
            self.alarm = None;
            return Poll::Pending;
        }
        let step = if holds { PRESSED_TIMEOUT.min(timeout) } else { timeout };
        let set = |waited, received_bytes| {
            let at = limits.clock.monotonic().checked_add(step);
            // An end that lies beyond all times never comes.
            let at = at.map_or_else(|| futures::future::pending().boxed(), |at| limits.clock.sleep_until(at));
            Alarm { at, step, waited, received_bytes, new_bytes: 0 }
        };
        let alarm = self.alarm.get_or_insert_with(|| set(Duration::ZERO, 0));
        if alarm.step > step {
            // It was set before there was anything to hold.
            *alarm = set(alarm.waited, alarm.received_bytes);
        }
        loop {
            ready!(alarm.at.poll_unpin(cx));
            let waited = alarm.waited.saturating_add(alarm.step);
            if holds && alarm.new_bytes == 0 && limits.in_flight.requests.is_pressed() {
                return Poll::Ready(Status::resource_exhausted(
                    "server needs the memory that this request holds, and nothing more has come of it",
                ));
            }
            *alarm = if alarm.received_bytes >= PROGRESS_BYTES {
                set(Duration::ZERO, 0)
            } else if waited >= timeout {
                let (seconds, received) = (timeout.as_secs_f64(), alarm.received_bytes);
                return Poll::Ready(Status::deadline_exceeded(format!(
                    "{received} bytes of a request came within {seconds} s, and it is not complete"
                )));
            } else {
                set(waited, alarm.received_bytes)
            };
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for ReceivedBody<B>
where
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = &mut *self;
        if let Some((_, granted, expired)) = &mut this.short {
            let Poll::Ready(granted) = granted.poll_unpin(cx) else {
                ready!(expired.poll_unpin(cx));
                let capacity = this.call.limits().in_flight.requests.capacity();
                let status = Status::resource_exhausted(format!(
                    "requests under way hold all of their {capacity} bytes, or what one connection may hold of them"
                ));
                return Poll::Ready(Some(Err(status.into())));
            };
            this.share.merge(granted?);
            let data = this.short.take().map(|(data, _, _)| data).unwrap_or_default();
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        // Who reads on is done with all messages that were complete.
        if let Some(messages) = &this.messages
            && this.held_bytes > 0
        {
            this.held_bytes = messages.begun_bytes();
            if this.held_bytes <= FREE_BYTES {
                this.share.clear();
            }
        }
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
            return this.check_progress(cx).map(|status| Some(Err(status.into())));
        };
        let Some(frame) = frame.transpose().map_err(Into::into)? else { return Poll::Ready(None) };
        let Ok(data) = frame.into_data() else { return Pin::new(this).poll_frame(cx) };
        let bytes = u64::try_from(data.len()).unwrap_or(u64::MAX);
        if let Some(messages) = &mut this.messages {
            messages.count(&data);
        }
        this.held_bytes = this.held_bytes.saturating_add(bytes);
        if let Some(alarm) = &mut this.alarm {
            alarm.received_bytes = alarm.received_bytes.saturating_add(bytes);
            alarm.new_bytes = alarm.new_bytes.saturating_add(bytes);
        }
        if let Err(lacking) = this.take() {
            let limits = this.call.limits();
            let expired = limits.clock.monotonic().checked_add(PATIENCE);
            let expired = expired.map_or_else(|| futures::future::pending().boxed(), |at| limits.clock.sleep_until(at));
            this.short = Some((data, this.call.clone().more_of_request(lacking).boxed(), expired));
            return Pin::new(this).poll_frame(cx);
        }
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.short.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.short.is_some() { SizeHint::default() } else { self.body.size_hint() }
    }
}
