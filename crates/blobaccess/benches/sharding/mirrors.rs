//! The blobs that cannot be reached when machines and racks fail, for shards of one machine and of mirrored pairs.

use blobaccess_testkit::Numbers;

use crate::figure::Panel;
use crate::number::real;
use crate::{SEED, Scale};

const SHARDS: usize = 1000;
const RACKS: usize = 50;

/// The share of time for which a machine is down by itself, for updates, crashes and repairs: 40 minutes a week.
const MACHINE_DOWN: f64 = 0.004;

/// The share of time for which a rack is down, with all its machines: 9 hours a year.
const RACK_DOWN: f64 = 0.001;

/// The arrangement of the two halves of a mirror.
type Arrangement = fn(&mut Numbers, usize) -> (usize, Option<usize>);

const ARRANGEMENTS: [(&str, Arrangement); 4] = [
    ("one machine a shard", |_, shard| (shard % RACKS, None)),
    ("mirrored within a rack", |_, shard| (shard % RACKS, Some(shard % RACKS))),
    ("mirrored, racks by chance", |numbers, _| (numbers.below(RACKS), Some(numbers.below(RACKS)))),
    ("mirrored across racks", |_, shard| (shard % RACKS, Some((shard % RACKS + 1) % RACKS))),
];

pub(crate) fn run(scale: Scale, _: &mut Vec<Panel>) {
    let moments = scale.of(20_000, 20);
    println!("{SHARDS} shards in {RACKS} racks, at {moments} moments\n");
    println!("| arrangement | machines | blobs out of reach, ppm | time with some shard down, % | most shards down |");
    println!("|---|---|---|---|---|");
    for (name, arrangement) in ARRANGEMENTS {
        let mut numbers = Numbers::new(SEED);
        let shards: Vec<_> = (0..SHARDS).map(|shard| arrangement(&mut numbers, shard)).collect();
        let machines: usize = shards.iter().map(|(_, other)| 1 + usize::from(other.is_some())).sum();
        let (mut down_in_all, mut moments_down, mut worst) = (0, 0, 0);
        for _ in 0..moments {
            let racks: Vec<_> = (0..RACKS).map(|_| numbers.unit() < RACK_DOWN).collect();
            let mut is_down = |rack: usize| numbers.unit() < MACHINE_DOWN || racks[rack];
            let down = shards
                .iter()
                .filter(|(rack, other)| {
                    let (first, second) = (is_down(*rack), other.is_none_or(&mut is_down));
                    first && second
                })
                .count();
            down_in_all += down;
            moments_down += usize::from(down > 0);
            worst = worst.max(down);
        }
        let ppm = 1e6 * real(down_in_all) / real(SHARDS * moments);
        println!("| {name} | {machines} | {ppm:.0} | {:.2} | {worst} |", 100.0 * real(moments_down) / real(moments));
    }
    println!("\nTime with some shard down, %, by number of shards:\n");
    println!("| shards | one machine | mirrored across racks |");
    println!("|---|---|---|");
    let machine = 1.0 - (1.0 - MACHINE_DOWN) * (1.0 - RACK_DOWN);
    for shards in [1, 4, 16, 64, 256, 1000] {
        let down = |one: f64| 100.0 * (1.0 - (1.0 - one).powf(real(shards)));
        println!("| {shards} | {:.2} | {:.3} |", down(machine), down(machine * machine));
    }
}
