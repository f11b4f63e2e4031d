//! Stacks as they are deployed: nodes, frontends, workers, sites that move or span the world.

use std::sync::Arc;
use std::time::Duration;

use blobaccess::decorators::{
    ActionResultExpiring, ActionResultTimestampInjecting, Authorizers, Authorizing, CompletenessChecking,
    CompletenessOptions, DeadlineEnforcing, Demultiplexing, EmptyBlobInjecting, ExistenceCaching, ExpiryOptions,
    HierarchicalInstanceNames, Mirrored, Observing, QueryCoalescing, ReadCaching, ReadCanarying, ReadFallback, Route,
    Shard, Sharding, StaticAuthorizer,
};
use blobaccess::replication::{DeduplicatingReplicator, EntryLocks, LocalReplicator};
use blobaccess::{Ac, Cas, Clock, InstanceName, Kind, NoObserver, SystemClock};

use crate::site::{Site, Store};

/// The largest action result, in bytes.
pub(crate) const MAX_MESSAGE_SIZE_BYTES: u64 = 4 << 20;

/// The timeout of calls of remote stores.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The time for which existence caches remember.
pub(crate) const REMEMBERED: Duration = Duration::from_mins(1);

/// Longer than the age of action results in the tests, whose workers completed in 1970.
const MILLENNIUM: Duration = Duration::from_hours(1000 * 366 * 24);

fn name(name: &str) -> InstanceName {
    name.parse().unwrap()
}

fn authorizing<K: Kind>(store: Store<K>) -> Store<K> {
    Arc::new(Authorizing::new(store, Authorizers::all(Arc::new(StaticAuthorizer::Allow))))
}

/// Returns `store` as if it were a remote one: observed, and with a deadline.
pub(crate) fn remote<K: Kind>(store: Store<K>) -> Store<K> {
    Arc::new(DeadlineEnforcing::new(Observing::new(store, "grpc", NoObserver), TIMEOUT))
}

/// Returns what clients of contents are served from: `store`, with the empty blob and a cache of queries.
fn frontend_of(store: Store<Cas>) -> Store<Cas> {
    let store = ExistenceCaching::new(QueryCoalescing::new(store), 100_000, REMEMBERED);
    authorizing(Arc::new(EmptyBlobInjecting::new(store)))
}

fn complete(ac: Store<Ac>, cas: Store<Cas>) -> Store<Ac> {
    let options = CompletenessOptions::new().with_max_message_size_bytes(MAX_MESSAGE_SIZE_BYTES);
    // A tree is read each time, so that no test depends on the age of what is remembered.
    let options = options.with_remembered_trees(0, Duration::ZERO);
    Arc::new(CompletenessChecking::new(ac, EmptyBlobInjecting::new(cas), options))
}

fn timed(store: Store<Ac>) -> Store<Ac> {
    Arc::new(ActionResultTimestampInjecting::new(store, MAX_MESSAGE_SIZE_BYTES))
}

pub(crate) fn mirrored<K: Kind>(a: Store<K>, b: Store<K>) -> Store<K> {
    let a_to_b = Arc::new(LocalReplicator::new(Arc::clone(&a), Arc::clone(&b)));
    let b_to_a = Arc::new(LocalReplicator::new(Arc::clone(&b), Arc::clone(&a)));
    Arc::new(Mirrored::new(a, b, a_to_b, b_to_a))
}

pub(crate) fn fallback<K: Kind>(new: Store<K>, old: Store<K>) -> Store<K> {
    let replicator = LocalReplicator::new(Arc::clone(&old), Arc::clone(&new));
    Arc::new(ReadFallback::new(new, old, replicator))
}

pub(crate) fn by_name<K: Kind, const N: usize>(routes: [(&str, Store<K>); N]) -> Store<K> {
    let routes = routes.map(|(prefix, store)| Route::new(name(prefix), store).with_added_prefix(name(prefix)));
    Arc::new(Demultiplexing::new(routes).unwrap())
}

pub(crate) fn caching<K: Kind>(slow: Store<K>, fast: Store<K>) -> Store<K> {
    let locks = Arc::<EntryLocks>::default();
    let replicator = LocalReplicator::new(Arc::clone(&slow), Arc::clone(&fast)).with_entry_locks(Arc::clone(&locks));
    Arc::new(ReadCaching::new(slow, fast, replicator).with_entry_locks(locks))
}

pub(crate) fn canarying<K: Kind>(source: Store<K>, replica: Store<K>) -> Store<K> {
    Arc::new(ReadCanarying::new(source, replica, 256, Duration::from_mins(5)))
}

pub(crate) fn sharded<K: Kind, const N: usize>(site: &dyn Site, shards: [(&str, Store<K>); N]) -> Store<K> {
    sharded_as(site, shards.map(|(key, store)| Shard::new(key, store)))
}

fn sharded_as<K: Kind, const N: usize>(site: &dyn Site, shards: [Shard<Store<K>>; N]) -> Store<K> {
    Arc::new(Sharding::new(shards).unwrap().with_options(site.sharding()))
}

/// Makes a storage node, which frontends call.
pub(crate) fn node(site: &dyn Site) -> Store<Cas> {
    authorizing(Arc::new(Observing::new(site.cas("disk"), "local", NoObserver)))
}

/// Makes a storage node of action results, which clients call themselves.
pub(crate) fn node_of_results(site: &dyn Site) -> Store<Ac> {
    authorizing(timed(complete(site.ac("disk"), site.cas("contents"))))
}

/// Makes a frontend before one storage node.
pub(crate) fn frontend(site: &dyn Site) -> Store<Cas> {
    frontend_of(remote(site.cas("node")))
}

/// Makes a frontend of action results before one storage node.
pub(crate) fn frontend_of_results(site: &dyn Site) -> Store<Ac> {
    authorizing(timed(complete(remote(site.ac("results")), remote(site.cas("node")))))
}

/// Makes a frontend before two storage nodes that have the same.
pub(crate) fn mirrored_nodes(site: &dyn Site) -> Store<Cas> {
    frontend_of(mirrored(remote(site.cas("a")), remote(site.cas("b"))))
}

/// Makes a frontend before two storage nodes of action results that have the same.
pub(crate) fn mirrored_results(site: &dyn Site) -> Store<Ac> {
    authorizing(timed(complete(mirrored(remote(site.ac("a")), remote(site.ac("b"))), remote(site.cas("node")))))
}

/// Makes a site that moves to a new store, and reads from the old one meanwhile.
pub(crate) fn migration(site: &dyn Site) -> Store<Cas> {
    frontend_of(fallback(site.cas("new"), remote(site.cas("old"))))
}

/// Makes a site that moves to a new store of action results.
pub(crate) fn migration_of_results(site: &dyn Site) -> Store<Ac> {
    authorizing(timed(fallback(site.ac("new"), remote(site.ac("old")))))
}

/// Makes a store for each of two projects.
pub(crate) fn projects(site: &dyn Site) -> Store<Cas> {
    frontend_of(by_name([("left", remote(site.cas("left"))), ("right", remote(site.cas("right")))]))
}

/// Makes a store for projects whose branches use the results of their main builds.
pub(crate) fn branches(site: &dyn Site) -> Store<Ac> {
    let results = remote(site.ac("results"));
    let results = Arc::new(ActionResultExpiring::new(results, ExpiryOptions::new(MILLENNIUM)));
    authorizing(timed(Arc::new(HierarchicalInstanceNames::new(complete(results, remote(site.cas("node")))))))
}

/// Makes a frontend before two storage nodes that each have a half.
pub(crate) fn shards(site: &dyn Site) -> Store<Cas> {
    frontend_of(sharded(site, ["0", "1"].map(|key| (key, remote(site.cas(key))))))
}

/// Makes a frontend of action results before two storage nodes that each have a half of everything.
pub(crate) fn shards_of_results(site: &dyn Site) -> Store<Ac> {
    let results = sharded(site, ["results 0", "results 1"].map(|key| (key, remote(site.ac(key)))));
    let contents = sharded(site, ["0", "1"].map(|key| (key, remote(site.cas(key)))));
    authorizing(timed(complete(results, contents)))
}

/// Makes a frontend before two pairs of storage nodes. The nodes of a pair have the same.
pub(crate) fn mirrored_shards(site: &dyn Site) -> Store<Cas> {
    let pair = |a, b| mirrored(remote(site.cas(a)), remote(site.cas(b)));
    frontend_of(sharded(site, [("0", pair("0a", "0b")), ("1", pair("1a", "1b"))]))
}

/// Makes a frontend before storage nodes of which one is to be switched off and one is new.
pub(crate) fn moving_shards(site: &dyn Site) -> Store<Cas> {
    let shard = |key| Shard::new(key, remote(site.cas(key)));
    let added = shard("added").added(SystemClock.now(), Duration::from_hours(1));
    frontend_of(sharded_as(site, [shard("0"), shard("drained").drained(), added]))
}

/// Makes the store of a worker: a disk in front of two storage nodes.
pub(crate) fn worker(site: &dyn Site) -> Store<Cas> {
    let slow = sharded(site, ["0", "1"].map(|key| (key, remote(site.cas(key)))));
    let fast = remote(site.cas("disk"));
    let replicator = LocalReplicator::new(Arc::clone(&slow), Arc::clone(&fast));
    let replicator = DeduplicatingReplicator::new(Arc::clone(&slow), Arc::clone(&fast), replicator);
    Arc::new(EmptyBlobInjecting::new(ReadCaching::new(slow, fast, replicator)))
}

/// Makes a frontend of action results on another continent than their store, with a copy of those that it reads.
pub(crate) fn far_frontend_of_results(site: &dyn Site) -> Store<Ac> {
    authorizing(timed(complete(caching(remote(site.ac("far")), remote(site.ac("near"))), remote(site.cas("node")))))
}

/// Makes a frontend that tries out a cache nearby, which reads from the store that it has so far.
pub(crate) fn trial(site: &dyn Site) -> Store<Cas> {
    let far = remote(site.cas("far"));
    frontend_of(canarying(Arc::clone(&far), caching(far, remote(site.cas("near")))))
}
