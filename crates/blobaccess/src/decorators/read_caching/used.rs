//! The blobs that were read from the fast store, of which the slow store is yet to be told.

use std::collections::HashSet;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use lru::DefaultHasher;

use crate::Digest;
use crate::locks::{Mutex, MutexGuard};

/// A set by the hash function of the caches, which takes a third of the time of the one of the standard library.
type Digests = HashSet<Digest, DefaultHasher>;

/// The blobs that were read from the fast store, up to a number of them.
#[derive(Debug)]
pub(super) struct Used {
    digests: Mutex<Digests>,
    capacity: usize,
    dropped: AtomicU64,
}

impl Used {
    pub(super) fn new(capacity: usize) -> Self {
        Self { digests: Mutex::default(), capacity, dropped: AtomicU64::new(0) }
    }

    /// Notes the use of `digest`, if there is room.
    pub(super) fn note(&self, digest: &Digest) {
        if self.capacity == 0 {
            return;
        }
        let mut digests = self.lock();
        if digests.contains(digest) {
            return;
        }
        if digests.len() < self.capacity {
            digests.insert(digest.clone());
        } else {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes all that were noted.
    pub(super) fn take(&self) -> Vec<Digest> {
        let taken = std::mem::take(&mut *self.lock());
        taken.into_iter().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Returns the number of uses that there was no room for.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Digests> {
        // A panic cannot leave the set half changed: each use of it is one call.
        self.digests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
