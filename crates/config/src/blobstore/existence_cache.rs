//! Memories of what was found.

use std::time::Duration;

use crate::section::Section;

/// The numbers of `buildbarn.configuration.eviction.CacheReplacementPolicy`.
const UNKNOWN: i32 = 0;
const FIRST_IN_FIRST_OUT: i32 = 1;
const LEAST_RECENTLY_USED: i32 = 2;
const RANDOM_REPLACEMENT: i32 = 3;

/// A memory of what was found, from a `buildbarn.configuration.digest.ExistenceCacheConfiguration`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExistenceCachePlan {
    pub(crate) capacity: usize,
    pub(crate) duration: Duration,
}

impl ExistenceCachePlan {
    /// Reads the memory that `field` describes, which must be set.
    pub(crate) fn read_required(parent: &Section<'_>, field: &str) -> Option<Self> {
        Self::read(&parent.required(field)?)
    }

    /// Reads a memory.
    pub(crate) fn read(section: &Section<'_>) -> Option<Self> {
        let capacity = usize::try_from(section.int("cache_size")).ok().filter(|size| *size > 0);
        if capacity.is_none() {
            section.fault_at("cache_size", "must be positive");
        }
        let duration = Self::read_duration(section);
        Some(Self { capacity: capacity?, duration: duration? })
    }

    /// Reads the duration of a memory whose size has no effect, whatever it is.
    pub(crate) fn read_duration(section: &Section<'_>) -> Option<Duration> {
        let duration = section.required_duration("cache_duration");
        if duration.is_some_and(|duration| duration.is_zero()) {
            section.notice_at("cache_duration", "is zero, so that nothing is remembered");
        }
        let is_known = read_policy(section);
        duration.filter(|_| is_known)
    }
}

/// Reads a policy, of which there is one here. Returns whether it is one of Buildbarn's.
fn read_policy(section: &Section<'_>) -> bool {
    const FIELD: &str = "cache_replacement_policy";
    match section.enumeration(FIELD) {
        LEAST_RECENTLY_USED => true,
        FIRST_IN_FIRST_OUT | RANDOM_REPLACEMENT => {
            section.notice_at(FIELD, "has no effect: a full cache gives up what was used least recently");
            true
        }
        UNKNOWN => {
            section.fault_at(FIELD, "is required, such as LEAST_RECENTLY_USED");
            false
        }
        _ => {
            section.fault_at(FIELD, "is not known: use LEAST_RECENTLY_USED");
            false
        }
    }
}
