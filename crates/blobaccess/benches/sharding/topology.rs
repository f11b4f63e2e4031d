//! Sets of shards, and keys of blobs.

use blobaccess::decorators::Rendezvous;
use blobaccess_testkit::Numbers;

/// Returns the weight of a shard in a site that has grown: its disk has 1, 2, 4 or 8 TB, and there are as many of each.
pub(crate) fn weight(shard: usize) -> u32 {
    [1, 2, 4, 8][shard % 4]
}

pub(crate) fn key(shard: usize) -> String {
    format!("shard-{shard}")
}

/// Returns the choice among these shards.
pub(crate) fn choice(shards: impl IntoIterator<Item = (usize, u32)>) -> Rendezvous {
    Rendezvous::new(shards.into_iter().map(|(shard, weight)| (key(shard), weight))).unwrap()
}

/// Returns the first bytes of the hashes of blobs, which are random.
pub(crate) fn blobs(numbers: &mut Numbers, count: usize) -> Vec<u64> {
    (0..count).map(|_| numbers.draw()).collect()
}
