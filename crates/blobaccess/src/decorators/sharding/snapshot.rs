//! The state of each shard at one moment.

use std::sync::Arc;

/// The state of one shard, from [`Sharding::snapshot`](super::Sharding::snapshot).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShardSnapshot {
    /// The key of the shard.
    pub key: Arc<str>,
    /// The weight of the shard.
    pub weight: u32,
    /// The part of the shard in a change of the topology.
    pub state: ShardState,
    /// Whether calls are made to the shard. While it is down, one call after each rest tries whether it is back.
    pub is_up: bool,
    /// The number of calls that failed since the last one that did not. Calls that only its caller made fail count as
    /// neither.
    pub failures_in_a_row: u32,
    /// The number of calls that failed so far.
    pub failures: u64,
}

/// The part of a shard in a change of the topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ShardState {
    /// It takes blobs, and has all of them that it should have.
    Settled,
    /// It takes blobs, and those that it lacks may be where they were before.
    Added,
    /// It takes no more blobs, and those that it has can be read.
    Drained,
}

impl ShardState {
    /// Returns the name for metrics and status pages: `settled`, `added` or `drained`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Added => "added",
            Self::Drained => "drained",
        }
    }
}
