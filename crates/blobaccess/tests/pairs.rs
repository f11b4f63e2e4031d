//! The suite for every layer over two stores over every other, one level deep.
//!
//! The outer layer has the inner one in both places, each over stores of its own. Both kinds of blobs are tested in half
//! of the pairs each, so that all of them take some 20 seconds.

use std::sync::Arc;
use std::time::Duration;

use blobaccess::decorators::{Mirrored, ReadCaching, ReadCanarying, ReadFallback};
use blobaccess::replication::LocalReplicator;
use blobaccess::{BlobAccess, Kind};
use blobaccess_testkit::{Layered, Stores, conformance};

type Store<K> = Arc<dyn BlobAccess<Kind = K>>;

/// The place of a layer within another.
#[derive(Clone, Copy)]
enum Place {
    First,
    Second,
}

impl Place {
    /// Returns two stores for the layer in this place.
    fn stores<K: Kind>(self, stores: &Stores<K>) -> (Store<K>, Store<K>) {
        let (first, second) = match self {
            Self::First => ("first of the first", "second of the first"),
            Self::Second => ("first of the second", "second of the second"),
        };
        (Arc::new(stores.store(first)), Arc::new(stores.store(second)))
    }
}

/// The way to make a layer over two stores.
type Layer<K> = fn(Store<K>, Store<K>) -> Store<K>;

fn replicator<K: Kind>(source: &Store<K>, sink: &Store<K>) -> LocalReplicator<Store<K>, Store<K>> {
    LocalReplicator::new(Arc::new(Arc::clone(source)), Arc::new(Arc::clone(sink)))
}

fn mirrored<K: Kind>(a: Store<K>, b: Store<K>) -> Store<K> {
    let (a_to_b, b_to_a) = (Arc::new(replicator(&a, &b)), Arc::new(replicator(&b, &a)));
    Arc::new(Mirrored::new(a, b, a_to_b, b_to_a))
}

fn read_caching<K: Kind>(slow: Store<K>, fast: Store<K>) -> Store<K> {
    let replicator = replicator(&slow, &fast);
    Arc::new(ReadCaching::new(slow, fast, replicator))
}

fn read_fallback<K: Kind>(primary: Store<K>, secondary: Store<K>) -> Store<K> {
    let replicator = replicator(&secondary, &primary);
    Arc::new(ReadFallback::new(primary, secondary, replicator))
}

/// Makes a canary with one store as its source and its replica: what the source has, a replica is to have too.
fn read_canarying<K: Kind>(both: Store<K>, _: Store<K>) -> Store<K> {
    Arc::new(ReadCanarying::new(Arc::clone(&both), both, 256, Duration::from_mins(5)))
}

/// Makes a fixture for `outer` over two of `inner`.
fn pair<K: Kind>(
    outer: Layer<K>,
    inner: Layer<K>,
) -> Layered<K, impl Fn(&Stores<K>) -> Store<K> + Send + Sync + 'static> {
    Layered::new(move |stores: &Stores<K>| {
        let [first, second] = [Place::First, Place::Second].map(|place| {
            let (first, second) = place.stores(stores);
            inner(first, second)
        });
        outer(first, second)
    })
}

conformance! {
    mirrored_over_mirrored => pair(mirrored, mirrored).with_layers(["mirrored", "mirrored", "mirrored"]),
    mirrored_over_read_caching: Ac => pair(mirrored, read_caching).with_layers(["mirrored", "read_caching"]),
    mirrored_over_read_canarying => pair(mirrored, read_canarying).with_layers(["mirrored", "read_canarying"]),
    mirrored_over_read_fallback: Ac => pair(mirrored, read_fallback).with_layers(["mirrored", "read_fallback"]),
    read_caching_over_mirrored: Ac => pair(read_caching, mirrored).with_layers(["read_caching", "mirrored"]),
    read_caching_over_read_caching => pair(read_caching, read_caching).with_layers(["read_caching", "read_caching"]),
    read_caching_over_read_canarying: Ac =>
        pair(read_caching, read_canarying).with_layers(["read_caching", "read_canarying"]),
    read_caching_over_read_fallback =>
        pair(read_caching, read_fallback).with_layers(["read_caching", "read_fallback"]),
    read_canarying_over_mirrored => pair(read_canarying, mirrored).with_layers(["read_canarying", "mirrored"]),
    read_canarying_over_read_caching: Ac =>
        pair(read_canarying, read_caching).with_layers(["read_canarying", "read_caching"]),
    read_canarying_over_read_canarying =>
        pair(read_canarying, read_canarying).with_layers(["read_canarying", "read_canarying"]),
    read_canarying_over_read_fallback: Ac =>
        pair(read_canarying, read_fallback).with_layers(["read_canarying", "read_fallback"]),
    read_fallback_over_mirrored: Ac => pair(read_fallback, mirrored).with_layers(["read_fallback", "mirrored"]),
    read_fallback_over_read_caching =>
        pair(read_fallback, read_caching).with_layers(["read_fallback", "read_caching"]),
    read_fallback_over_read_canarying: Ac =>
        pair(read_fallback, read_canarying).with_layers(["read_fallback", "read_canarying"]),
    read_fallback_over_read_fallback =>
        pair(read_fallback, read_fallback).with_layers(["read_fallback", "read_fallback"]),
}
