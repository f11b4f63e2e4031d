//! Every layer over two stores around two of every other.

use std::sync::Arc;

use blobaccess::{Ac, Caller, Cas, Clock, Context, Kind, SystemClock};
use blobaccess_testkit::{Layered, Numbers, Stores, seed, time_budget, violations_of_contents};

use crate::conformance::OfContents;
use crate::deployments::{by_name, caching, canarying, fallback, mirrored, remote, sharded};
use crate::faults::{Deployment, check_changing, check_each, check_replacing};
use crate::site::{Site, Store};

/// A layer over two stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    ByName,
    Caching,
    Canarying,
    Fallback,
    Mirrored,
    Sharded,
}

impl Layer {
    const ALL: [Self; 6] =
        [Self::ByName, Self::Caching, Self::Canarying, Self::Fallback, Self::Mirrored, Self::Sharded];

    fn over<K: Kind>(self, site: &dyn Site, a: Store<K>, b: Store<K>) -> Store<K> {
        match self {
            Self::ByName => by_name([("left", a), ("right", b)]),
            Self::Caching => caching(a, b),
            // A replica has what the source has: here, because it reads from it.
            Self::Canarying => canarying(Arc::clone(&a), caching(a, b)),
            Self::Fallback => fallback(a, b),
            Self::Mirrored => mirrored(a, b),
            Self::Sharded => sharded(site, [("a", a), ("b", b)]),
        }
    }
}

/// Returns all pairs of layers, the outer one first.
fn pairs() -> impl Iterator<Item = (Layer, Layer)> {
    Layer::ALL.into_iter().flat_map(|outer| Layer::ALL.map(|inner| (outer, inner)))
}

fn stack<K: Kind>(
    (outer, inner): (Layer, Layer),
    site: &dyn Site,
    leaf: fn(&dyn Site, &'static str) -> Store<K>,
) -> Store<K> {
    let pair = |a, b| inner.over(site, remote(leaf(site, a)), remote(leaf(site, b)));
    outer.over(site, pair("a0", "a1"), pair("b0", "b1"))
}

async fn check_pairs<K: Kind>(leaf: fn(&dyn Site, &'static str) -> Store<K>) {
    for pair in pairs() {
        println!("{pair:?}");
        let is_mirrored = [pair.0, pair.1].contains(&Layer::Mirrored);
        let spare: &[_] = if is_mirrored { &["a0", "a1", "b0", "b1"] } else { &[] };
        let deployment = Deployment { make: &|site| stack(pair, site, leaf), spare };
        check_each(&deployment, &[0, 10]).await;
        check_changing(&deployment, 3).await;
    }
}

#[tokio::test(start_paused = true)]
async fn of_contents_every_store_of_a_pair_may_go_wrong() {
    check_pairs::<Cas>(|site, name| site.cas(name)).await;
}

#[tokio::test(start_paused = true)]
async fn of_action_results_every_store_of_a_pair_may_go_wrong() {
    check_pairs::<Ac>(|site, name| site.ac(name)).await;
}

#[tokio::test(start_paused = true)]
async fn results_that_were_replaced_do_not_come_back() {
    // A replica that caches is not told of puts into the source, so it may have older results.
    let caches = |(outer, inner)| outer == Layer::Canarying || inner == Layer::Canarying;
    for pair in pairs().filter(|pair| !caches(*pair)) {
        println!("{pair:?}");
        let make = |site: &dyn Site| stack(pair, site, |site, name| site.ac(name));
        check_replacing(&Deployment { make: &make, spare: &[] }, 5).await;
    }
}

// Pairs of the other layers are in `tests/pairs.rs`.
#[test]
fn pairs_with_shards_or_routes_pass_the_suite_of_every_store() {
    let spreads = |layer| matches!(layer, Layer::ByName | Layer::Sharded);
    let mut pairs: Vec<_> = pairs().filter(|(outer, inner)| spreads(*outer) || spreads(*inner)).collect();
    Numbers::new(seed("BLOBACCESS_PAIRS_SEED")).shuffle(&mut pairs);
    let (began, budget, all) = (SystemClock.monotonic(), time_budget() / 3, pairs.len());
    let mut checked = 0;
    for pair in pairs {
        if checked > 0 && SystemClock.monotonic() - began > budget {
            break;
        }
        println!("{pair:?}");
        let violations = violations_of_contents(|| {
            Layered::<Cas, _>::new(move |stores: &Stores<Cas>| {
                stack(pair, &OfContents(stores), |site, name| site.cas(name))
            })
            .with_context(Context::background().with_caller(Caller::new("a build")))
        });
        assert!(violations.is_empty(), "{pair:?}: {violations:?}");
        checked += 1;
    }
    println!("{checked} of {all} pairs");
}
