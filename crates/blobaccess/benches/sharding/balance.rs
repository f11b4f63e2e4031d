//! The blobs of each shard, and the blobs that move when shards change.

use blobaccess::decorators::Rendezvous;
use blobaccess_testkit::Numbers;

use crate::figure::{Line, Panel};
use crate::number::{quantile, real, whole};
use crate::topology::{blobs, choice, weight};
use crate::{SEED, Scale};

const SHARDS: usize = 1000;

/// Places `count` blobs, some at a time.
fn place(count: usize, mut place: impl FnMut(&[u64])) {
    let mut numbers = Numbers::new(SEED);
    let mut left = count;
    while left > 0 {
        let some = left.min(100_000);
        place(&blobs(&mut numbers, some));
        left -= some;
    }
}

fn all() -> impl Iterator<Item = (usize, u32)> {
    (0..SHARDS).map(|shard| (shard, weight(shard)))
}

/// Prints how far the blobs of each shard are from its share.
pub(crate) fn run(scale: Scale, panels: &mut Vec<Panel>) {
    let count = scale.of(10_000_000, 10_000);
    let choice = choice(all());
    let mut counts = vec![0_usize; SHARDS];
    place(count, |numbers| {
        for shard in choice.select_all(numbers) {
            counts[shard] += 1;
        }
    });
    let total: f64 = all().map(|(_, weight)| f64::from(weight)).sum();
    println!("{count} blobs on {SHARDS} shards: the blobs of a shard to its share, in percent\n");
    println!("| weight | blobs | mean | deviation | chance alone | 1 of 100 below | 1 of 100 above | most |");
    println!("|---|---|---|---|---|---|---|---|");
    let mut lines = Vec::new();
    for some_weight in [1, 2, 4, 8] {
        let expected = real(count) * f64::from(some_weight) / total;
        let mut off: Vec<_> = all()
            .filter(|(_, weight)| *weight == some_weight)
            .map(|(shard, _)| (real(counts[shard]) / expected - 1.0) * 100.0)
            .collect();
        let mean = off.iter().sum::<f64>() / real(off.len());
        let deviation = (off.iter().map(|off| (off - mean).powi(2)).sum::<f64>() / real(off.len())).sqrt();
        let chance = 100.0 / expected.sqrt();
        let [low, high, most] = [0.01, 0.99, 1.0].map(|share| quantile(&mut off, share));
        print!("| {some_weight} | {expected:.0} | {mean:+.2} | {deviation:.2} | {chance:.2} |");
        println!(" {low:+.2} | {high:+.2} | {most:+.2} |");
        let points = (0..=100).map(|percent| {
            let at = whole(real(percent) / 100.0 * real(off.len() - 1));
            (real(percent), off[at])
        });
        lines.push(Line { name: format!("weight {some_weight}"), points: points.collect() });
    }
    panels.push(Panel {
        title: "Balance: 10 million blobs on 1,000 shards".to_owned(),
        x: "shards of this weight, % of them".to_owned(),
        y: "blobs above the share, %".to_owned(),
        lines,
        logarithmic: false,
    });
}

/// Prints how many blobs move when shards change.
pub(crate) fn run_changes(scale: Scale, _: &mut Vec<Panel>) {
    let count = scale.of(10_000_000, 10_000);
    // The last shards have the weights 1, 2, 4 and 8.
    let total: f64 = all().map(|(_, weight)| f64::from(weight)).sum();
    let changed = SHARDS - 1;
    let before = choice(all());
    let cases: [(&str, Rendezvous, f64); 4] = [
        ("a shard of weight 8 is lost, or drained", choice(all().filter(|(shard, _)| *shard != changed)), 8.0 / total),
        ("a shard of weight 8 is added", choice(all().chain([(SHARDS, 8)])), 8.0 / (total + 8.0)),
        (
            "100 shards of weight 8 are added",
            choice(all().chain((SHARDS..SHARDS + 100).map(|shard| (shard, 8)))),
            800.0 / (total + 800.0),
        ),
        (
            "a shard of weight 8 gets weight 16",
            choice(all().map(|(shard, weight)| (shard, if shard == changed { 16 } else { weight }))),
            16.0 / (total + 8.0) - 8.0 / total,
        ),
    ];
    let mut moved = [0_usize; 4];
    let mut needlessly = [0_usize; 4];
    place(count, |numbers| {
        let old = before.select_all(numbers);
        for (case, (_, after, _)) in cases.iter().enumerate() {
            for (old, new) in old.iter().zip(after.select_all(numbers)) {
                if *old != new {
                    moved[case] += 1;
                    // Only what leaves a shard that is gone, or comes to one that has grown, has to move.
                    let is_needed = match case {
                        0 => *old == changed,
                        3 => new == changed,
                        _ => new >= SHARDS,
                    };
                    needlessly[case] += usize::from(!is_needed);
                }
            }
        }
    });
    println!("of {count} blobs on {SHARDS} shards\n");
    println!("| change | blobs that move, % | the least possible, % | moved needlessly |");
    println!("|---|---|---|---|");
    for (case, (name, _, least)) in cases.iter().enumerate() {
        let share = 100.0 * real(moved[case]) / real(count);
        println!("| {name} | {share:.3} | {:.3} | {} |", 100.0 * least, needlessly[case]);
        assert_eq!(needlessly[case], 0);
    }
}
