//! How long blobs that were verified are not verified again.

use std::time::Duration;

use crate::section::Section;

/// Reads an `ExistenceCacheConfiguration` that is about verification. Returns the time for which verification is
/// remembered, or `None` if a fault was noted.
pub(super) fn read_remembered_verification(section: &Section<'_>) -> Option<Duration> {
    let is_known = matches!(section.enumeration("cache_replacement_policy"), 1..=3);
    if !is_known {
        let is_absent = section.enumeration("cache_replacement_policy") == 0;
        section.fault_at("cache_replacement_policy", if is_absent { "is required" } else { "is unknown" });
    }
    let Some((seconds, nanos)) = section.seconds_and_nanos("cache_duration") else {
        section.fault_at("cache_duration", "is required");
        return None;
    };
    if section.int("cache_size") <= 0 {
        section.notice("remembers nothing, as cacheSize is not positive");
        return is_known.then_some(Duration::ZERO);
    }
    section.notice_at("cache_size", "has no effect: up to 65536 pieces of 256 KiB are remembered, in 4 MiB of memory");
    section.notice_at("cache_replacement_policy", "has no effect");
    let (Ok(seconds), Ok(nanos)) = (u64::try_from(seconds), u32::try_from(nanos)) else {
        section.notice_at("cache_duration", "counts as 0s: nothing is remembered");
        return is_known.then_some(Duration::ZERO);
    };
    is_known.then(|| Duration::new(seconds, nanos.min(999_999_999)))
}
