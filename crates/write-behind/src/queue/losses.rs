//! The contents that were not uploaded, so that no action result is uploaded that needs them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use blobaccess::decorators::named_by_action_result;
use blobaccess::{Clock, Digest, DigestSet, InstanceName};

/// The contents that were not uploaded: their uploads were dropped, or failed.
#[derive(Debug)]
pub(super) struct Losses {
    clock: Arc<dyn Clock>,
    lost: Mutex<HashMap<Digest, Instant>>,
    max: usize,
    lost_for: Duration,
}

impl Losses {
    pub(super) fn new(clock: Arc<dyn Clock>, max: usize, lost_for: Duration) -> Self {
        Self { clock, lost: Mutex::default(), max, lost_for }
    }

    fn lost(&self) -> MutexGuard<'_, HashMap<Digest, Instant>> {
        // A panic cannot leave the map half changed: each use of it is one call.
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn key(digest: &Digest) -> Digest {
        digest.with_instance_name(InstanceName::empty())
    }

    pub(super) fn add(&self, digest: &Digest) {
        let now = self.clock.monotonic();
        let mut lost = self.lost();
        lost.insert(Self::key(digest), now);
        if lost.len() > self.max {
            lost.retain(|_, since| now.saturating_duration_since(*since) <= self.lost_for);
            // If there are more within so short a time, any may go: one loss holds a result back as well as many.
            while lost.len() > self.max {
                let Some(any) = lost.keys().next().cloned() else { return };
                lost.remove(&any);
            }
        }
    }

    pub(super) fn remove(&self, digest: &Digest) {
        let mut lost = self.lost();
        if !lost.is_empty() {
            lost.remove(&Self::key(digest));
        }
    }

    pub(super) fn any(&self) -> bool {
        !self.lost().is_empty()
    }

    /// Returns the lost contents that `message`, the result of `action`, may need. A message that is no action result
    /// needs nothing.
    pub(super) fn suspects(&self, action: &Digest, message: &[u8]) -> DigestSet {
        let Ok(named) = named_by_action_result(action, message) else { return DigestSet::new() };
        let now = self.clock.monotonic();
        let lost = self.lost();
        let direct = named.digests.iter().filter(|digest| lost.contains_key(&Self::key(digest))).cloned();
        let recent = lost.iter().filter(|(_, since)| now.saturating_duration_since(**since) <= self.lost_for);
        let instance_name = action.instance_name();
        let any = recent.map(|(digest, _)| digest.with_instance_name(instance_name.clone()));
        if named.has_directories { direct.chain(any).collect() } else { direct.collect() }
    }
}
