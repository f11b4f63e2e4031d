//! The exploration of states: all within small bounds, and some by chance far beyond.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use proptest::prelude::*;

use super::{Bounds, Mistake, World};

fn digest_of(world: &World) -> u128 {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, world).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}

/// Visits every state that can be reached, depth first, and returns their number.
fn explore(bounds: Bounds, mistake: Mistake) -> usize {
    let mut seen = HashSet::new();
    let mut open = vec![World::new(bounds, mistake)];
    while let Some(world) = open.pop() {
        if !seen.insert(digest_of(&world)) {
            continue;
        }
        world.check();
        world.check_rested();
        for action in world.actions() {
            let mut next = world.clone();
            next.step(action);
            open.push(next);
        }
    }
    seen.len()
}

const NONE: Bounds = Bounds {
    uploads: 0,
    crashes: 0,
    flushes: 0,
    deletions: 0,
    faults: 0,
    consumptions: 0,
    adjustments: 0,
    scans: 0,
    has_rows: false,
};

/// Returns the bounds within which all states are visited: each takes seconds without optimization, and more with it.
const SMALL: [Bounds; 7] = [
    Bounds { uploads: 2, crashes: 1, flushes: 1, ..NONE },
    Bounds { uploads: 1, crashes: 1, flushes: 2, faults: 1, deletions: 1, ..NONE },
    Bounds { uploads: 2, flushes: 1, faults: 1, ..NONE },
    Bounds { uploads: 1, flushes: 1, deletions: 1, consumptions: 1, adjustments: 1, scans: 1, ..NONE },
    Bounds { uploads: 2, crashes: 1, flushes: 1, has_rows: true, ..NONE },
    Bounds { uploads: 1, crashes: 1, flushes: 2, faults: 1, has_rows: true, ..NONE },
    Bounds { uploads: 1, deletions: 1, flushes: 2, faults: 1, has_rows: true, ..NONE },
];

#[test]
fn in_every_state_within_small_bounds_the_invariants_hold() {
    let states: Vec<_> = SMALL.into_iter().map(|bounds| explore(bounds, Mistake::None)).collect();
    println!("{states:?} states");
    assert!(states.iter().all(|states| *states > 100), "{states:?} states");
}

/// Visits every state within larger bounds.
#[test]
#[ignore = "takes two minutes with --release: for whoever changes what it is a model of"]
fn in_every_state_within_larger_bounds_the_invariants_hold() {
    let bounds = Bounds { uploads: 2, crashes: 1, flushes: 2, deletions: 1, faults: 1, consumptions: 1, ..NONE };
    let states = explore(bounds, Mistake::None);
    println!("{states} states");
    assert!(states > 1_000_000, "{states} states");
}

/// Checks that the model has teeth: each mistake shows within the same bounds.
#[test]
fn mistakes_are_found() {
    for mistake in [
        Mistake::DeltaReports,
        Mistake::NoReplay,
        Mistake::CountedBeforeWritten,
        Mistake::ExistsMeansAnothers,
        Mistake::RowsInMemory,
        Mistake::RowsForgotten,
    ] {
        let found = |bounds| std::panic::catch_unwind(|| explore(bounds, mistake)).is_err();
        assert!(SMALL.into_iter().any(found), "{mistake:?} was not found");
    }
}

const LARGE: Bounds = Bounds {
    uploads: 80,
    crashes: 8,
    flushes: 60,
    deletions: 20,
    faults: 60,
    consumptions: 30,
    adjustments: 1,
    scans: 10,
    has_rows: true,
};

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Visits states far beyond those bounds, by chance.
    #[test]
    fn in_long_runs_the_invariants_hold(choices in proptest::collection::vec(any::<usize>(), 1..400)) {
        let mut world = World::new(LARGE, Mistake::None);
        for (index, choice) in choices.into_iter().enumerate() {
            let actions = world.actions();
            if actions.is_empty() {
                break;
            }
            world.step(actions[choice % actions.len()]);
            world.check();
            if index % 16 == 0 {
                world.check_rested();
            }
        }
        world.check_rested();
    }
}
