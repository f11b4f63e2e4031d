//! The shards that a blob is put to and read from.

use std::cmp::Reverse;

use super::legacy::Legacy;
use super::rendezvous::{Candidate, Rendezvous};
use crate::Digest;

/// The rule by which blobs are placed.
#[derive(Debug)]
pub(super) enum Placement {
    /// By rendezvous hashing.
    Rendezvous {
        /// The shards that take blobs.
        homes: Rendezvous,
        /// All shards, by ascending hash of their keys.
        all: Vec<Candidate>,
    },
    /// By the rule of older releases of Buildbarn.
    Legacy(Legacy),
}

impl Placement {
    /// Returns the position of the shard that a blob is put to.
    pub(super) fn home(&self, digest: &Digest) -> usize {
        match self {
            Self::Rendezvous { homes, .. } => homes.select(Rendezvous::number_of(digest)),
            Self::Legacy(legacy) => legacy.home(digest),
        }
    }

    /// Returns the position of the shard that each blob is put to.
    pub(super) fn homes(&self, digests: &[Digest]) -> Vec<usize> {
        match self {
            Self::Rendezvous { homes, .. } => {
                let numbers: Vec<_> = digests.iter().map(Rendezvous::number_of).collect();
                homes.select_all(&numbers)
            }
            Self::Legacy(legacy) => digests.iter().map(|digest| legacy.home(digest)).collect(),
        }
    }

    /// Returns the positions of the other shards that the blob may be in, the likeliest first.
    ///
    /// Before the shards that are not settled were added, or while they were not drained, the blob was put to the best
    /// of those that were there: the best of the settled ones, or a better one.
    pub(super) fn fallbacks(&self, digest: &Digest, is_settled: impl Fn(usize) -> bool) -> Vec<usize> {
        let (homes, all) = match self {
            Self::Rendezvous { homes, all } => (homes, all),
            Self::Legacy(legacy) => return legacy.fallbacks(digest),
        };
        let number = Rendezvous::number_of(digest);
        // Of equal scores, the one with the smaller hash is better.
        let rank = |candidate: &Candidate| (candidate.score(number), Reverse(candidate.key_hash));
        let mut best_settled = None;
        let mut others = Vec::new();
        for candidate in all {
            let ranked = (rank(candidate), candidate.index);
            if is_settled(candidate.index) {
                best_settled = best_settled.max(Some(ranked));
            } else {
                others.push(ranked);
            }
        }
        others.retain(|other| Some(*other) > best_settled);
        others.extend(best_settled);
        others.sort_unstable_by_key(|(rank, _)| Reverse(*rank));
        let home = homes.select(number);
        others.into_iter().map(|(_, index)| index).filter(|index| *index != home).collect()
    }
}
