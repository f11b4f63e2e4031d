//! The calls of one connection, to tell when it is idle.

use std::sync::Arc;
use std::time::Duration;

use blobaccess::Clock;
use tokio::sync::watch;

/// The number of open calls of a connection.
#[derive(Clone, Debug)]
pub(super) struct Activity {
    open: Arc<watch::Sender<usize>>,
}

impl Default for Activity {
    fn default() -> Self {
        Self { open: Arc::new(watch::Sender::new(0)) }
    }
}

/// A call that is open until this is dropped.
#[derive(Debug)]
pub(super) struct OpenCall(Activity);

impl Activity {
    /// Counts a call that begins.
    pub(super) fn begin(&self) -> OpenCall {
        self.open.send_modify(|open| *open += 1);
        OpenCall(self.clone())
    }

    /// Returns whether a call is open.
    pub(super) fn has_call(&self) -> bool {
        *self.open.borrow() > 0
    }

    /// Waits until no call was open for this time without a break.
    pub(super) async fn idle_for(&self, duration: Duration, clock: &dyn Clock) {
        let mut open = self.open.subscribe();
        loop {
            let is_idle = *open.borrow_and_update() == 0;
            let end = clock.monotonic().checked_add(duration).filter(|_| is_idle);
            // The sender is at hand, so that the channel is not closed.
            if clock.timeout(end, open.changed()).await.is_err() {
                return;
            }
        }
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.0.open.send_modify(|open| *open = open.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use blobaccess_testkit::ManualClock;
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_connection_is_idle_from_its_last_call_on() {
        let (activity, clock) = (Activity::default(), ManualClock::new());
        let minute = Duration::from_mins(1);
        let mut idle = Box::pin(activity.idle_for(minute, &clock));
        assert!((&mut idle).now_or_never().is_none());
        clock.advance(minute / 2);
        // It is over before anybody looks.
        drop(activity.begin());
        assert!((&mut idle).now_or_never().is_none());
        clock.advance(minute / 2);
        assert!((&mut idle).now_or_never().is_none(), "the time begins anew");

        let (call, other) = (activity.begin(), activity.begin());
        clock.advance(minute);
        drop(other);
        assert!((&mut idle).now_or_never().is_none(), "a call is open");
        clock.advance(minute);
        assert!((&mut idle).now_or_never().is_none(), "a call is open");
        drop(call);
        assert!((&mut idle).now_or_never().is_none());
        clock.advance(minute);
        idle.await;
    }
}
