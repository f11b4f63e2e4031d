//! The set of blobs that are being copied, so that readers at the same time make one copy.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};

use crate::DigestKey;
use crate::locks::{Mutex, MutexGuard};

/// The blobs that are being copied while they are read.
#[derive(Debug, Default)]
pub(super) struct ActiveCopies(Arc<Mutex<HashSet<DigestKey>>>);

/// The right to copy one blob, until it is dropped.
#[derive(Debug)]
pub(super) struct CopyPermit {
    copying: Arc<Mutex<HashSet<DigestKey>>>,
    key: DigestKey,
}

impl ActiveCopies {
    /// Returns the right to copy the blob with `key`, unless a reader copies it already.
    pub(super) fn begin(&self, key: DigestKey) -> Option<CopyPermit> {
        lock(&self.0).insert(key.clone()).then(|| CopyPermit { copying: Arc::clone(&self.0), key })
    }

    /// Returns the number of blobs that are being copied.
    pub(super) fn len(&self) -> usize {
        lock(&self.0).len()
    }
}

fn lock(copying: &Mutex<HashSet<DigestKey>>) -> MutexGuard<'_, HashSet<DigestKey>> {
    // A panic cannot leave the set half changed: each use of it is one call.
    copying.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for CopyPermit {
    fn drop(&mut self) {
        lock(&self.copying).remove(&self.key);
    }
}
