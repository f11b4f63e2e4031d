//! The digests that were found lately, and when.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use lru::LruCache;

use crate::DigestKey;

/// A bounded map from digests to the time of the question that found them.
pub(super) struct Found {
    by_key: LruCache<DigestKey, Instant>,
    duration: Duration,
}

impl Found {
    pub(super) fn new(capacity: NonZeroUsize, duration: Duration) -> Self {
        Self { by_key: LruCache::sparse(capacity), duration }
    }

    /// Whether `key` was found at most the duration ago, which counts as use.
    ///
    /// What was found longer ago stays, so that it keeps its place when it is found again.
    pub(super) fn contains(&mut self, key: &DigestKey, now: Instant) -> bool {
        let found = self.by_key.peek(key).is_some_and(|at| now.saturating_duration_since(*at) <= self.duration);
        found && self.by_key.promote(key)
    }

    /// Notes that `key` was found at `at`, unless it is known to have been found later.
    ///
    /// If it is full, that which was used least lately makes room for a key that it does not have.
    pub(super) fn add(&mut self, key: DigestKey, at: Instant) {
        let known = self.by_key.peek(&key).copied();
        self.by_key.put(key, known.map_or(at, |known| known.max(at)));
    }

    pub(super) fn forget(&mut self, key: &DigestKey) {
        self.by_key.pop(key);
    }

    pub(super) fn len(&self) -> usize {
        self.by_key.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decorators::fakes::digest_of;
    use crate::{Clock, KeyFormat, SystemClock};

    fn key(name: &str) -> DigestKey {
        digest_of(name).cache_key(KeyFormat::WithInstanceName)
    }

    const DURATION: Duration = Duration::from_mins(1);
    const NANOSECOND: Duration = Duration::from_nanos(1);

    fn found(capacity: usize) -> (Found, Instant) {
        (Found::new(NonZeroUsize::new(capacity).unwrap(), DURATION), SystemClock.monotonic())
    }

    #[test]
    fn what_was_found_is_known_until_the_duration_has_passed_inclusively() {
        let (mut found, now) = found(2);
        found.add(key("a"), now);
        assert!(found.contains(&key("a"), now));
        assert!(found.contains(&key("a"), now + DURATION));
        assert!(!found.contains(&key("a"), now + DURATION + NANOSECOND));
        assert!(!found.contains(&key("b"), now));
    }

    #[test]
    fn the_least_lately_used_makes_room() {
        let (mut found, now) = found(2);
        found.add(key("a"), now);
        found.add(key("b"), now);
        assert!(found.contains(&key("a"), now));
        found.add(key("c"), now);
        assert!(found.contains(&key("a"), now) && found.contains(&key("c"), now));
        assert!(!found.contains(&key("b"), now));
    }

    #[test]
    fn a_full_cache_evicts_nothing_to_refresh_a_key_that_it_has() {
        let (mut found, now) = found(2);
        found.add(key("a"), now);
        found.add(key("b"), now);
        let later = now + DURATION + NANOSECOND;
        assert!(!found.contains(&key("b"), later));
        for _ in 0..3 {
            found.add(key("b"), later);
        }
        assert_eq!(found.len(), 2);
        assert!(found.contains(&key("b"), later));
        assert!(found.contains(&key("a"), now));
    }

    #[test]
    fn an_older_answer_does_not_shorten_a_newer_one() {
        let (mut found, now) = found(1);
        found.add(key("a"), now + DURATION);
        found.add(key("a"), now);
        assert!(found.contains(&key("a"), now + DURATION + DURATION));
    }
}
