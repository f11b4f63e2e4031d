//! The health of a replica, by instance name.

use std::fmt::{self, Debug, Formatter};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use lru::LruCache;

use crate::InstanceName;
use crate::locks::{Mutex, MutexGuard};

/// The health of a replica, by instance name: of the names that were read from most recently.
pub(super) struct Names {
    /// `None` if nothing is remembered.
    states: Option<Mutex<States>>,
    duration: Duration,
    canaries: AtomicU64,
    failures: AtomicU64,
}

struct States {
    by_name: LruCache<InstanceName, State>,
    /// The number of canaries so far, which numbers them.
    canaries: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A canary is on its way.
    Tested {
        canary: u64,
    },
    Healthy {
        until: Instant,
    },
    Unhealthy {
        until: Instant,
    },
}

/// A read from the replica, whose end tells whether the replica is healthy.
///
/// A canary that is dropped without a verdict lets the next read be one.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    names: &'a Arc<Names>,
    name: &'a InstanceName,
    /// The number of the canary, if this is one. `None` also once there is a verdict.
    canary: Option<u64>,
}

/// An [`Attempt`] that outlives its call, and that more than one may judge. The first verdict counts.
#[derive(Debug)]
pub(super) struct SharedAttempt {
    names: Arc<Names>,
    name: InstanceName,
    canary: Option<u64>,
    has_verdict: AtomicBool,
}

/// The numbers of a [`Names`].
pub(super) struct Counts {
    pub(super) names: usize,
    pub(super) unhealthy: usize,
    pub(super) canaries: u64,
    pub(super) failures: u64,
}

impl Names {
    /// Remembers the health of up to `capacity` names, for `duration` each.
    pub(super) fn new(capacity: usize, duration: Duration) -> Arc<Self> {
        let states = NonZeroUsize::new(capacity)
            .map(|capacity| Mutex::new(States { by_name: LruCache::sparse(capacity), canaries: 0 }));
        let (canaries, failures) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Self { states, duration, canaries, failures })
    }

    /// Begins a read of `name` from the replica at `now`. Returns `None` if the source is to be read.
    pub(super) fn begin<'a>(self: &'a Arc<Self>, name: &'a InstanceName, now: Instant) -> Option<Attempt<'a>> {
        let canary = match &self.states {
            None => None,
            Some(states) => lock(states).route(name, now)?,
        };
        if canary.is_some() || self.states.is_none() {
            self.canaries.fetch_add(1, Ordering::Relaxed);
        }
        Some(Attempt { names: self, name, canary })
    }

    pub(super) fn counts(&self, now: Instant) -> Counts {
        let (mut names, mut unhealthy) = (0, 0);
        if let Some(states) = &self.states {
            let states = lock(states);
            names = states.by_name.len();
            unhealthy = states.by_name.iter().filter(|(_, state)| state.is_unhealthy(now)).count();
        }
        let (canaries, failures) = (self.canaries.load(Ordering::Relaxed), self.failures.load(Ordering::Relaxed));
        Counts { names, unhealthy, canaries, failures }
    }

    /// Records that the replica has answered at `now`.
    fn succeed(&self, name: &InstanceName, now: Instant) {
        self.set(name, State::Healthy { until: now + self.duration });
    }

    /// Records that the replica has failed at `now`.
    fn fail(&self, name: &InstanceName, now: Instant) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        self.set(name, State::Unhealthy { until: now + self.duration });
    }

    /// Forgets the `canary`, which has ended without a verdict.
    fn give_up(&self, name: &InstanceName, canary: u64) {
        if let Some(states) = &self.states {
            let mut states = lock(states);
            if states.by_name.peek(name) == Some(&State::Tested { canary }) {
                states.by_name.pop(name);
            }
        }
    }

    fn set(&self, name: &InstanceName, state: State) {
        if let Some(states) = &self.states {
            let mut states = lock(states);
            match states.by_name.peek_mut(name) {
                Some(known) => *known = state,
                None => drop(states.by_name.put(name.clone(), state)),
            }
        }
    }
}

impl States {
    /// Returns the number of the canary that a read of `name` is, or `Some(None)` if the replica is known to be healthy,
    /// or `None` if the source is to be read.
    #[expect(clippy::option_option, reason = "three ways to go, which the caller takes apart at once")]
    fn route(&mut self, name: &InstanceName, now: Instant) -> Option<Option<u64>> {
        let number = self.canaries + 1;
        let test = State::Tested { canary: number };
        match self.by_name.get_mut(name) {
            Some(State::Tested { .. }) => return None,
            Some(State::Healthy { until }) if now < *until => return Some(None),
            Some(State::Unhealthy { until }) if now < *until => return None,
            Some(state) => *state = test,
            None => drop(self.by_name.put(name.clone(), test)),
        }
        self.canaries = number;
        Some(Some(number))
    }
}

impl State {
    fn is_unhealthy(self, now: Instant) -> bool {
        matches!(self, Self::Unhealthy { until } if now < until)
    }
}

impl Attempt<'_> {
    /// Returns whether the health of the replica was not known.
    pub(super) fn is_canary(&self) -> bool {
        self.canary.is_some() || self.names.states.is_none()
    }

    /// Records that the replica has answered, at `now`.
    pub(super) fn succeed(mut self, now: Instant) {
        self.canary = None;
        self.names.succeed(self.name, now);
    }

    /// Records that the replica has failed, at `now`.
    pub(super) fn fail(mut self, now: Instant) {
        self.canary = None;
        self.names.fail(self.name, now);
    }

    /// Leaves the verdict to what outlives this call.
    pub(super) fn share(mut self) -> SharedAttempt {
        let (canary, has_verdict) = (self.canary.take(), AtomicBool::new(false));
        SharedAttempt { names: Arc::clone(self.names), name: self.name.clone(), canary, has_verdict }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if let Some(canary) = self.canary {
            self.names.give_up(self.name, canary);
        }
    }
}

impl SharedAttempt {
    /// Records that the replica has answered, at `now`, unless there is a verdict.
    pub(super) fn succeed(&self, now: Instant) {
        if !self.has_verdict.swap(true, Ordering::Relaxed) {
            self.names.succeed(&self.name, now);
        }
    }

    /// Records that the replica has failed, at `now`, unless there is a verdict.
    pub(super) fn fail(&self, now: Instant) {
        if !self.has_verdict.swap(true, Ordering::Relaxed) {
            self.names.fail(&self.name, now);
        }
    }
}

impl Drop for SharedAttempt {
    fn drop(&mut self) {
        if let (Some(canary), false) = (self.canary, *self.has_verdict.get_mut()) {
            self.names.give_up(&self.name, canary);
        }
    }
}

fn lock(states: &Mutex<States>) -> MutexGuard<'_, States> {
    // Each change is of one name, and complete by itself.
    states.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Debug for Names {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").field("duration", &self.duration).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Clock, SystemClock};

    const DURATION: Duration = Duration::from_mins(5);
    /// Just too little for a verdict to be over.
    const NEARLY: Duration = Duration::from_nanos(5 * 60 * 1_000_000_000 - 1);

    fn name(name: &str) -> InstanceName {
        InstanceName::new(name).unwrap()
    }

    fn is_canary(names: &Arc<Names>, of: &str, now: Instant) -> Option<bool> {
        names.begin(&name(of), now).map(|attempt| attempt.is_canary())
    }

    #[test]
    fn one_canary_at_a_time_and_its_verdict_holds_until_its_duration_exclusively() {
        let (names, now) = (Names::new(9, DURATION), SystemClock.monotonic());
        let a = name("a");
        let canary = names.begin(&a, now).unwrap();
        assert!(canary.is_canary());
        assert!(names.begin(&name("a"), now).is_none(), "the canary is on its way");
        assert!(names.begin(&name("b"), now).is_some(), "another name");
        canary.succeed(now);
        assert_eq!(is_canary(&names, "a", now + NEARLY), Some(false));
        assert_eq!(is_canary(&names, "a", now + DURATION), Some(true));
    }

    #[test]
    fn a_failure_sends_reads_to_the_source() {
        let (names, now) = (Names::new(9, DURATION), SystemClock.monotonic());
        names.begin(&name("a"), now).unwrap().fail(now);
        assert!(names.begin(&name("a"), now + NEARLY).is_none());
        assert_eq!(names.counts(now).unhealthy, 1);
        assert_eq!(names.counts(now + DURATION).unhealthy, 0);
        assert_eq!(is_canary(&names, "a", now + DURATION), Some(true));
    }

    #[test]
    fn the_first_verdict_of_a_read_counts() {
        let (names, now) = (Names::new(9, DURATION), SystemClock.monotonic());
        let a = name("a");
        let read = names.begin(&a, now).unwrap().share();
        read.fail(now);
        read.succeed(now);
        assert!(names.begin(&name("a"), now).is_none());
        assert_eq!(names.counts(now).failures, 1);
    }

    #[test]
    fn a_canary_without_a_verdict_lets_the_next_read_be_one() {
        let (names, now) = (Names::new(9, DURATION), SystemClock.monotonic());
        drop(names.begin(&name("a"), now).unwrap());
        let a = name("a");
        let second = names.begin(&a, now).unwrap();
        assert!(second.is_canary());
        assert!(names.begin(&name("a"), now).is_none());
    }

    #[test]
    fn an_older_canary_does_not_end_a_newer_one() {
        let (names, now) = (Names::new(1, DURATION), SystemClock.monotonic());
        let (a, b) = (name("a"), name("b"));
        let older = names.begin(&a, now).unwrap();
        let _other = names.begin(&b, now).unwrap();
        let _newer = names.begin(&a, now).unwrap();
        drop(older);
        assert!(names.begin(&name("a"), now).is_none());
    }

    #[test]
    fn no_more_names_are_remembered_than_permitted() {
        let (names, now) = (Names::new(2, DURATION), SystemClock.monotonic());
        for of in ["a", "b", "c"] {
            names.begin(&name(of), now).unwrap().fail(now);
        }
        assert_eq!(names.counts(now).names, 2);
        assert_eq!(is_canary(&names, "a", now), Some(true));
        assert_eq!(is_canary(&names, "c", now), None);
    }

    #[test]
    fn with_no_capacity_every_read_is_a_canary() {
        let (names, now) = (Names::new(0, DURATION), SystemClock.monotonic());
        for _ in 0..2 {
            let a = name("a");
            let read = names.begin(&a, now).unwrap();
            assert!(read.is_canary());
            read.fail(now);
        }
        assert_eq!(names.counts(now).canaries, 2);
    }
}
