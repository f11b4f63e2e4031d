//! The exploration of states: all within small bounds, and some by chance far beyond.

use std::collections::HashSet;

use blobaccess::{Clock, SystemClock};
use blobaccess_testkit::{Numbers, seed, time_budget};

use crate::world::{Action, Bounds, Mistake, World};

/// Returns the world after `actions`.
fn replay(bounds: Bounds, mistake: Mistake, actions: &[Action]) -> World {
    let mut world = World::new(bounds, mistake);
    for action in actions {
        world.act(*action);
    }
    world
}

/// Visits every state that can be reached, depth first, and returns their number. From each, the world is brought to rest.
fn explore(bounds: Bounds, mistake: Mistake) -> usize {
    let mut seen = HashSet::new();
    let mut open = vec![Vec::new()];
    while let Some(path) = open.pop() {
        let world = replay(bounds, mistake, &path);
        if !seen.insert(world.fingerprint()) {
            continue;
        }
        world.check();
        for action in world.actions() {
            open.push(path.iter().copied().chain([action]).collect());
        }
        world.check_rested();
    }
    seen.len()
}

const NONE: Bounds = Bounds { rows: 0, repeats: 0, late: 0, steps: 0, passings: 0, crashes: 0, runs: 0 };

/// The bounds within which all states are visited.
const SMALL: [Bounds; 4] = [
    Bounds { rows: 1, passings: 1, crashes: 1, runs: 2, ..NONE },
    Bounds { rows: 1, repeats: 1, late: 1, passings: 2, runs: 1, ..NONE },
    Bounds { rows: 1, steps: 1, passings: 2, runs: 1, ..NONE },
    Bounds { rows: 1, late: 1, passings: 1, runs: 2, ..NONE },
];

#[test]
fn in_every_state_within_small_bounds_the_sum_is_exact() {
    let states: Vec<_> = SMALL.into_iter().map(|bounds| explore(bounds, Mistake::None)).collect();
    println!("{states:?} states");
    assert!(states.iter().all(|states| *states > 100), "{states:?} states");
}

/// Visits every state within larger bounds.
#[test]
#[ignore = "takes a minute: for whoever changes what it is a model of"]
fn in_every_state_within_larger_bounds_the_sum_is_exact() {
    let states = explore(Bounds { rows: 2, late: 1, passings: 2, runs: 2, ..NONE }, Mistake::None);
    println!("{states:?} states");
}

const LARGE: Bounds = Bounds { rows: 30, repeats: 30, late: 20, steps: 20, passings: 60, crashes: 10, runs: 60 };

/// Goes on by chance until the bounds are reached.
fn wander(seed: u64, mistake: Mistake) {
    let mut numbers = Numbers::new(seed);
    let mut world = World::new(LARGE, mistake);
    let length = numbers.below(400);
    for _ in 0..length {
        let actions = world.actions();
        let Some(action) = actions.get(numbers.below(actions.len())) else { break };
        world.act(*action);
        world.check();
    }
    world.check_rested();
}

#[test]
fn in_long_runs_the_sum_is_exact() {
    let (began, budget) = (SystemClock.monotonic(), time_budget() / 10);
    let mut runs = 0;
    for seed in seed("BLOBACCESS_FOOTPRINTS_SEED").. {
        wander(seed, Mistake::None);
        runs += 1;
        if runs >= 50 && SystemClock.monotonic() - began > budget {
            break;
        }
    }
    println!("{runs} runs");
}

/// Checks that the model has teeth: each mistake shows.
#[test]
fn mistakes_are_found() {
    for mistake in [
        Mistake::NoCompare,
        Mistake::NoKeys,
        Mistake::LatestTime,
        Mistake::NoLag,
        Mistake::NoRecount,
        Mistake::SourceClockOnly,
    ] {
        let is_found = (0..500).any(|seed| std::panic::catch_unwind(|| wander(seed, mistake)).is_err());
        assert!(is_found, "{mistake:?} was not found");
    }
}
