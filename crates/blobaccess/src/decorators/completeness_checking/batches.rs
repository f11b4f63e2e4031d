//! Digests to look for, in sets of a limited size.

use std::collections::HashSet;
use std::sync::PoisonError;

use futures::StreamExt;
use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};

use crate::locks::{Mutex, MutexGuard};
use crate::{Digest, DigestSet};

/// Gathers digests into sets of `size`, which is at least 1. The last set may be smaller.
///
/// To add a digest never waits for the search. A task that reads a tree holds a permit or a lease of the store, and
/// must not hold it until the store answers a query that needs one too.
#[derive(Debug)]
pub(super) struct Batches {
    open: Mutex<HashSet<Digest>>,
    size: usize,
    full: UnboundedSender<DigestSet>,
}

/// The sets, in the order in which they were filled. Nobody looks for more once it is dropped.
#[derive(Debug)]
pub(super) struct FullBatches(UnboundedReceiver<DigestSet>);

impl Batches {
    pub(super) fn new(size: usize) -> (Self, FullBatches) {
        let (full, batches) = unbounded();
        (Self { open: Mutex::default(), size, full }, FullBatches(batches))
    }

    /// Adds one. A set that is full is passed on once a digest comes that it has not.
    pub(super) fn add(&self, digest: Digest) {
        let full = {
            let mut open = self.open();
            let full = open.len() >= self.size && !open.contains(&digest);
            let full = full.then(|| std::mem::take(&mut *open));
            open.insert(digest);
            full
        };
        if let Some(full) = full {
            self.pass_on(full);
        }
    }

    /// Passes on what there is. No more are added.
    pub(super) fn finish(&self) {
        let rest = std::mem::take(&mut *self.open());
        if !rest.is_empty() {
            self.pass_on(rest);
        }
        self.full.close_channel();
    }

    /// Returns whether nobody looks for more.
    pub(super) fn is_closed(&self) -> bool {
        self.full.is_closed()
    }

    fn pass_on(&self, batch: HashSet<Digest>) {
        // It fails only if nobody looks for more, and then it does not matter.
        drop(self.full.unbounded_send(batch.into_iter().collect()));
    }

    fn open(&self) -> MutexGuard<'_, HashSet<Digest>> {
        // Each use of it is one call, so that a panic leaves it whole.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FullBatches {
    /// Waits for the next set; `None` once there are no more to come.
    pub(super) async fn next(&mut self) -> Option<DigestSet> {
        self.0.next().await
    }
}
