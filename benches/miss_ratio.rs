//! Simulated miss ratios of the local store and of other policies; `docs/performance.md` has the conclusions.
//!
//! `cargo bench --bench miss_ratio`. Arguments choose traces by a part of their names.

#![expect(clippy::print_stdout, reason = "a benchmark prints")]

use blobaccess_workbench::simulation::{
    Blocks, BuildModel, Clock, Fifo, Groups, Lru, Outcome, Policy, Refresh, S3Fifo, Trace, simulate,
};
use blobaccess_workbench::{SizeDistribution, is_test_run};

/// The seed of all traces.
const SEED: u64 = 7;

/// The maximum size of a blob in the simulation. The size of a blob relative to a block decides, and a store of
/// hundreds of gigabytes has blocks that hold many of the largest. The simulated stores are much smaller, so their
/// sizes are capped.
const CAP_BYTES: u64 = 64 << 10;

/// The total size that all capacities are fractions of.
const PERCENTS: [u64; 3] = [10, 20, 40];

fn groups(old: usize, current: usize, new: usize) -> Groups {
    Groups { old, current, new, spare: 3 }
}

fn policies(capacity: u64) -> Vec<(String, Box<dyn Policy>)> {
    let mut all: Vec<(String, Box<dyn Policy>)> = vec![
        ("LRU".to_owned(), Box::new(Lru::new(capacity))),
        ("FIFO".to_owned(), Box::new(Fifo::new(capacity))),
        ("CLOCK".to_owned(), Box::new(Clock::new(capacity))),
        ("S3-FIFO".to_owned(), Box::new(S3Fifo::new(capacity))),
    ];
    for (whose, old, current, new) in [
        ("Buildbarn", 8, 24, 3),
        ("Buildbarn", 8, 8, 3),
        ("Buildbarn", 4, 27, 1),
        ("ours", 8, 24, 1),
        ("ours", 8, 152, 1),
    ] {
        let policy = Blocks::new(capacity, groups(old, current, new), Refresh::OnTouch);
        all.push((format!("{whose}, on touch, {old}/{current}/{new}"), Box::new(policy)));
    }
    for (old, current, new, copied_percent) in [
        (8, 24, 1, 50),
        (8, 24, 3, 50),
        (8, 24, 1, 80),
        (8, 56, 1, 50),
        (8, 88, 1, 50),
        (8, 152, 1, 50),
        (8, 152, 1, 65),
        (8, 152, 1, 80),
        (8, 248, 1, 50),
    ] {
        let refresh = Refresh::AtRecycling { copied_percent };
        let policy = Blocks::new(capacity, groups(old, current, new), refresh);
        all.push((format!("ours, at recycling, {old}/{current}/{new}, {copied_percent} %"), Box::new(policy)));
    }
    all
}

fn run(trace: &Trace, seed: u64) {
    let unique = trace.unique_bytes();
    println!("\n{}, seed {seed}, {} MB in all", trace.name(), unique / 1_000_000);
    println!("misses of objects and bytes in percent, and to LRU's; bytes written for each that was put and asked for");
    print!("{:<34}", "");
    for percent in PERCENTS {
        print!(" |{:>41}", format!("capacity {percent} %"));
    }
    print!("\n{:<34}", "policy, 3 blocks spare");
    for _ in PERCENTS {
        print!(" |{:>7}{:>7}{:>7}{:>7}{:>6}{:>7}", "objects", "to LRU", "bytes", "to LRU", "/put", "/asked");
    }
    println!();
    let columns: Vec<Vec<(String, Outcome)>> = PERCENTS
        .into_iter()
        .map(|percent| {
            let policies = policies(unique / 100 * percent);
            policies.into_iter().map(|(name, mut policy)| (name, simulate(trace, policy.as_mut()))).collect()
        })
        .collect();
    let Some(first) = columns.first() else { return };
    for (row, (name, _)) in first.iter().enumerate() {
        print!("{name:<34}");
        for column in &columns {
            let (Some((_, lru)), Some((_, outcome))) = (column.first(), column.get(row)) else { continue };
            let (objects, bytes) = (outcome.object_misses, outcome.byte_misses);
            let (to_objects, to_bytes) = (objects / lru.object_misses, bytes / lru.byte_misses);
            print!(" |{:>7.2}{to_objects:>7.3}{:>7.2}{to_bytes:>7.3}", objects * 100.0, bytes * 100.0);
            print!("{:>6.2}{:>7.3}", outcome.written_per_put, outcome.written_per_asked);
        }
        println!();
    }
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let is_wanted = |trace: &Trace| wanted.is_empty() || wanted.iter().any(|part| trace.name().contains(&**part));
    let (objects, part) = if is_test_run() { (1000, 20) } else { (100_000, 1) };
    let sizes = SizeDistribution::BUILD_CACHE.with_cap_bytes(CAP_BYTES);
    println!("sizes: {sizes}");
    for skew in [0.7, 0.8, 0.9, 1.0, 1.1, 1.2] {
        let trace = Trace::zipf(SEED, objects, skew, sizes);
        if is_wanted(&trace) {
            run(&trace, SEED);
        }
    }
    for seed in [SEED, SEED + 1] {
        let trace = BuildModel::DEFAULT.divided_by(part).trace(seed, sizes);
        if is_wanted(&trace) {
            run(&trace, seed);
        }
    }
    let sizes = SizeDistribution::BUILD_CACHE;
    println!("\nlarge blobs in small blocks, sizes: {sizes}");
    let trace = Trace::zipf(SEED, objects, 0.9, sizes);
    if is_wanted(&trace) {
        run(&trace, SEED);
    }
}
