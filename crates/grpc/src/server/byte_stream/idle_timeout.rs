//! Waits a limited time for the next message of a client.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use blobaccess::Clock;
use futures::{FutureExt, Stream, StreamExt};

/// A time to wait, and the clock to measure it by.
#[derive(Clone, Debug)]
pub(super) struct IdleTimeout {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) timeout: Duration,
}

impl IdleTimeout {
    /// Returns the next item of `stream`, or `Some(None)` at its end; `None` if that takes too long. The clock is not
    /// read if an item is ready.
    pub(super) async fn next<S: Stream + Unpin>(&self, stream: &mut S) -> Option<Option<S::Item>> {
        self.next_that(stream, |_| true).await
    }

    /// Does as [`next`](Self::next), but passes over items that do not count. They do not make the time longer.
    pub(super) async fn next_that<S: Stream + Unpin>(
        &self,
        stream: &mut S,
        counts: fn(&S::Item) -> bool,
    ) -> Option<Option<S::Item>> {
        let mut alarm = None;
        poll_fn(|poller| {
            match stream.poll_next_unpin(poller) {
                // Looks for the next one after a look at the clock.
                Poll::Ready(Some(item)) if !counts(&item) => poller.waker().wake_by_ref(),
                Poll::Ready(item) => return Poll::Ready(Some(item)),
                Poll::Pending => {}
            }
            let alarm = alarm.get_or_insert_with(|| {
                // An end that lies beyond all times never comes.
                let end = self.clock.monotonic().checked_add(self.timeout);
                end.map_or_else(|| futures::future::pending().boxed(), |end| self.clock.sleep_until(end))
            });
            alarm.poll_unpin(poller).map(|()| None)
        })
        .await
    }
}
