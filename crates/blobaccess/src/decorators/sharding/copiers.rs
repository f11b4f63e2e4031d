//! The replicators between shards, each made when it is first needed.

use std::collections::HashMap;
use std::fmt::{self, Debug, Formatter};
use std::sync::{Arc, PoisonError};

use crate::locks::Mutex;
use crate::replication::LocalReplicator;

/// The keys of the shards that a replicator copies from and to.
type Direction = (Arc<str>, Arc<str>);

/// The replicators between shards. They are kept, so that of several readers of one blob that has moved one copies it.
///
/// There are at most as many as there are pairs of a shard that blobs move from and one that they move to.
pub(super) struct Copiers<S>(Mutex<HashMap<Direction, Arc<LocalReplicator<S, S>>>>);

impl<S> Copiers<S> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(HashMap::new()))
    }

    /// Returns the replicator in a direction, which is made by `make` the first time.
    pub(super) fn get(
        &self,
        direction: Direction,
        make: impl FnOnce() -> LocalReplicator<S, S>,
    ) -> Arc<LocalReplicator<S, S>> {
        // Each use is one call, so a panic leaves the map whole.
        let mut copiers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(copiers.entry(direction).or_insert_with(|| Arc::new(make())))
    }
}

impl<S> Debug for Copiers<S> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("Copiers")
    }
}
