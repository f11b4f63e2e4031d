//! The stores at the bottom of a stack, by name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use blobaccess::decorators::ShardingOptions;
use blobaccess::{Ac, BlobAccess, Cas, Kind};

use crate::leaf::{Fault, Leaf};

/// A store of any type.
pub(crate) type Store<K> = Arc<dyn BlobAccess<Kind = K>>;

/// Gives stacks the stores to stand on.
pub(crate) trait Site {
    /// Returns the store of contents of this name.
    fn cas(&self, name: &'static str) -> Store<Cas>;

    /// Returns the store of action results of this name.
    fn ac(&self, name: &'static str) -> Store<Ac>;

    /// Returns the options of shards.
    fn sharding(&self) -> ShardingOptions {
        ShardingOptions::new()
    }
}

/// A site whose stores go wrong one at a time.
#[derive(Debug, Default)]
pub(crate) struct FaultySite {
    cas: Leaves<Cas>,
    ac: Leaves<Ac>,
}

type Leaves<K> = Mutex<BTreeMap<&'static str, Arc<Leaf<K>>>>;

fn lock<K: Kind>(leaves: &Leaves<K>) -> MutexGuard<'_, BTreeMap<&'static str, Arc<Leaf<K>>>> {
    leaves.lock().unwrap_or_else(PoisonError::into_inner)
}

fn leaf<K: Kind>(leaves: &Leaves<K>, name: &'static str) -> Arc<Leaf<K>> {
    Arc::clone(lock(leaves).entry(name).or_insert_with(|| Arc::new(Leaf::new(name))))
}

impl FaultySite {
    /// Returns the names of all stores. Those of contents come first.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = lock(&self.cas).keys().copied().collect();
        names.extend(lock(&self.ac).keys());
        names
    }

    /// Returns whether the store of this name has action results.
    pub(crate) fn is_ac(&self, name: &str) -> bool {
        lock(&self.ac).contains_key(name)
    }

    /// Lets the store of this name go wrong.
    pub(crate) fn begin(&self, name: &str, fault: Fault) {
        lock(&self.cas).get(name).iter().for_each(|leaf| leaf.begin(fault));
        lock(&self.ac).get(name).iter().for_each(|leaf| leaf.begin(fault));
    }

    /// Ends all faults.
    pub(crate) fn mend(&self) {
        lock(&self.cas).values().for_each(|leaf| leaf.mend());
        lock(&self.ac).values().for_each(|leaf| leaf.mend());
    }
}

impl Site for FaultySite {
    fn cas(&self, name: &'static str) -> Store<Cas> {
        leaf(&self.cas, name)
    }

    fn ac(&self, name: &'static str) -> Store<Ac> {
        leaf(&self.ac, name)
    }
}
