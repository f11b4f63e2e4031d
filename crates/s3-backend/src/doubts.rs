//! The puts that may have stored their object although no answer said so, by their tokens.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use blobaccess::UploadToken;

/// The number of puts that are remembered, at some 60 bytes each.
const MAX: usize = 16_384;

/// The times at which puts began that may have stored their object. A caller that repeats a put does so under the same token.
///
/// If there are more than can be remembered, every put counts as one that began when the first of them did.
#[derive(Debug, Default)]
pub(crate) struct Doubts(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    begun: HashMap<UploadToken, Instant>,
    forgotten: Option<Instant>,
}

impl Doubts {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic cannot leave the map half changed: each use of it is one call.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a put under `token` begins. Returns when the first put under it began, and whether that was an earlier one.
    pub(crate) fn begin(&self, token: UploadToken, now: Instant) -> (Instant, bool) {
        let mut state = self.state();
        if let Some(since) = state.begun.get(&token) {
            return (*since, true);
        }
        if state.begun.len() >= MAX {
            let first = state.begun.values().copied().chain(state.forgotten).min();
            state.begun.clear();
            state.forgotten = first;
        }
        let since = state.forgotten.unwrap_or(now);
        state.begun.insert(token, since);
        (since, false)
    }

    /// Forgets a put whose end is known.
    pub(crate) fn end(&self, token: &UploadToken) {
        self.state().begun.remove(token);
    }

    /// Returns when the first put under `token` began, if none has ended.
    pub(crate) fn since(&self, token: &UploadToken) -> Option<Instant> {
        self.state().begun.get(token).copied()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use blobaccess::Clock;
    use blobaccess_testkit::ManualClock;

    use super::*;

    #[test]
    fn the_first_put_under_a_token_counts_also_if_it_is_forgotten() {
        let (doubts, begin) = (Doubts::default(), ManualClock::new().monotonic());
        let token = |number: usize| UploadToken::from_bytes(u128::try_from(number).unwrap().to_be_bytes());
        let at = |seconds: usize| begin + Duration::from_secs(u64::try_from(seconds).unwrap());
        assert_eq!(doubts.begin(token(0), at(1)), (at(1), false));
        assert_eq!(doubts.begin(token(0), at(2)), (at(1), true));
        doubts.end(&token(0));
        assert_eq!(doubts.begin(token(0), at(3)), (at(3), false));
        for number in 1..=MAX {
            doubts.begin(token(number), at(3 + number));
        }
        assert_eq!(doubts.since(&token(0)), None);
        assert_eq!(doubts.begin(token(0), at(9)), (at(3), false), "the first that was forgotten");
        assert_eq!(doubts.since(&token(0)), Some(at(3)));
        assert_eq!(doubts.begin(token(0), at(10)), (at(3), true), "also if it is repeated");
    }
}
