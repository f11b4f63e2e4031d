//! The time, as something that a test can set.

use std::fmt::Debug;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use futures::FutureExt;
use futures::future::BoxFuture;

/// A source of time.
///
/// Everything in these crates that depends on time takes one, so that a test needs neither to wait nor to hope.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Returns the time of day.
    fn now(&self) -> SystemTime;

    /// Returns a time that never goes back, to measure durations by.
    ///
    /// Instants of different clocks must not be compared.
    fn monotonic(&self) -> Instant;

    /// Ends once [`monotonic`](Self::monotonic) has reached `deadline`.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any time.
    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()>;
}

/// The deadline came before the work ended: the error of `<dyn Clock>::timeout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the deadline has passed")]
pub struct DeadlineElapsed;

impl dyn Clock {
    /// Waits for `work`, up to `deadline`; without one, as long as the work takes.
    ///
    /// The work is polled first. So work that is ready succeeds even if the deadline has passed, and needs no timer.
    ///
    /// # Errors
    ///
    /// [`DeadlineElapsed`] if the deadline comes first. The work is dropped then.
    ///
    /// # Cancel safety
    ///
    /// Dropping the returned future drops the work.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::time::Duration;
    ///
    /// use blobaccess::{Clock, DeadlineElapsed, SystemClock};
    ///
    /// let clock: &dyn Clock = &SystemClock;
    /// let deadline = clock.monotonic() + Duration::from_millis(1);
    /// assert_eq!(clock.timeout(Some(deadline), async { 1 }).await, Ok(1));
    /// assert_eq!(clock.timeout(Some(deadline), std::future::pending::<u8>()).await, Err(DeadlineElapsed));
    /// # }
    /// ```
    pub async fn timeout<F: Future>(&self, deadline: Option<Instant>, work: F) -> Result<F::Output, DeadlineElapsed> {
        let Some(deadline) = deadline else { return Ok(work.await) };
        let mut work = pin!(work);
        let mut alarm = None;
        poll_fn(|poller| {
            if let Poll::Ready(output) = work.as_mut().poll(poller) {
                return Poll::Ready(Ok(output));
            }
            let alarm = alarm.get_or_insert_with(|| self.sleep_until(deadline));
            alarm.poll_unpin(poller).map(|()| Err(DeadlineElapsed))
        })
        .await
    }

    /// Waits for `duration`; for ever, if no time is as far away.
    pub(crate) async fn sleep(&self, duration: Duration) {
        match self.monotonic().checked_add(duration) {
            Some(deadline) => self.sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    }
}

/// The time of the machine, through tokio: a runtime whose time is paused pauses this clock's monotonic time too.
///
/// # Panics
///
/// [`sleep_until`](Clock::sleep_until) panics outside a tokio runtime that has its time enabled.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[expect(clippy::disallowed_methods, reason = "this is the clock that all others are to be taken from")]
impl Clock for SystemClock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn monotonic(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep_until(deadline.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A clock that counts the timers it has made.
    #[derive(Debug, Default)]
    struct CountingClock(AtomicUsize);

    impl Clock for CountingClock {
        fn now(&self) -> SystemTime {
            SystemClock.now()
        }

        fn monotonic(&self) -> Instant {
            SystemClock.monotonic()
        }

        fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
            self.0.fetch_add(1, Ordering::Relaxed);
            SystemClock.sleep_until(deadline)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn work_ends_by_itself_or_at_the_deadline() {
        let clock: &dyn Clock = &SystemClock;
        let began = clock.monotonic();
        let deadline = began + Duration::from_secs(5);
        let work = async {
            clock.sleep_until(began + Duration::from_secs(3)).await;
            "done"
        };
        assert_eq!(clock.timeout(Some(deadline), work).await, Ok("done"));
        assert_eq!(clock.timeout(Some(deadline), std::future::pending::<()>()).await, Err(DeadlineElapsed));
        assert_eq!(clock.monotonic() - began, Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn no_timer_is_made_without_a_deadline_nor_for_work_that_is_ready() {
        let clock = CountingClock::default();
        let timers = |clock: &CountingClock| clock.0.load(Ordering::Relaxed);
        let dyn_clock: &dyn Clock = &clock;
        assert_eq!(dyn_clock.timeout(None, tokio::task::yield_now()).await, Ok(()));
        assert_eq!(dyn_clock.timeout(Some(clock.monotonic()), async { 1 }).await, Ok(1));
        assert_eq!(timers(&clock), 0);
        let deadline = clock.monotonic() + Duration::from_secs(1);
        assert_eq!(dyn_clock.timeout(Some(deadline), tokio::task::yield_now()).await, Ok(()));
        assert_eq!(timers(&clock), 1);
    }
}
