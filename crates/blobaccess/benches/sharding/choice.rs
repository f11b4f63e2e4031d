//! The cost of choosing shards, one by one and many at once, and of a query over many shards.

use std::hint::black_box;
use std::time::Instant;

use blobaccess::decorators::{Rendezvous, Shard, Sharding};
use blobaccess::{BlobAccess, Cas, Context, Digest, DigestFunction, DigestSet, InstanceName, MemoryStore};
use blobaccess_testkit::Numbers;
use futures::FutureExt;

use crate::figure::Panel;
use crate::number::real;
use crate::topology::{blobs, choice, weight};
use crate::{SEED, Scale};

/// The counts of ten million blobs among five shards, as Buildbarn places them.
const COUNTS: [usize; 5] = [668_687, 1_332_248, 2_666_353, 4_666_342, 666_370];

/// Returns the nanoseconds that one of `count` things takes, in the fastest of `rounds`.
fn best(rounds: usize, count: usize, mut work: impl FnMut()) -> f64 {
    let times = (0..rounds).map(|_| {
        let began = Instant::now();
        work();
        began.elapsed().as_secs_f64() * 1e9 / real(count)
    });
    times.fold(f64::MAX, f64::min)
}

/// Checks that blobs are placed as by Buildbarn.
fn check(scale: Scale) {
    let shards = Rendezvous::new([("a", 1), ("b", 2), ("c", 4), ("d", 7), ("e", 1)]).unwrap();
    let mut counts = [0; 5];
    let many = scale.of(10_000_000, 100_000);
    for begin in (0..many).step_by(10_000) {
        let numbers: Vec<_> = (begin..begin + 10_000).map(|number| u64::try_from(number).unwrap()).collect();
        for index in shards.select_all(&numbers) {
            counts[index] += 1;
        }
    }
    let expected = if scale.test { [6740, 13_138, 27_012, 46_481, 6629] } else { COUNTS };
    assert_eq!(counts, expected);
    println!("{many} blobs are placed exactly as by Buildbarn: {counts:?}\n");
}

/// Returns a set of digests that no store has.
fn digests(numbers: &mut Numbers, count: usize) -> DigestSet {
    let digest = |hash: Vec<u8>| Digest::from_hash(InstanceName::empty(), DigestFunction::Sha256, &hash, 1).unwrap();
    (0..count).map(|_| digest(numbers.bytes(32))).collect()
}

pub(crate) fn run(scale: Scale, _: &mut Vec<Panel>) {
    check(scale);
    let mut numbers = Numbers::new(SEED);
    let count = scale.of(10_000, 100);
    let (blobs, asked) = (blobs(&mut numbers, count), digests(&mut numbers, count));
    let rounds = scale.of(100, 1);
    println!("ns for each of {count}, the fastest of {rounds} rounds\n");
    println!("| shards | one by one | at once | ratio | query, nothing stored |");
    println!("|---|---|---|---|---|");
    for shards in [1, 4, 16, 64, 256, 1000] {
        let choice = choice((0..shards).map(|shard| (shard, weight(shard))));
        let single = best(rounds / 10 + 1, count, || {
            for number in &blobs {
                black_box(choice.select(*number));
            }
        });
        let batch = best(rounds, count, || {
            black_box(choice.select_all(&blobs));
        });
        let shard =
            |shard: usize| Shard::new(shard.to_string(), MemoryStore::<Cas>::new(1 << 20)).with_weight(weight(shard));
        let store = Sharding::new((0..shards).map(shard)).unwrap();
        let query = best(rounds / 10 + 1, count, || {
            let missing = store.find_missing(&Context::background(), &asked).now_or_never();
            assert_eq!(missing.unwrap().unwrap().len(), count);
        });
        println!("| {shards} | {single:.1} | {batch:.1} | {:.1} | {query:.0} |", single / batch);
    }
}
