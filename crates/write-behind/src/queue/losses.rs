//! The contents that were not uploaded, so that no action result is uploaded that needs them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use blobaccess::{Clock, Digest, DigestSet, InstanceName};

/// The contents that were not uploaded: their uploads were dropped, or failed for good.
///
/// If there are more than can be remembered, every digest is taken for one that may be lost, until some time after: nothing
/// is forgotten in silence.
#[derive(Debug)]
pub(super) struct Losses {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    max: usize,
    lost_for: Duration,
}

#[derive(Debug, Default)]
struct State {
    lost: HashMap<Digest, Instant>,
    /// The last time at which one was forgotten.
    forgotten: Option<Instant>,
}

impl Losses {
    pub(super) fn new(clock: Arc<dyn Clock>, max: usize, lost_for: Duration) -> Self {
        Self { clock, state: Mutex::default(), max, lost_for }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic cannot leave the map half changed: each use of it is one call.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key(digest: &Digest) -> Digest {
        digest.with_instance_name(InstanceName::empty())
    }

    pub(super) fn add(&self, digest: &Digest) {
        let now = self.clock.monotonic();
        let mut state = self.state();
        state.lost.insert(Self::key(digest), now);
        if state.lost.len() > self.max {
            let before = state.lost.len();
            let lost_for = self.lost_for;
            state.lost.retain(|_, since| now.saturating_duration_since(*since) <= lost_for);
            if state.lost.len() > self.max {
                // Otherwise each further one would go through all of them.
                state.lost.clear();
            }
            if state.lost.len() < before {
                state.forgotten = Some(now);
            }
        }
    }

    pub(super) fn remove(&self, digest: &Digest) {
        let mut state = self.state();
        if !state.lost.is_empty() {
            state.lost.remove(&Self::key(digest));
        }
    }

    /// Returns whether any contents may be lost.
    pub(super) fn any(&self) -> bool {
        let state = self.state();
        !state.lost.is_empty() || self.has_forgotten(&state)
    }

    fn has_forgotten(&self, state: &State) -> bool {
        let now = self.clock.monotonic();
        state.forgotten.is_some_and(|since| now.saturating_duration_since(since) <= self.lost_for)
    }

    /// Returns those of `digests` that may be lost.
    pub(super) fn suspects(&self, digests: &DigestSet) -> DigestSet {
        let state = self.state();
        if self.has_forgotten(&state) {
            return digests.clone();
        }
        digests.filter(|digest| state.lost.contains_key(&Self::key(digest)))
    }
}
