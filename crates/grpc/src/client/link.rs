//! A connection that is left once it no longer answers.

use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use blobaccess::Clock;
use tonic::transport::Channel;

use super::call_channel::CallChannel;
use super::connector::Connector;

/// The time that calls of a connection wait in vain, one after another or together, before a new connection is made.
///
/// A middle box that forgets a connection, or a node that is lost, says nothing. The connection would keep every call
/// until its time is up, for as long as the system goes on sending what was never acknowledged, which is a quarter of an
/// hour.
const SUSPECT_AFTER: Duration = Duration::from_secs(10);

/// A connection that is left for a new one once calls have waited on it in vain. Calls that are under way on the old one
/// go on there.
pub(super) struct Link {
    /// The way to make a new one; `None` if the channel was given.
    connector: Option<Arc<Connector>>,
    state: Mutex<State>,
}

struct State {
    channel: Channel,
    /// The number of the connection, by which addresses of one host are told apart.
    number: usize,
    /// The time that calls have waited in vain since the last answer.
    waited: Duration,
    /// The end of the time that has been counted.
    counted_until: Option<Instant>,
}

impl Link {
    /// Makes a connection that `connector` opens when it is first used, under this `number`.
    pub(super) fn lazy(connector: &Arc<Connector>, number: usize) -> Self {
        Self::new(Some(Arc::clone(connector)), connector.connect_lazy(number), number)
    }

    /// Makes a connection of a channel that was given, and stays.
    pub(super) fn given(channel: Channel) -> Self {
        Self::new(None, channel, 0)
    }

    fn new(connector: Option<Arc<Connector>>, channel: Channel, number: usize) -> Self {
        let state = State { channel, number, waited: Duration::ZERO, counted_until: None };
        Self { connector, state: Mutex::new(state) }
    }

    /// Returns the channel for the next call, and whether it is a new one. It must be called within a runtime.
    pub(super) fn channel(&self) -> (Channel, bool) {
        let mut state = self.state();
        let leaves = self.connector.as_ref().filter(|_| state.waited >= SUSPECT_AFTER);
        if let Some(connector) = leaves {
            // Another address, if there are several.
            state.number = state.number.wrapping_add(1);
            state.channel = connector.connect_lazy(state.number);
            state.waited = Duration::ZERO;
        }
        (state.channel.clone(), leaves.is_some())
    }

    fn answered(&self) {
        self.state().waited = Duration::ZERO;
    }

    /// Counts a wait in vain. Time that several calls have waited counts once.
    fn waited_in_vain(&self, began: Instant, now: Instant) {
        let mut state = self.state();
        let from = state.counted_until.map_or(began, |counted| counted.max(began));
        state.waited = state.waited.saturating_add(now.saturating_duration_since(from));
        state.counted_until = Some(now);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic cannot leave it half changed: nothing in between can fail.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Debug for Link {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("waited", &self.state().waited).finish_non_exhaustive()
    }
}

/// A call on a [`Link`]. If it is dropped before anything was heard, it has waited in vain.
#[derive(Debug)]
pub(super) struct Attempt {
    link: Arc<Link>,
    clock: Arc<dyn Clock>,
    channel: CallChannel,
    began: Instant,
    is_settled: bool,
}

impl Attempt {
    /// Begins a call on `channel`, which is that of `link`.
    pub(super) fn new(link: Arc<Link>, channel: CallChannel, clock: Arc<dyn Clock>) -> Self {
        let began = clock.monotonic();
        Self { link, clock, channel, began, is_settled: false }
    }

    /// Returns the channel to make the call on.
    pub(super) fn channel(&self) -> CallChannel {
        self.channel.clone()
    }

    /// Notes that the server was heard, or that the connection itself has failed and is made again anyway.
    pub(super) fn answered(mut self) {
        self.is_settled = true;
        self.link.answered();
    }

    /// Ends the call without saying anything about the connection.
    pub(super) fn leave(mut self) {
        self.is_settled = true;
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.is_settled {
            self.link.waited_in_vain(self.began, self.clock.monotonic());
        }
    }
}

#[cfg(test)]
mod tests {
    use blobaccess_testkit::ManualClock;

    use super::*;
    use crate::client::options::RemoteOptions;

    fn link() -> Arc<Link> {
        Arc::new(Link::lazy(&Arc::new(Connector::new(&RemoteOptions::new("http://localhost:1")).unwrap()), 0))
    }

    fn attempt(link: &Arc<Link>, clock: &ManualClock) -> Attempt {
        #[cfg(feature = "server")]
        let channel = CallChannel::new(link.channel().0, None);
        #[cfg(not(feature = "server"))]
        let channel = CallChannel::new(link.channel().0);
        Attempt::new(Arc::clone(link), channel, Arc::new(clock.clone()))
    }

    #[tokio::test]
    async fn a_connection_is_left_once_calls_have_waited_in_vain_for_long_enough() {
        let (link, clock) = (link(), ManualClock::new());
        let short = SUSPECT_AFTER / 2;
        for answered in [true, false] {
            attempt(&link, &clock).answered();
            let first = attempt(&link, &clock);
            clock.advance(short);
            drop(first);
            assert!(!link.channel().1);
            if answered {
                attempt(&link, &clock).answered();
            }
            let second = attempt(&link, &clock);
            clock.advance(short);
            drop(second);
            assert_eq!(link.channel().1, !answered);
        }
        assert!(!link.channel().1, "a new one has its own time");
    }

    #[tokio::test]
    async fn calls_that_wait_together_count_once_and_what_is_left_does_not() {
        let (link, clock) = (link(), ManualClock::new());
        let waiting: Vec<_> = (0..10).map(|_| attempt(&link, &clock)).collect();
        let left = attempt(&link, &clock);
        clock.advance(SUSPECT_AFTER.saturating_sub(Duration::from_millis(1)));
        drop(waiting);
        clock.advance(SUSPECT_AFTER);
        left.leave();
        assert!(!link.channel().1);
        let last = attempt(&link, &clock);
        clock.advance(Duration::from_millis(1));
        drop(last);
        assert!(link.channel().1);
    }

    #[tokio::test]
    async fn a_channel_that_was_given_stays() {
        let clock = ManualClock::new();
        let link = Arc::new(Link::given(link().channel().0));
        let waiting = attempt(&link, &clock);
        clock.advance(SUSPECT_AFTER * 10);
        drop(waiting);
        assert!(!link.channel().1);
    }
}
