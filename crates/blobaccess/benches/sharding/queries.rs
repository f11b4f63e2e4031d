//! The shards that one query reaches, and how long the slowest of them takes.

use blobaccess_testkit::Numbers;

use crate::figure::{Line, Panel};
use crate::number::{normal, quantile, real};
use crate::topology::{blobs, choice};
use crate::{SEED, Scale};

/// The median time of a shard's answer, in milliseconds, and the deviation of its logarithm: 1 in 100 takes 6.4 ms.
const MEDIAN_MS: f64 = 1.0;
const DEVIATION: f64 = 0.8;

/// The share of answers that are held up by something else, a collection or a disk that is flushed, and for how long.
const STALLS: f64 = 0.001;
const STALL_MS: f64 = 100.0;

/// The time that a shard takes for each digest, in milliseconds, besides.
const DIGEST_MS: f64 = 0.000_2;

fn answer_ms(numbers: &mut Numbers, digests: usize) -> f64 {
    let stall = if numbers.unit() < STALLS { STALL_MS } else { 0.0 };
    MEDIAN_MS * (DEVIATION * normal(numbers)).exp() + stall + DIGEST_MS * real(digests)
}

pub(crate) fn run(scale: Scale, panels: &mut Vec<Panel>) {
    let (batches, answers) = (scale.of(100, 2), scale.of(100, 2));
    println!(
        "A shard answers in {MEDIAN_MS} ms (median, log-normal, deviation {DEVIATION}); {:.1} % of answers are held up \
         by {STALL_MS} ms. {} queries of each size.\n",
        100.0 * STALLS,
        batches * answers,
    );
    println!("| digests | shards | shards reached | p50 ms | p90 ms | p99 ms | queries with a stall, % |");
    println!("|---|---|---|---|---|---|---|");
    let mut lines = Vec::new();
    for digests in [1000, 10_000] {
        let quantiles = [0.5, 0.9, 0.99];
        let mut points = [(); 3].map(|()| Vec::new());
        for shards in [1, 4, 16, 64, 256, 1000] {
            let mut numbers = Numbers::new(SEED);
            let choice = choice((0..shards).map(|shard| (shard, 1)));
            let (mut times, mut reached) = (Vec::new(), 0);
            for _ in 0..batches {
                let mut counts = vec![0_usize; shards];
                for shard in choice.select_all(&blobs(&mut numbers, digests)) {
                    counts[shard] += 1;
                }
                counts.retain(|count| *count > 0);
                reached += counts.len();
                for _ in 0..answers {
                    let slowest = counts.iter().map(|count| answer_ms(&mut numbers, *count));
                    times.push(slowest.fold(0.0, f64::max));
                }
            }
            let stalled = times.iter().filter(|time| **time >= STALL_MS).count();
            let measured = quantiles.map(|share| quantile(&mut times, share));
            let [median, ninety, tail] = measured;
            println!(
                "| {digests} | {shards} | {:.1} | {median:.1} | {ninety:.1} | {tail:.1} | {:.1} |",
                real(reached) / real(batches),
                100.0 * real(stalled) / real(times.len()),
            );
            for (points, time) in points.iter_mut().zip(measured) {
                points.push((real(shards), time));
            }
        }
        if digests == 10_000 {
            for (name, points) in ["p50", "p90", "p99"].into_iter().zip(points) {
                lines.push(Line { name: name.to_owned(), points });
            }
        }
    }
    panels.push(Panel {
        title: "Time of a query of 10,000 digests".to_owned(),
        x: "shards".to_owned(),
        y: "ms".to_owned(),
        lines,
        logarithmic: true,
    });
}
