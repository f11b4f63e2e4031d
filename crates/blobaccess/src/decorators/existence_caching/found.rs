//! The digests that were found recently, and when.

use std::collections::{HashSet, VecDeque};
use std::fmt::{self, Debug, Formatter};
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use lru::LruCache;

use crate::DigestKey;

/// The number of forgotten digests that are known by name, so that a query from before does not bring them back: at
/// some 100 bytes each, below 128 KiB. A query during which more were forgotten is not remembered at all.
const MAX_FORGOTTEN: usize = 1024;

/// A bounded map from digests to the time of the query that found them.
pub(crate) struct Found {
    by_key: LruCache<DigestKey, Instant>,
    /// Whether anything is remembered.
    is_on: bool,
    duration: Duration,
    /// The digests that were forgotten most recently, in that order.
    forgotten: VecDeque<DigestKey>,
    forgets: Forgets,
}

/// The number of times that a digest was forgotten: a mark to compare with later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Forgets(u64);

impl Found {
    pub(crate) fn new(capacity: usize, duration: Duration) -> Self {
        let size = NonZeroUsize::new(capacity);
        Self {
            by_key: LruCache::sparse(size.unwrap_or(NonZeroUsize::MIN)),
            is_on: size.is_some(),
            duration,
            forgotten: VecDeque::new(),
            forgets: Forgets(0),
        }
    }

    /// Returns whether `key` was found at most the duration ago, which counts as use.
    ///
    /// What was found longer ago stays, so that it keeps its place when it is found again.
    pub(crate) fn contains(&mut self, key: &DigestKey, now: Instant) -> bool {
        let found = self.by_key.peek(key).is_some_and(|at| now.saturating_duration_since(*at) <= self.duration);
        found && self.by_key.promote(key)
    }

    /// Notes that `key` was found at `at`, unless it is known to have been found later.
    ///
    /// A full map makes room for a new key by giving up the least recently used one.
    pub(crate) fn add(&mut self, key: DigestKey, at: Instant) {
        if self.is_on {
            let known = self.by_key.peek(&key).copied();
            self.by_key.put(key, known.map_or(at, |known| known.max(at)));
        }
    }

    /// Returns the mark by which a query that begins now learns what was forgotten meanwhile.
    pub(super) fn forgets(&self) -> Forgets {
        self.forgets
    }

    /// Notes that `keys` were found at `at`, except those that were forgotten after `since`.
    pub(super) fn add_all(&mut self, keys: impl Iterator<Item = DigestKey>, at: Instant, since: Forgets) {
        let meanwhile = usize::try_from(self.forgets.0 - since.0).unwrap_or(usize::MAX);
        if meanwhile > self.forgotten.len() {
            return;
        }
        let forgotten: HashSet<DigestKey> = self.forgotten.iter().rev().take(meanwhile).cloned().collect();
        for key in keys.filter(|key| !forgotten.contains(key)) {
            self.add(key, at);
        }
    }

    /// Removes `key`, which a query reported missing.
    pub(super) fn remove(&mut self, key: &DigestKey) {
        self.by_key.pop(key);
    }

    /// Forgets that `key` was found, for queries under way too.
    pub(super) fn forget(&mut self, key: &DigestKey) {
        self.by_key.pop(key);
        if self.forgotten.len() == MAX_FORGOTTEN {
            self.forgotten.pop_front();
        }
        self.forgotten.push_back(key.clone());
        self.forgets.0 += 1;
    }

    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }
}

impl Debug for Found {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Found").field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Clock, Digest, DigestFunction, InstanceName, KeyFormat, SystemClock};

    fn key(contents: &str) -> DigestKey {
        let digest = Digest::of(InstanceName::empty(), DigestFunction::Sha256, contents.as_bytes());
        digest.cache_key(KeyFormat::WithInstanceName)
    }

    const DURATION: Duration = Duration::from_mins(1);
    const NANOSECOND: Duration = Duration::from_nanos(1);

    fn found(capacity: usize) -> (Found, Instant) {
        (Found::new(capacity, DURATION), SystemClock.monotonic())
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
    fn the_least_recently_used_makes_room() {
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

    #[test]
    fn with_no_capacity_nothing_is_remembered() {
        let (mut found, now) = found(0);
        found.add(key("a"), now);
        assert!(!found.contains(&key("a"), now));
        assert_eq!(found.len(), 0);
    }

    #[test]
    fn what_was_forgotten_during_a_query_is_not_brought_back_by_it() {
        let (mut found, now) = found(10);
        found.forget(&key("before"));
        let since = found.forgets();
        found.forget(&key("a"));
        found.add_all(["a", "b", "before"].map(key).into_iter(), now, since);
        assert!(!found.contains(&key("a"), now));
        assert!(found.contains(&key("b"), now) && found.contains(&key("before"), now));
        for _ in 0..=MAX_FORGOTTEN {
            found.forget(&key("c"));
        }
        found.add_all(["d"].map(key).into_iter(), now, since);
        assert!(!found.contains(&key("d"), now), "too many to know them all by name");
        assert_eq!(found.forgotten.len(), MAX_FORGOTTEN);
    }
}
