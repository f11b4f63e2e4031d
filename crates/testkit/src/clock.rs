//! A clock that stands still until a test moves it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use blobaccess::{Clock, SystemClock};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{oneshot, watch};

/// A [`Clock`] that stands still until a test moves it. Clones are the same clock.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, SystemTime};
///
/// use blobaccess::Clock;
/// use blobaccess_testkit::ManualClock;
///
/// let clock = ManualClock::new();
/// let begin = clock.monotonic();
/// clock.advance(Duration::from_secs(5));
/// assert_eq!(clock.monotonic() - begin, Duration::from_secs(5));
/// assert_eq!(clock.now(), SystemTime::UNIX_EPOCH + Duration::from_secs(5));
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock {
    state: Arc<Mutex<State>>,
    sleepers: watch::Sender<usize>,
}

#[derive(Debug)]
struct State {
    now: SystemTime,
    monotonic: Instant,
    sleeping: Vec<(Instant, oneshot::Sender<()>)>,
}

impl ManualClock {
    /// Makes a clock that stands at the beginning of 1970.
    #[must_use]
    pub fn new() -> Self {
        let state = State { now: SystemTime::UNIX_EPOCH, monotonic: SystemClock.monotonic(), sleeping: Vec::new() };
        Self { state: Arc::new(Mutex::new(state)), sleepers: watch::Sender::new(0) }
    }

    /// Advances both times, and wakes the sleepers whose time has come.
    pub fn advance(&self, duration: Duration) {
        let mut state = self.lock();
        state.now += duration;
        state.monotonic += duration;
        self.wake(&mut state);
    }

    /// Sets the time of day, which may go back, unlike the monotonic time.
    pub fn set_now(&self, now: SystemTime) {
        self.lock().now = now;
    }

    /// Returns the number of sleepers whose time has not come. A sleeper that was dropped does not count.
    #[must_use]
    pub fn sleepers(&self) -> usize {
        let mut state = self.lock();
        self.wake(&mut state);
        state.sleeping.len()
    }

    /// Waits until at least `count` sleepers wait for a time that has not come. Time may be advanced then.
    pub async fn until_sleepers(&self, count: usize) {
        let mut sleepers = self.sleepers.subscribe();
        // This clock has the sender, so the channel is not closed.
        drop(sleepers.wait_for(|sleepers| *sleepers >= count).await);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Adding to a time may panic, before it has changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, state: &mut State) {
        let now = state.monotonic;
        for (_, sleeper) in state.sleeping.extract_if(.., |(deadline, sleeper)| *deadline <= now || sleeper.is_closed())
        {
            // A sleeper that was dropped need not be woken.
            let _: Result<(), ()> = sleeper.send(());
        }
        self.sleepers.send_replace(state.sleeping.len());
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        self.lock().now
    }

    fn monotonic(&self) -> Instant {
        self.lock().monotonic
    }

    fn sleep_until(&self, deadline: Instant) -> BoxFuture<'static, ()> {
        let clock = self.clone();
        async move {
            let woken = {
                let (sender, woken) = oneshot::channel();
                let mut state = clock.lock();
                state.sleeping.push((deadline, sender));
                clock.wake(&mut state);
                woken
            };
            // The sender is dropped only when it has sent.
            let _: Result<(), _> = woken.await;
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use futures::poll;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn a_sleeper_wakes_when_its_time_has_come_and_not_before() {
        let clock = ManualClock::new();
        let mut sleep = clock.sleep_until(clock.monotonic() + 2 * SECOND);
        assert!(poll!(&mut sleep).is_pending());
        clock.advance(SECOND);
        assert!(poll!(&mut sleep).is_pending());
        assert_eq!(clock.sleepers(), 1);
        clock.advance(SECOND);
        assert!(poll!(&mut sleep).is_ready());
        assert_eq!(clock.sleepers(), 0);
    }

    #[tokio::test]
    async fn to_sleep_until_a_time_that_has_passed_is_not_to_sleep() {
        let clock = ManualClock::new();
        clock.sleep_until(clock.monotonic()).await;
    }

    #[tokio::test]
    async fn one_can_wait_for_sleepers() {
        let clock = ManualClock::new();
        let sleep = tokio::spawn(clock.sleep_until(clock.monotonic() + SECOND));
        clock.until_sleepers(1).await;
        clock.advance(SECOND);
        sleep.await.unwrap();
    }

    #[test]
    fn the_time_of_day_may_go_back() {
        let clock = ManualClock::new();
        clock.advance(9 * SECOND);
        let monotonic = clock.monotonic();
        clock.set_now(SystemTime::UNIX_EPOCH);
        assert_eq!(clock.now(), SystemTime::UNIX_EPOCH);
        assert_eq!(clock.monotonic(), monotonic);
    }
}
