//! What is being copied into a fast store, so that nothing is copied twice at once.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use blobaccess::DigestKey;

/// The blobs that are being copied into a fast store.
#[derive(Debug, Default)]
pub(super) struct Fills(Mutex<HashSet<DigestKey>>);

/// The copying of one blob, until it is dropped.
#[derive(Debug)]
pub(super) struct Fill {
    fills: Arc<Fills>,
    key: DigestKey,
}

impl Fills {
    /// Begins to copy the blob with `key`, unless somebody does already.
    pub(super) fn begin(self: &Arc<Self>, key: DigestKey) -> Option<Fill> {
        self.lock().insert(key.clone()).then(|| Fill { fills: Arc::clone(self), key })
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<DigestKey>> {
        // A panic cannot leave the set half changed: each use of it is one call.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        self.fills.lock().remove(&self.key);
    }
}
