//! When a bucket was last seen. The answer that an object does not exist may mean the bucket.

use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use blobaccess::Clock;

/// The time for which a bucket that was seen is taken to exist.
const SEEN_FOR: Duration = Duration::from_secs(10);

/// The time at which a bucket was last seen, by the clock of its store.
pub(super) struct Presence {
    clock: Arc<dyn Clock>,
    last_seen: Mutex<Option<Instant>>,
    /// The lock of the caller that asks, so that others wait for its answer instead of asking as well.
    pub(super) asking: tokio::sync::Mutex<()>,
}

impl Presence {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, last_seen: Mutex::new(None), asking: tokio::sync::Mutex::new(()) }
    }

    /// Records that the bucket has just answered as only an existing one does.
    pub(super) fn note_seen(&self) {
        let now = self.clock.monotonic();
        // One assignment: a panic cannot leave it half done.
        *self.last_seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    pub(super) fn is_recent(&self) -> bool {
        let last = *self.last_seen.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|last| self.clock.monotonic().saturating_duration_since(last) < SEEN_FOR)
    }
}

impl Debug for Presence {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presence").field("last_seen", &self.last_seen).finish_non_exhaustive()
    }
}
