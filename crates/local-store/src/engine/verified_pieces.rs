//! Remembers which pieces were verified recently, so that they are not verified on every read.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use crate::machine::casts;
use crate::machine::concurrency::locks::{Mutex, MutexGuard};

/// The most pieces that are remembered.
const MAX_PIECES: usize = 1 << 16;

/// The longest time that a piece is remembered: a hundred years, which no clock overflows by.
const LONGEST: Duration = Duration::from_hours(100 * 365 * 24);

/// The number of shards. Each has a lock of its own.
const SHARDS: usize = 16;

/// A piece of the object that one record names. No other piece ever has the same fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Piece {
    /// The generation of the block that the piece lies in.
    pub(crate) generation: u32,
    /// The offset from the beginning of the block's data, in bytes.
    pub(crate) offset: u64,
    /// The sequence of the record.
    pub(crate) sequence: u64,
}

/// Pieces with the times at which each is to be verified again.
type Shard = HashMap<Piece, Instant>;

/// The pieces that were verified recently.
#[derive(Debug)]
pub(crate) struct Verified {
    duration: Duration,
    shards: [Mutex<Shard>; SHARDS],
}

impl Verified {
    pub(crate) fn new(duration: Duration) -> Self {
        Self { duration: duration.min(LONGEST), shards: Default::default() }
    }

    fn shard(&self, piece: &Piece) -> Option<MutexGuard<'_, Shard>> {
        // Adjacent pieces are often read by different threads.
        let mixed = (piece.offset ^ u64::from(piece.generation) << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let shard = casts::in_memory(mixed >> 32) % SHARDS;
        // Each use of a shard is one call, or ends with it empty: it may be entered whoever panicked.
        Some(self.shards.get(shard)?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns whether a piece was verified less than the duration before `now`.
    pub(crate) fn has(&self, piece: &Piece, now: Instant) -> bool {
        self.shard(piece).is_some_and(|shard| shard.get(piece).is_some_and(|until| now < *until))
    }

    /// Notes that a piece was verified.
    pub(crate) fn remember(&self, piece: Piece, now: Instant) {
        let Some(mut shard) = self.shard(&piece) else { return };
        if shard.len() >= MAX_PIECES / SHARDS {
            shard.retain(|_, until| now < *until);
            // All of them are fresh. To choose among them would take an order, to forget them one more verification.
            if shard.len() >= MAX_PIECES / SHARDS {
                shard.clear();
            }
        }
        shard.insert(piece, now + self.duration);
    }
}

#[cfg(test)]
mod tests {
    use blobaccess::{Clock as _, SystemClock};

    use super::*;

    fn piece(offset: u64) -> Piece {
        Piece { generation: 1, offset, sequence: 2 }
    }

    #[test]
    fn a_piece_is_remembered_for_the_duration_and_by_its_whole_name() {
        let verified = Verified::new(Duration::from_secs(10));
        let now = SystemClock.monotonic();
        verified.remember(piece(64), now);
        assert!(verified.has(&piece(64), now + Duration::from_secs(9)));
        assert!(!verified.has(&piece(64), now + Duration::from_secs(10)));
        for other in [piece(65), Piece { generation: 2, ..piece(64) }, Piece { sequence: 3, ..piece(64) }] {
            assert!(!verified.has(&other, now));
        }
    }

    #[test]
    fn a_piece_may_be_remembered_for_ever() {
        let verified = Verified::new(Duration::MAX);
        let now = SystemClock.monotonic();
        verified.remember(piece(64), now);
        assert!(verified.has(&piece(64), now + Duration::from_hours(24 * 365)));
    }

    #[test]
    fn no_more_is_remembered_than_fits() {
        let verified = Verified::new(Duration::from_secs(10));
        let begun = SystemClock.monotonic();
        for number in 0..casts::on_device(3 * MAX_PIECES) {
            verified.remember(piece(number * 64), begun + Duration::from_secs(number / 100));
        }
        let remembered: usize = verified.shards.iter().map(|shard| shard.lock().unwrap().len()).sum();
        assert!((1..=MAX_PIECES).contains(&remembered), "{remembered}");
    }
}
