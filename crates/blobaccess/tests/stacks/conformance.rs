//! The suite of every store, over the same stacks.

use std::sync::Arc;

use blobaccess::decorators::ShardingOptions;
use blobaccess::{Ac, Caller, Cas, Context, Kind, MemoryStore};
use blobaccess_testkit::{Layered, Promises, Stores, conformance};

use crate::deployments::{self, MAX_MESSAGE_SIZE_BYTES};
use crate::site::{Site, Store};

/// A site of stores of contents.
pub(crate) struct OfContents<'a>(pub(crate) &'a Stores<Cas>);

impl Site for OfContents<'_> {
    fn cas(&self, name: &'static str) -> Store<Cas> {
        Arc::new(self.0.store(name))
    }

    fn ac(&self, name: &'static str) -> Store<Ac> {
        panic!("there is no store {name} of action results")
    }

    fn sharding(&self) -> ShardingOptions {
        without_rest()
    }
}

/// A site of action results without references, for which no contents are needed.
struct OfResults<'a>(&'a Stores<Ac>);

impl Site for OfResults<'_> {
    fn cas(&self, _name: &'static str) -> Store<Cas> {
        Arc::new(MemoryStore::new(1 << 20))
    }

    fn ac(&self, name: &'static str) -> Store<Ac> {
        Arc::new(self.0.store(name))
    }

    fn sharding(&self) -> ShardingOptions {
        without_rest()
    }
}

/// Returns options by which a shard serves as soon as it is back. The suite does not wait for the end of a rest.
fn without_rest() -> ShardingOptions {
    ShardingOptions::new().with_failures_in_a_row(0)
}

// One type for all stacks of a kind, so that the contracts are compiled once for each.
type Fixture<K> = Layered<K, fn(&Stores<K>) -> Store<K>>;

fn fixture<K: Kind>(make: fn(&Stores<K>) -> Store<K>) -> Fixture<K> {
    Layered::<K, _>::new(make).with_context(Context::background().with_caller(Caller::new("a build")))
}

fn with_empty_blob(promises: Promises) -> Promises {
    promises.with_empty_blob_exists(true)
}

fn with_limit(promises: Promises) -> Promises {
    promises.with_max_blob_size_bytes(Some(MAX_MESSAGE_SIZE_BYTES))
}

macro_rules! contents {
    ($name:ident) => {
        fixture::<Cas>(|stores| deployments::$name(&OfContents(stores))).promising(with_empty_blob)
    };
}

macro_rules! results {
    ($name:ident) => {
        fixture::<Ac>(|stores| deployments::$name(&OfResults(stores))).promising(with_limit)
    };
}

conformance! {
    node => fixture::<Cas>(|stores| deployments::node(&OfContents(stores))),
    node_of_results: Ac => results!(node_of_results),
    frontend => contents!(frontend),
    frontend_of_results: Ac => results!(frontend_of_results),
    mirrored_nodes => contents!(mirrored_nodes),
    mirrored_results: Ac => results!(mirrored_results),
    migration => contents!(migration),
    migration_of_results: Ac => results!(migration_of_results),
    projects => contents!(projects),
    shards => contents!(shards),
    shards_of_results: Ac => results!(shards_of_results),
    mirrored_shards => contents!(mirrored_shards),
    moving_shards => contents!(moving_shards),
    worker => contents!(worker),
    far_frontend_of_results: Ac => results!(far_frontend_of_results),
    trial => contents!(trial),
    branches: Ac => results!(branches),
}
