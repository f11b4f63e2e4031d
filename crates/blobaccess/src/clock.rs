//! The time, as something that a test can set.

use std::fmt::Debug;
use std::time::{Instant, SystemTime};

use futures::future::BoxFuture;

/// A source of time.
///
/// Everything in these crates that depends on time takes one, so that a test needs neither to wait nor to hope.
pub trait Clock: Debug + Send + Sync + 'static {
    /// The time of day.
    fn now(&self) -> SystemTime;

    /// A time that never goes back, to measure durations by.
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
