//! Outages of one store beneath a layer over two, in each position.
//!
//! Where the store that is down decides about absence, the contracts about outages hold as if all were down. Where
//! another store decides, the layer passes the whole suite without it: see `conformance.rs`.

use std::sync::Arc;
use std::time::Duration;

use blobaccess::decorators::{Mirrored, ReadCaching, ReadCanarying, ReadFallback};
use blobaccess::replication::LocalReplicator;
use blobaccess::{Ac, BlobAccess, Cas, Kind, MemoryStore};
use blobaccess_testkit::{Fixture, InnerStore, Layered, Stores, check, contracts};

/// Returns a store that breaks down, and one that does not.
fn positions<K: Kind>(stores: &Stores<K>) -> (Arc<InnerStore<K>>, Arc<MemoryStore<K>>) {
    (Arc::new(stores.store("breaks down")), Arc::clone(stores.store("stays up").inner()))
}

fn replicator<A: BlobAccess, B: BlobAccess<Kind = A::Kind>>(source: &Arc<A>, sink: &Arc<B>) -> LocalReplicator<A, B> {
    LocalReplicator::new(Arc::clone(source), Arc::clone(sink))
}

fn assert_contracts<F: Fixture>(position: &str, fixture: impl Fn() -> F) {
    for result in [
        check(contracts::outages::an_outage_is_never_not_found(&fixture())),
        check(contracts::outages::an_error_keeps_its_kind_and_message(&fixture())),
        check(contracts::outages::after_an_outage_a_store_serves_as_before(&fixture())),
    ] {
        assert_eq!(result, Ok(()), "{position} is down");
    }
}

fn assert_no_outage_is_absence<K: Kind>() {
    assert_contracts("the primary of read_fallback", || {
        Layered::<K, _>::new(|stores| {
            let (down, up) = positions(stores);
            ReadFallback::new(Arc::clone(&down), Arc::clone(&up), replicator(&up, &down))
        })
    });
    assert_contracts("the secondary of read_fallback", || {
        Layered::<K, _>::new(|stores| {
            let (down, up) = positions(stores);
            ReadFallback::new(Arc::clone(&up), Arc::clone(&down), replicator(&down, &up))
        })
    });
    assert_contracts("a of mirrored", || {
        Layered::<K, _>::new(|stores| {
            let (down, up) = positions(stores);
            let (to_up, to_down) = (Arc::new(replicator(&down, &up)), Arc::new(replicator(&up, &down)));
            Mirrored::new(down, up, to_up, to_down)
        })
    });
    assert_contracts("b of mirrored", || {
        Layered::<K, _>::new(|stores| {
            let (down, up) = positions(stores);
            let (to_up, to_down) = (Arc::new(replicator(&down, &up)), Arc::new(replicator(&up, &down)));
            Mirrored::new(up, down, to_down, to_up)
        })
    });
    assert_contracts("the slow store of read_caching", || {
        Layered::<K, _>::new(|stores| {
            let (down, up) = positions(stores);
            ReadCaching::new(Arc::clone(&down), Arc::clone(&up), replicator(&down, &up))
        })
    });
    assert_contracts("the source of read_canarying, and the way to its replica", || {
        Layered::<K, _>::new(|stores| {
            let source = stores.store("both");
            ReadCanarying::new(source, stores.store("both"), 256, Duration::from_mins(5))
        })
    });
}

#[test]
fn no_outage_of_contents_is_absence() {
    assert_no_outage_is_absence::<Cas>();
}

#[test]
fn no_outage_of_messages_is_absence() {
    assert_no_outage_is_absence::<Ac>();
}
