//! What has to be uploaded before an action result is, and what was lost of it.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use blobaccess::decorators::named_by_action_result;
use blobaccess::{Clock, Context, Digest, DigestSet, InstanceName};

/// A queue of contents that one of action results follows.
#[async_trait]
pub(super) trait Predecessor: Debug + Send + Sync + 'static {
    /// What is queued by now lies before this.
    fn barrier(&self) -> u64;

    /// Waits until everything before `barrier` has been uploaded or given up.
    async fn passed(&self, barrier: u64);

    /// Whether anything was lost that may be needed.
    fn has_losses(&self) -> bool;

    /// Whether `message`, the result of `action`, needs contents that were lost and are not in the store.
    async fn lacks(&self, ctx: &Context, action: &Digest, message: &[u8]) -> bool;
}

/// Contents that were not uploaded: dropped, or failed.
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
            // More within so short a time: any will do, as results are held back by one as by many.
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

    /// Of what was lost, what `message`, the result of `action`, may need. What is no action result needs nothing.
    pub(super) fn suspects(&self, action: &Digest, message: &[u8]) -> DigestSet {
        let Ok(named) = named_by_action_result(action, message) else { return DigestSet::new() };
        let now = self.clock.monotonic();
        let lost = self.lost();
        let direct = named.digests.iter().filter(|digest| lost.contains_key(&Self::key(digest))).cloned();
        let lately = lost.iter().filter(|(_, since)| now.saturating_duration_since(**since) <= self.lost_for);
        let instance_name = action.instance_name();
        let any = lately.map(|(digest, _)| digest.with_instance_name(instance_name.clone()));
        if named.has_directories { direct.chain(any).collect() } else { direct.collect() }
    }
}
