//! The tasks of calls, which end with clients that do not read.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use blobaccess::Clock;
use futures::FutureExt;
use futures::future::BoxFuture;
use hyper::rt::Executor;

use crate::server::call::Call;

/// The time in which a client may take no piece of an answer whose memory others need. It is longer than a lost packet takes to be
/// sent again.
const PRESSED_TIMEOUT: Duration = Duration::from_secs(1);

/// The executor of one connection.
///
/// The transport makes a call of each request and executes it right after that, from one task. What it executes next so
/// belongs to the call that was made last.
#[derive(Clone, Debug)]
pub(super) struct CallTasks {
    next: Arc<Mutex<Option<Call>>>,
    clock: Arc<dyn Clock>,
    send_timeout: Duration,
}

impl CallTasks {
    /// Makes an executor that ends calls whose clients take nothing for `send_timeout`.
    pub(super) fn new(clock: Arc<dyn Clock>, send_timeout: Duration) -> Self {
        Self { next: Arc::default(), clock, send_timeout }
    }

    /// Says which call is executed next.
    pub(super) fn begin(&self, call: Call) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(call);
    }
}

impl<F> Executor<F> for CallTasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        let call = self.next.lock().unwrap_or_else(PoisonError::into_inner).take();
        match call {
            Some(call) => {
                let (clock, send_timeout) = (Arc::clone(&self.clock), self.send_timeout);
                drop(tokio::spawn(run(future, Reader { call, clock, send_timeout, alarm: None })));
            }
            None => drop(tokio::spawn(future)),
        }
    }
}

/// Runs a call until its answer was handed to the transport, or `reader` does not read it. Dropping it resets its stream.
async fn run(future: impl Future<Output = ()>, mut reader: Reader) {
    let mut future = pin!(future);
    poll_fn(|cx| if future.as_mut().poll(cx).is_ready() { Poll::Ready(()) } else { reader.poll_stalled(cx) }).await;
}

/// The client of a call, who is to read its answer.
struct Reader {
    call: Call,
    clock: Arc<dyn Clock>,
    send_timeout: Duration,
    alarm: Option<Alarm>,
}

/// The alarm that looks after a client that does not read.
struct Alarm {
    at: BoxFuture<'static, ()>,
    /// The time that it was set for.
    step: Duration,
    /// The piece that was not sent then.
    piece: u32,
    /// The time since that piece, as far as it is over.
    waited: Duration,
}

impl Reader {
    /// Returns once the client has not taken a piece for too long.
    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(piece) = self.call.unsent_piece() else { return Poll::Pending };
        let step = if self.call.holds_answer() { PRESSED_TIMEOUT.min(self.send_timeout) } else { self.send_timeout };
        let set = |waited| {
            let at = self.clock.monotonic().checked_add(step);
            // An end that lies beyond all times never comes.
            let at = at.map_or_else(|| futures::future::pending().boxed(), |at| self.clock.sleep_until(at));
            Alarm { at, step, piece, waited }
        };
        let alarm = self.alarm.get_or_insert_with(|| set(Duration::ZERO));
        if alarm.step > step {
            // It was set before there was anything to hold.
            *alarm = set(alarm.waited);
        }
        while alarm.at.poll_unpin(cx).is_ready() {
            let waited = alarm.waited.saturating_add(alarm.step);
            let has_moved = alarm.piece != piece;
            if !has_moved && (waited >= self.send_timeout || self.call.is_wanted()) {
                tracing::debug!("client does not read its answer");
                return Poll::Ready(());
            }
            *alarm = set(if has_moved { Duration::ZERO } else { waited });
        }
        Poll::Pending
    }
}
